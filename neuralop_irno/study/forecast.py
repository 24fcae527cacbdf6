"""What a training costs, before it is started: parameters, memory by part, bytes written, time of an update.

Weights, states and files are counted. Activations and time are measured in a few updates on m samples, a
device's share b of a batch or, of large samples, fewer, and on half of them; from there they are extended:

    activations(b) = a(m) + (b - m) (a(m) - a(m / 2)) / (m / 2)
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from neuralop_irno.config import Experiment
from neuralop_irno.data.fields import Splits
from neuralop_irno.devices import device_of
from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.refinement import loss_for
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.study.contenders import Setting, contender
from neuralop_irno.study.cost import peak_mib
from neuralop_irno.study.plan import Study
from neuralop_irno.training.batches import Sample, at_a_time, at_once
from neuralop_irno.training.best_model import held_tensors
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.optimizer_state import flat_state
from neuralop_irno.training.optimizers import optimizer_for
from neuralop_irno.training.trainable import Trainable
from neuralop_irno.training.trainer import Trainer
from neuralop_irno.training.units import alone, units_of_run

MIB, GIB = 2**20, 2**30

UPDATES = 3
"""Updates of a probe that are timed."""


class StandIn(Dataset[Sample]):
    """Samples of stated sizes, of random numbers: a data set to plan with before the data are at hand.

    Args:
        x: the shape of x, ``(C, *S)``.
        y: the shape of y.
        samples: their number.

    Example:
        >>> data = StandIn((3, 8, 8), (1, 8, 8), samples=1000)
        >>> len(data), data[0]["y"].shape
        (1000, torch.Size([1, 8, 8]))
    """

    def __init__(self, x: Sequence[int], y: Sequence[int], samples: int) -> None:
        self.shapes, self.samples = {"x": tuple(x), "y": tuple(y)}, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        return {name: torch.randn(shape, generator=generator) for name, shape in self.shapes.items()}


@dataclass(frozen=True)
class Phase:
    """The cost of one training.

    Attributes:
        name: what is trained.
        parameters: the number of each part's parameters, and whether they are trained.
        memory: bytes of each part on one device.
        written: bytes that an epoch writes, of all processes together, if it improves the score.
        sent: bytes that a process sends in an update, by a ring; 0 for one process.
        update: seconds of an update on the machine of the probe.
        updates: of the whole training.
    """

    name: str
    parameters: dict[str, int]
    memory: dict[str, float]
    written: float
    sent: float
    update: float
    updates: int

    @property
    def together(self) -> float:
        """Bytes on one device at the peak."""
        return sum(self.memory.values())


def stand_in(x: Sequence[int], y: Sequence[int], samples: Sequence[int]) -> Splits:
    """Data sets of stated sizes in place of those of a config.

    Args:
        x: the shape of x, ``(C, *S)``.
        y: the shape of y.
        samples: numbers for training and validation.
    """
    train, valid = samples
    return {split: StandIn(x, y, n) for split, n in (("train", train), ("valid", valid), ("test", 1))}


def phases_of(experiment: Experiment, splits: Splits, processes: int = 1, device: str = "cpu") -> list[Phase]:
    """The trainings of a config: that of the base, if it has one, and that of the refiner.

    Args:
        experiment: the config.
        splits: its data sets, or those of `stand_in`.
        processes: how many train together, with one device each.
        device: of the probe.
    """
    base, train = experiment.build_base(splits), splits["train"]
    units = units_of_run(experiment, base, train)
    refiner = experiment.build_refiner(base, getattr(train, "padding", None), units).to(device)
    own = phase("refiner", refiner, experiment.training, experiment.build_loss(), splits, processes)
    if experiment.base_training is None:
        return [own]
    network = alone(base, experiment, units).to(device)
    for weight in network.parameters():
        weight.requires_grad_(True)  # the refiner froze them
    return [phase("base", network, experiment.base_training, loss_for(train), splits, processes), own]


def phases_of_study(
    study: Study, splits: Splits | None, processes: int = 1, device: str = "cpu"
) -> list[Phase]:
    """The trainings of a study, each once: its seeds cost the same.

    Args:
        study: the study.
        splits: data sets in place of those of all problems; None reads these.
        processes: how many train together, with one device each.
        device: of the probe.
    """
    phases, seed = [], study.seeds[0]
    for name, problem in study.problems.items():
        for base in problem.bases:
            own: nn.Module | None = None
            for variant, changes in study.variants.items():
                experiment = problem.experiment(base, changes, seed)
                data = experiment.splits() if splits is None else splits
                built = contender(Setting(experiment, changes, own, data, seed))
                own = built.model if own is None else own  # the base comes first
                if built.recipe is not None:
                    what = f"{name}, {base}, {variant}"
                    model = built.model.to(device)
                    phases.append(phase(what, model, built.recipe, built.loss, data, processes))
    return phases


def phase(
    name: str, model: nn.Module, recipe: Recipe, loss: Loss, splits: Splits, processes: int = 1
) -> Phase:
    """The cost of training one model.

    Args:
        name: of the phase.
        model: the model, on the device of the probe; it is not changed.
        recipe: its recipe.
        loss: its loss.
        splits: data sets ``train`` and ``valid``.
        processes: how many train together.
    """
    samples, scored = (len(cast(Sized, splits[split])) for split in ("train", "valid"))
    share = math.ceil(recipe.batch_size / recipe.accumulate / processes)
    parts, learning = _parts(model), bytes_of(p for p in model.parameters() if p.requires_grad)
    probe = Probe(model, recipe, loss, splits)
    state, optimizer = probe.bytes_of_a_state(), probe.bytes_of_the_optimizer()
    held, average = bytes_of(held_tensors(model).values()), learning if recipe.ema else 0
    kept = state * (1 + bool(recipe.replay))
    states = kept * -(-samples // processes) + state * -(-scored // processes)
    working = max(
        held,  # a copy of new best weights beside the old ones
        probe.memory_of_updates(share, optimizer + average, kept),
        probe.memory_of_scores(state),
        probe.memory_of_starts(state),
    )
    return Phase(
        name=name,
        parameters={part: sum(p.numel() for p in module.parameters()) for part, module in parts.items()},
        memory={
            **{part: bytes_of(module.parameters()) for part, module in parts.items()},
            "optimizer": optimizer,
            "best weights, average": held + average,
            "states": states,
            "activations, gradients": working,
        },
        written=held + optimizer + average + (samples * (state + 8) if recipe.replay else 0),
        sent=2 * (processes - 1) / processes * learning,
        update=probe.seconds_of_updates(share),
        updates=recipe.epochs * -(-samples // recipe.batch_size),
    )


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model whose weights are listed."""
    if isinstance(model, IterativeRefiner):
        return {"base": model.base, "correction": model.correction}
    return {"base": model}
