"""What a training costs, before it is started: parameters, memory by part, bytes written, time of an update.

Weights, states and files are counted; activations and time are measured, see `neuralop_irno.study.probe`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import Dataset

from neuralop_irno.config import Experiment
from neuralop_irno.data.fields import Splits
from neuralop_irno.data.graphs import coordinates_of
from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.refinement import loss_for
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.rollouts.training import RolloutModel
from neuralop_irno.study.contenders import Setting, contender
from neuralop_irno.study.cost import megaflops
from neuralop_irno.study.plan import Study, Trial
from neuralop_irno.study.probe import Probe, bytes_of
from neuralop_irno.training.batches import Sample
from neuralop_irno.training.best_model import held_tensors
from neuralop_irno.training.disk_states import SLOTS
from neuralop_irno.training.placement import SHARES
from neuralop_irno.training.shards import Shards
from neuralop_irno.training.units import alone, units_of_run


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


BESIDE = 24
"""Bytes that a snapshot has for each state beside the state itself."""


@dataclass(frozen=True)
class Devices:
    """What is planned for, and what is planned with.

    Attributes:
        numbers: of devices that train together, with one process each; a cost is computed for each number.
        memory: bytes of one device.
        probe: the device of the measurements.
    """

    numbers: Sequence[int] = (1,)
    memory: float = 80 * 2**30
    probe: str = "cpu"


ONE = Devices()


@dataclass(frozen=True)
class Cost:
    """The cost of a training for one of its processes.

    Attributes:
        memory: bytes of each part on its device at the peak.
        host: bytes of what is not on the device, in the memory of its host: states, and the copy of the
            weights and states that is written to a snapshot.
        disk: bytes of its file of states.
        written: bytes that an epoch writes, of all processes together, if it improves the score.
        sent: bytes that the process sends in an update, along a ring.
        update: seconds of an update on the machine of the probe.
    """

    memory: dict[str, float]
    host: dict[str, float]
    disk: float
    written: float
    sent: float
    update: float

    @property
    def together(self) -> float:
        """Bytes on its device at the peak."""
        return sum(self.memory.values())


@dataclass(frozen=True)
class Phase:
    """One training.

    Attributes:
        name: what is trained.
        parameters: numbers in the weights of each part; a complex weight has two.
        updates: of the whole training.
        megaflops: arithmetic of one answer; see `neuralop_irno.study.cost.megaflops`.
        costs: one for each number of processes.
    """

    name: str
    parameters: dict[str, int]
    updates: int
    megaflops: float
    costs: tuple[Cost, ...]


def stand_in(x: Sequence[int], y: Sequence[int], samples: Sequence[int]) -> Splits:
    """Data sets of stated sizes in place of those of a config.

    Args:
        x: the shape of x, ``(C, *S)``.
        y: the shape of y.
        samples: numbers for training and validation.
    """
    train, valid = samples
    sets: Any = {split: StandIn(x, y, n) for split, n in (("train", train), ("valid", valid), ("test", 1))}
    return cast(Splits, sets)


def phases_of(
    experiment: Experiment,
    splits: Splits,
    devices: Devices = ONE,
) -> list[Phase]:
    """The trainings of a config: that of the base, if it has one, and that of the refiner.

    Args:
        experiment: the config.
        splits: its data sets, or those of `stand_in`.
        devices: planned for.
    """
    base, train = experiment.build_base(splits), splits["train"]
    units = units_of_run(experiment, base, train)
    padding, dim = getattr(train, "padding", None), coordinates_of(train)
    refiner = experiment.build_refiner(base, padding, units, dim).to(devices.probe)
    own = phase("refiner", refiner, experiment.training, experiment.build_loss(), splits, devices)
    if experiment.base_training is None:
        return [own]
    network = alone(base, experiment, units).to(devices.probe)
    for weight in network.parameters():
        weight.requires_grad_(True)  # the refiner froze them
    return [
        phase("base", network, experiment.base_training, loss_for(train), splits, devices),
        own,
    ]


def phases_of_study(
    study: Study,
    splits: Splits | None,
    devices: Devices = ONE,
) -> Iterator[Phase]:
    """The trainings of a study, each once: its seeds and learning rates cost the same.

    Each is measured when it is asked for, which takes minutes for large networks on a CPU.

    Args:
        study: the study.
        splits: data sets in place of those of all problems; None reads these.
        devices: planned for.
    """
    seed = study.seeds[0]
    for name, problem in study.problems.items():
        for base in problem.bases:
            own: nn.Module | None = None
            for variant, changes in study.variants.items():
                experiment = problem.experiment(base, changes, seed)
                data = experiment.splits() if splits is None else splits
                for deeper in changes.deeper:
                    trial = Trial(deeper, changes.rates[0])
                    built = contender(Setting(experiment, changes, own, data, seed, trial))
                    own = built.model if own is None else own  # the base comes first
                    if built.recipe is not None:
                        what = [name, base, variant, *[f"deeper by {deeper}"] * (len(changes.deeper) > 1)]
                        model = built.model.to(devices.probe)
                        yield phase(", ".join(what), model, built.recipe, built.loss, data, devices)


def phase(
    name: str,
    model: nn.Module,
    recipe: Recipe,
    loss: Loss,
    splits: Splits,
    devices: Devices = ONE,
) -> Phase:
    """The cost of training one model.

    Args:
        name: of the phase.
        model: the model, on the device of the probe; it is not changed.
        recipe: its recipe.
        loss: its loss.
        splits: data sets ``train`` and ``valid``.
        devices: planned for.

    Example:
        >>> unet = {"name": "unet", "width": 2, "depth": 0, "dim": 1}
        >>> model = IterativeRefiner(nn.Conv1d(1, 1, 1), unet, steps=2)
        >>> data = stand_in((1, 8), (1, 8), samples=(64, 8))
        >>> loss = loss_for(data["train"])
        >>> one, two = phase("refiner", model, Recipe(replay=4.0), loss, data, Devices((1, 2))).costs
        >>> one.memory["states"], two.memory["states"]
        (4352.0, 2176.0)
    """
    parts, probe = _parts(model), Probe(model, recipe, loss, splits)
    costs = tuple(_cost(probe, number, devices.memory) for number in devices.numbers)
    parameters = {part: sum(map(_numbers, module.parameters())) for part, module in parts.items()}
    updates = recipe.epochs * -(-probe.samples["train"] // recipe.batch_size)
    return Phase(name, parameters, updates, megaflops(_called(model), splits["train"]), costs)


def _cost(probe: Probe, processes: int, device_memory: float) -> Cost:
    """The cost for one process of several."""
    model, recipe, samples = probe.model, probe.recipe, probe.samples
    owned = len(Shards(samples["train"], recipe.shards, rank=0, world=processes).own)
    scored = -(-samples["valid"] // processes)
    share = math.ceil(recipe.batch_size / recipe.accumulate / processes)
    learning = bytes_of(p for p in model.parameters() if p.requires_grad)
    state, optimizer = probe.bytes_of_a_state, probe.bytes_of_the_optimizer
    held, average = bytes_of(held_tensors(model).values()), learning if recipe.ema else 0
    kept = state * (1 + bool(recipe.replay))
    states = kept * owned + state * scored
    fits = states <= SHARES["device"] * device_memory
    on_disk, on_device = (
        recipe.states == "disk",
        recipe.states == "device" or (recipe.states == "auto" and fits),
    )
    snapshot = optimizer + average + (0 if on_disk or not recipe.replay else state * owned)
    working = max(
        held,  # a copy of new best weights beside the old ones
        probe.memory_of_updates(share, optimizer + average, kept),
        probe.memory_of_scores(scored, processes),
        probe.memory_of_starts(owned, processes),
    )
    return Cost(
        memory={
            **{part: bytes_of(module.parameters()) for part, module in _parts(model).items()},
            "optimizer": optimizer,
            "best weights, average": held + average,
            "states": states if on_device else 0,
            "activations, gradients": working,
        },
        host={"states": 0 if on_device or on_disk else states, "snapshot": snapshot},
        disk=SLOTS * state * owned + state * (owned + scored) if on_disk else 0,
        written=held + optimizer + average + (samples["train"] * (state + BESIDE) if recipe.replay else 0),
        sent=2 * (processes - 1) / processes * learning,
        update=probe.seconds_of_updates(share),
    )


def _numbers(weight: nn.Parameter) -> int:
    return weight.numel() * (2 if weight.is_complex() else 1)


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model whose weights are listed."""
    called = _called(model)
    if isinstance(called, IterativeRefiner):
        return {"base": called.base, "correction": called.correction}
    return {"base": called}


def _called(model: nn.Module) -> nn.Module:
    """The model of one call; of a rollout, that of its frames."""
    return model.model if isinstance(model, RolloutModel) else model
