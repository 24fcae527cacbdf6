"""A run from a config: train the base, if the config has no trained one, then the refiner."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, Subset

from neuralop_irno.checkpoint import write_bytes
from neuralop_irno.claim import claim
from neuralop_irno.compiling import refuse_points
from neuralop_irno.config import Experiment, read_experiment
from neuralop_irno.data.graphs import coordinates_of
from neuralop_irno.devices import device_of, to_device
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import expected, in_grammar
from neuralop_irno.formats import FORMAT, current_experiment
from neuralop_irno.losses.refinement import RefinementLoss, loss_for
from neuralop_irno.messages import log
from neuralop_irno.metrics import METRICS
from neuralop_irno.metrics.pointwise import own_metric
from neuralop_irno.precision import for_weights
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.sealed import format_of, is_sealed, seal
from neuralop_irno.training import base_errors, preconditioner
from neuralop_irno.training.batches import Sample, at_once, load_all, refuse_empty
from neuralop_irno.training.distributed import Peers, local_device
from neuralop_irno.training.folder import CONFIG as CONFIG
from neuralop_irno.training.folder import MODEL
from neuralop_irno.training.identity import refuse_other
from neuralop_irno.training.reporting import Reporter
from neuralop_irno.training.trainable import Trainable
from neuralop_irno.training.trainer import History, Trainer
from neuralop_irno.training.units import alone, units_of_run
from neuralop_irno.yaml_files import read_yaml, written


def train_experiment(
    experiment: Experiment,
    folder: Path,
    device: str = "cpu",
    resume: bool = False,
    say: Callable[[str], None] = log.info,
    show: bool = True,
    trust_base: bool = False,
    base: Any = None,
    reporters: Sequence[Reporter] = (),
    report_every: int = 50,
) -> History:
    """Run an experiment in a folder, and return the refiner's history.

    Args:
        experiment: the parsed config.
        folder: for ``config.yaml``, ``model.safetensors``, ``history.json`` and snapshots, and a
            folder ``base`` with the same files if the base is trained.
        device: where to train.
        resume: continue from the last snapshots, if there are any.
        say: called with each line of text for the user; by default they are logged.
        show: whether to draw progress bars.
        trust_base: unpickle the files of a neuraloperator base without restrictions, which can run code.
        base: the base, for a config with the base ``{object: its name}``.
        reporters: of the training of the refiner, and before it of that of a base that is trained.
        report_every: updates between two of their logs; 0 logs epochs only.
    """
    recipe = experiment.training
    loss = None if recipe.train_for == "preconditioner" else experiment.build_loss()
    peers = Peers.join(local_device(device))
    if peers.first:
        _refuse(folder, experiment, resume)
    tell = say if peers.first else _silently
    tell("preparing the data")
    splits = experiment.splits()
    train, valid = splits["train"], splits["valid"]
    refuse_empty(training=train, validation=valid)
    if summary := getattr(train, "summary", ""):
        tell(summary)
    metric = METRICS.lookup(own_metric(train))
    torch.manual_seed(experiment.training.seed)
    base = experiment.build_base(splits, trust_base, base)
    units = units_of_run(experiment, base, train)
    if units is not None:
        tell(f"fields are scaled by their mean and deviation, {'also' if units.base else 'not'} for the base")
    base_trainer = None
    if experiment.base_training is not None:
        own = loss_for(train)
        base_trainer = Trainer(
            alone(base, experiment, units),
            experiment.base_training,
            own,
            folder / "base",
            metric,
            device,
            show,
            reporters,
            report_every,
        )
    torch.manual_seed(experiment.training.seed)  # the correction does not depend on the base's random numbers
    refiner = experiment.build_refiner(base, getattr(train, "padding", None), units, coordinates_of(train))
    trainer = Trainer(refiner, recipe, loss, folder, metric, device, show, reporters, report_every)
    _rehearse(refiner, recipe, loss, train)
    if peers.first:
        # Check again under the lock: another process may have started a run in the folder meanwhile.
        with claim(folder):
            _refuse(folder, experiment, resume)
            write_bytes(folder / CONFIG, seal(written(experiment.content)))
    if base_trainer is not None:
        tell("training the base")
        frozen = refiner.base.frozen
        refiner.base.freeze(False)
        base_trainer.fit(train, valid, resume)
        refiner.base.freeze(frozen)
    tell("training the refiner")
    return trainer.fit(train, valid, resume)


def read_run(folder: Path, device: str = "cpu", base: Any = None) -> tuple[Experiment, IterativeRefiner]:
    """The experiment and the trained refiner of a run folder.

    Args:
        folder: of the run.
        device: that of the refiner.
        base: the base, if Python built it; its weights are read from the folder.

    Example:
        >>> read_run(Path("no_such_run"))
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    if not (folder / CONFIG).is_file():
        wanted = "a run folder, with config.yaml and model.safetensors"
        raise FileNotFoundError(expected(wanted, f"no {CONFIG} in {folder}", "a folder of irno train"))
    return read_experiment(folder / CONFIG, unstated=1), read_model(folder, device, base)


def read_options_of_files(folder: Path) -> dict[str, Any] | None:
    """The options of a data set ``files`` or ``mesh_files`` of a run; None of others, or without a config."""
    if not (folder / CONFIG).is_file():
        return None
    data = read_experiment(folder / CONFIG, unstated=1).content["data"]
    return data if data.get("name") in ("files", "mesh_files") else None


def read_model(folder: Path, device: str = "cpu", base: Any = None) -> IterativeRefiner:
    """The trained refiner of a run folder, or of one that `IterativeRefiner.save_pretrained` wrote.

    Args:
        folder: with ``model.safetensors``.
        device: that of the refiner.
        base: the base, if Python built it; its weights are read from the folder.
    """
    given = {} if base is None else {"base": base}
    return IterativeRefiner.from_checkpoint(folder / MODEL, map_location=device, **given).eval()


def _rehearse(
    refiner: IterativeRefiner, recipe: Recipe, loss: RefinementLoss | None, data: Dataset[Sample]
) -> None:
    """Fail before anything is trained or written, if the parts do not fit each other or the data.

    It is done by copies, since a pass in training mode changes running statistics and counters.
    """
    refiner, loss = copy.deepcopy(refiner), copy.deepcopy(loss)
    _, batch = next(load_all(data, at_once(refiner) or 2))
    sample = to_device(batch, device_of(refiner))
    with torch.no_grad(), in_grammar("data, base, correction and loss that fit each other", "other options"):
        sample = refiner.base.from_batch(for_weights(sample, refiner))
        if recipe.compile and isinstance(refiner.call((), refiner.arguments(sample)).domain, GraphDomain):
            refuse_points(refiner.correction)
        if loss is None:
            value = preconditioner.losses(refiner.train(), sample).sum()
        else:
            base_errors.measure(loss, Trainable(refiner), Subset(data, [0]), device_of(refiner))
            value = loss(refiner.train()(**sample), sample["y"])
    if not value.isfinite():
        raise ValueError(
            expected("a finite loss before training", value.item(), "finite data, a smaller alpha or weights")
        )


def _refuse(folder: Path, experiment: Experiment, resume: bool) -> None:
    """Refuse a folder with a run, unless the same run is resumed."""
    config = folder / CONFIG
    if not config.exists():
        return
    if not resume:
        raise ValueError(expected("a folder without a run", str(folder), "--resume, or another --folder"))
    text, wanted = config.read_bytes(), f"the config that {folder} was started with"
    # Without a first line it is of format 1, as is its snapshot, which is refused: no need to rewrite it.
    stored = current_experiment(read_yaml(config), format_of(text, config.name) or FORMAT)
    is_sealed(text, config.name)
    refuse_other(experiment.content, stored, wanted, "another --folder")


def _silently(text: str) -> None:
    pass
