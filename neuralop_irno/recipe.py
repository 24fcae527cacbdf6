"""The options of a training, with the values tuned on the demo as defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import torch

from neuralop_irno.annotations import as_whole, hint_of_choice
from neuralop_irno.errors import did_you_mean, expected

PRECISIONS = {"auto": None, "float32": None, "bfloat16": torch.bfloat16}
"""The dtype of autocast, None without autocast. A run replaces ``auto`` at its start."""

RATES = {"muon": 0.02, "adamw": 4e-3, "adam": 4e-3, "sgd": 0.01}
"""Optimizers with their default learning rates."""

BETAS = (0.9, 0.97)
"""Betas of AdamW. With 0.97 the second moment averages over some thirty updates. With the usual 0.999 the
large gradients of the first updates influence the whole training: on the demo's problem the final error was a
fifth higher, and depended far more on the seed."""

DECAYS = ("all", "matrices")
"""Which parameters decay."""

PLACES = ("auto", "device", "host", "disk")
"""Where the states of the training set are held."""

PURPOSES = ("solution", "preconditioner")
"""What a correction is trained for."""

OF_STATES = ("replay", "resolutions", "shifts")
"""Options of the states that are trained on, which a preconditioner does not have."""

OF_THE_MACHINE = ("states", "workers")
"""Options that do not change the result: a run may be resumed with others."""

MOMENTUM = 0.95
"""Nesterov momentum of Muon and SGD."""


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _linear(share: float) -> float:
    return 1 - share


def _constant(share: float) -> float:
    return 1.0


SCHEDULES = {"cosine": _cosine, "linear": _linear, "constant": _constant}
"""Schedules: from the share of the updates after the warmup to the rate in units of its peak."""

MANY = 10**9
"""Upper limit of numbers of updates, epochs and samples."""

WHOLE = {
    "epochs": (0, MANY),
    "batch_size": (1, MANY),
    "accumulate": (1, MANY),
    "patience": (1, MANY),
    "shards": (1, MANY),
    "workers": (0, MANY),
    "save_every": (0, MANY),
    "seed": (0, 2**32 - 1),
}
"""Lower and upper limits of the integer options."""

COARSEST = 64
"""Upper limit of the ratios in ``resolutions``."""

LARGEST = 1e30
"""Upper limit of unbounded options, far below the largest float32."""

NUMBERS = {
    "learning_rate": LARGEST,
    "last_rate": LARGEST,
    "warmup": 1.0,
    "weight_decay": LARGEST,
    "clip": LARGEST,
    "replay": LARGEST,
    "ema": 1.0,
}
"""Upper limits of the float options; the lower limit is 0."""


@dataclass(frozen=True)
class Recipe:
    """The options of the trainer.

    Attributes:
        epochs: passes over the training set.
        batch_size: samples per update, over all processes together.
        accumulate: number of parts in which a batch is computed, one after the other, to save memory. The
            update is the same except for rounding and the statistics of batch norms.
        optimizer: ``muon`` (https://arxiv.org/abs/2502.16982), whose updates of weight matrices are
            orthogonal, with AdamW for all other weights; ``adamw``; ``adam`` with PyTorch's betas, which adds
            the weight decay to the gradient; or ``sgd`` with Nesterov momentum.
        learning_rate: peak rate; by default 0.02 for ``muon``, 0.004 for ``adamw`` and ``adam``, 0.01 for
            ``sgd``.
        last_rate: the rate at the end of the schedule.
        warmup: the share of all updates in which the rate rises linearly, 0 to 1.
        schedule: the rate after the warmup: ``cosine`` or ``linear`` to the last rate, or ``constant``.
        weight_decay: weight decay of the parameters that ``decay`` names.
        decay: ``all`` parameters, or ``matrices``: those with two axes or more, which leaves out biases,
            weights of norms and alpha. See docs/recipe.md for what the decay of norms is worth.
        clip: largest norm of the gradient; a larger one is scaled down.
        ema: decay per update of an exponential moving average of the weights, which is then validated and
            saved. 0 uses the weights themselves.
        precision: ``float32``, ``bfloat16`` (autocast), or ``auto``: ``bfloat16`` if the hardware has units
            for it, else ``float32``. The state stays in float32 in all cases. A resumed run keeps the
            precision that ``auto`` gave at its start.
        replay: mean number of steps, one update each, that a training state is kept before its sample
            starts again from the base. 0 turns replay off; see `neuralop_irno.training.replay`.
        resolutions: ratios of cells, one drawn for each update of a refiner: ``[1, 2]`` trains on the grid of
            the data and on one with half as many cells along each axis, to which fields are restricted as
            coarse data are made.
        shifts: roll every batch by a random amount along the periodic axes, for problems that are
            invariant to shifts.
        cache_base: compute a frozen base's answers once.
        compile: evaluate the correction of a refiner, on grids, by ``torch.compile``: one graph, made in
            minutes at the start of the training, which reports the gain. Part of the result, which it changes
            by rounding. Second derivatives (the losses ``contraction`` and ``monotone``) are taken without
            the graph; see `neuralop_irno.compiling`.
        patience: end the training after this many epochs in a row without a better validation score, at
            least 1; None never ends it early.
        shards: number of shards of the training set, each on one process for the whole training; the number
            of processes has to divide it. Part of the order of the batches, which is the same for every
            number of processes.
        states: where the base's answers and replayed states are held: on the ``device``, in ``host`` memory,
            on ``disk`` in the folder of the run; ``auto`` takes the first in which they are a small part of
            the free memory.
        workers: processes that load batches of the training set ahead, for each process that trains; 0 loads
            them in this one.
        save_every: updates between two snapshots to resume from; 0 saves at the end of epochs only.
        seed: seed of all random numbers.
        train_for: ``solution``, or ``preconditioner``: the correction of a refiner with a linear equation
            learns to shorten the solves of its solver, ``fcg`` say, from x alone; see docs/recipe.md.

    Example:
        >>> recipe = Recipe(epochs=50, replay=8.0)
        >>> recipe.optimizer, recipe.batch_size
        ('muon', 16)
        >>> Recipe(optimizer="addam")
        Traceback (most recent call last):
        ValueError: ...
    """

    epochs: int = 20
    batch_size: int = 16
    accumulate: int = 1
    optimizer: str = "muon"
    learning_rate: float | None = None
    last_rate: float = 0.0
    warmup: float = 0.2
    schedule: str = "cosine"
    weight_decay: float = 1e-2
    decay: str = "all"
    clip: float = 1.0
    ema: float = 0.0
    precision: str = "auto"
    replay: float = 0.0
    resolutions: Sequence[float] = (1,)
    shifts: bool = False
    cache_base: bool = True
    compile: bool = False
    patience: int | None = None
    shards: int = 16
    states: str = "auto"
    workers: int = 0
    save_every: int = 0
    seed: int = 0
    train_for: str = "solution"

    def __post_init__(self) -> None:
        for name, (least, most) in WHOLE.items():
            if not (name == "patience" and self.patience is None):
                object.__setattr__(self, name, _whole(name, getattr(self, name), least, most))
        choices: dict[str, Mapping[str, object]] = {
            "optimizer": RATES,
            "schedule": SCHEDULES,
            "precision": PRECISIONS,
            "decay": dict.fromkeys(DECAYS),
            "states": dict.fromkeys(PLACES),
            "train_for": dict.fromkeys(PURPOSES),
        }
        for name, known in choices.items():
            word = getattr(self, name)
            if not isinstance(word, str) or word not in known:
                article = "an" if name[0] in "aeio" else "a"
                raise ValueError(expected(f"{article} {name}", repr(word), did_you_mean(str(word), known)))
        for name, largest in NUMBERS.items():
            if not (name == "learning_rate" and self.learning_rate is None):
                object.__setattr__(self, name, _number(name, getattr(self, name), largest))
        for name in ("shifts", "cache_base", "compile"):
            if not isinstance(getattr(self, name), bool):
                got = getattr(self, name)
                raise TypeError(expected(f"{name} true or false", repr(got), hint_of_choice(name, got)))
        object.__setattr__(self, "resolutions", _ratios(self.resolutions))
        if 0 < self.replay < 1:
            raise ValueError(expected("replay 0, or at least 1 step", self.replay, "replay=4"))
        other = [name for name in OF_STATES if getattr(self, name) != getattr(Recipe, name)]
        if other and self.train_for == "preconditioner":
            wanted = "no options of training states with train_for='preconditioner'"
            raise ValueError(expected(wanted, ", ".join(other), "leaving them out"))
        share = self.peak * self.weight_decay
        if share > 1:
            wanted = "learning_rate x weight_decay <= 1, the share of a weight that an update takes off"
            raise ValueError(expected(wanted, share, "weight_decay=0.01"))
        if self.last_rate > self.peak:
            wanted = f"last_rate <= {self.peak:g}, the learning rate"
            raise ValueError(expected(wanted, self.last_rate, "last_rate=0.0"))
        if self.ema == 1:
            raise ValueError(expected("ema below 1", self.ema, "ema=0.99"))
        if self.accumulate > self.batch_size:
            got = f"{self.accumulate} of {self.batch_size} samples"
            raise ValueError(expected("at least one sample in each part of a batch", got, "accumulate=1"))

    @property
    def peak(self) -> float:
        """The learning rate at its peak."""
        return RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    def rate(self, update: int, updates: int) -> float:
        """The learning rate at an update, counted from 0, of a training of ``updates`` updates."""
        rising = max(1, round(self.warmup * updates))
        if update < rising:
            return self.peak * (update + 1) / rising
        share = SCHEDULES[self.schedule]((update - rising) / max(1, updates - rising))
        return self.last_rate + (self.peak - self.last_rate) * share


def _ratios(value: object) -> tuple[float, ...]:
    """Checked ratios of cells, without repetitions."""
    listed = isinstance(value, (list, tuple)) and bool(value)
    ratios = list(value) if isinstance(value, (list, tuple)) else []
    plain = all(isinstance(ratio, Real) and not isinstance(ratio, bool) for ratio in ratios)
    if not listed or not plain or not all(1 <= ratio <= COARSEST for ratio in ratios):
        wanted = f"resolutions as ratios of cells from 1 to {COARSEST}"
        raise ValueError(expected(wanted, repr(value), "resolutions=[1, 2]"))
    return tuple(dict.fromkeys(int(ratio) if ratio == int(ratio) else float(ratio) for ratio in ratios))


def _whole(name: str, value: object, least: int, most: int) -> int:
    """A checked integer option; those of numpy and torch are accepted, bool is not."""
    example = f"{name}={getattr(Recipe, name) or least}"
    number = as_whole(value)
    if number is None:
        raise TypeError(expected(f"{name} as a whole number", repr(value), example))
    if not least <= number <= most:
        wanted = f"{name} >= {least}" if number < least else f"{name} <= {most}"
        raise ValueError(expected(wanted, number, example))
    return number


def _number(name: str, value: object, most: float) -> float:
    """A checked float option; numbers of numpy are accepted, bool is not."""
    default = getattr(Recipe, name)
    example = f"{name}={RATES['muon'] if default is None else default}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(expected(f"{name} as a number", repr(value), example))
    number = float(value)
    if not 0 <= number <= most:
        wanted = f"{name} <= {most:g}" if number > most else f"{name} >= 0"
        raise ValueError(expected(wanted, number, example))
    return number
