"""How to train: every choice in one place, with the values that the demo was tuned to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

import torch

from neuralop_irno.errors import did_you_mean, expected

PRECISIONS = {"auto": None, "float32": None, "bfloat16": torch.bfloat16}
"""What autocast computes in, None without it. A run replaces ``auto`` at its start."""

RATES = {"muon": 0.02, "adamw": 4e-3, "sgd": 0.01}
"""Optimizers, each with the learning rate that it has by default."""

BETAS = (0.9, 0.97)
"""Of AdamW. The second moment forgets within some thirty updates. With AdamW's usual 0.999 it remembers the
large gradients of the beginning for as long as the whole training lasts: on the demo's problem the error
ended a fifth higher, and depended on the seed far more."""

MOMENTUM = 0.95
"""Of Muon and SGD, both with Nesterov's step."""


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _linear(share: float) -> float:
    return 1 - share


def _constant(share: float) -> float:
    return 1.0


SCHEDULES = {"cosine": _cosine, "linear": _linear, "constant": _constant}
"""By name, the rate in units of its peak after a share of the updates that follow the warmup."""

MANY = 10**9
"""More updates, epochs or samples than any training has."""

WHOLE = {
    "epochs": (0, MANY),
    "batch_size": (1, MANY),
    "accumulate": (1, MANY),
    "patience": (1, MANY),
    "save_every": (0, MANY),
    "seed": (0, 2**32 - 1),
}
"""The least and the most of each whole number."""

LARGEST = 1e30
"""Far beyond any use, and far below what float32 holds."""

NUMBERS = {
    "learning_rate": LARGEST,
    "warmup": 1.0,
    "weight_decay": LARGEST,
    "clip": LARGEST,
    "replay": LARGEST,
    "ema": 1.0,
}
"""The most of each number; the least is 0."""


@dataclass(frozen=True)
class Recipe:
    """What the trainer does.

    Attributes:
        epochs: passes over the training set.
        batch_size: samples an update, over all processes together.
        accumulate: the number of parts that a batch is computed in, one after the other, where it does not
            fit the memory at once. The update is the same but for rounding and for statistics of batch norms.
        optimizer: ``muon``, whose updates of weight matrices are orthogonal, with AdamW for all other
            weights; ``adamw``; or ``sgd`` with Nesterov's momentum.
        learning_rate: at its peak; by default 0.02 for ``muon``, 0.004 for ``adamw``, 0.01 for ``sgd``.
        warmup: the share of all updates in which the rate rises linearly, 0 to 1.
        schedule: how it falls afterwards: ``cosine`` and ``linear`` to zero, or not at all, ``constant``.
        weight_decay: of weight matrices and kernels. Biases, weights of norms and alpha, the parameters with
            fewer than two axes, do not decay.
        clip: the largest norm of a gradient; larger ones are scaled down.
        ema: the decay of an exponential moving average of the weights, per update; the average is what is
            validated and kept. 0 keeps the weights themselves.
        precision: ``auto`` for autocast in ``bfloat16`` where the hardware has units for it and
            ``float32`` elsewhere, or one of these two. The state stays in float32 either way. What
            ``auto`` was at a run's start is kept when the run is resumed on other hardware.
        replay: how many steps a training state lives on average, one update each, before its sample
            starts again from the base. 0 turns replay off; see `neuralop_irno.training.replay`.
        shifts: roll every batch by a random amount along the periodic axes: for problems that are the
            same everywhere.
        cache_base: compute a frozen base's answers once.
        patience: so many epochs in a row without a better validation score end the training, at least 1;
            None never ends it.
        save_every: updates between two snapshots to resume from; 0 saves at the end of epochs only.
        seed: of everything that is drawn.
    """

    epochs: int = 20
    batch_size: int = 16
    accumulate: int = 1
    optimizer: str = "muon"
    learning_rate: float | None = None
    warmup: float = 0.2
    schedule: str = "cosine"
    weight_decay: float = 1e-2
    clip: float = 1.0
    ema: float = 0.0
    precision: str = "auto"
    replay: float = 0.0
    shifts: bool = False
    cache_base: bool = True
    patience: int | None = None
    save_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in WHOLE.items():
            if not (name == "patience" and self.patience is None):
                object.__setattr__(self, name, _whole(name, getattr(self, name), least, most))
        choices: dict[str, Mapping[str, object]] = {
            "optimizer": RATES,
            "schedule": SCHEDULES,
            "precision": PRECISIONS,
        }
        for name, known in choices.items():
            word = getattr(self, name)
            if not isinstance(word, str) or word not in known:
                article = "an" if name[0] in "aeio" else "a"
                raise ValueError(expected(f"{article} {name}", repr(word), did_you_mean(str(word), known)))
        for name, largest in NUMBERS.items():
            if not (name == "learning_rate" and self.learning_rate is None):
                object.__setattr__(self, name, _number(name, getattr(self, name), largest))
        for name in ("shifts", "cache_base"):
            if not isinstance(getattr(self, name), bool):
                got, example = repr(getattr(self, name)), f"{name}={getattr(Recipe, name)}"
                raise TypeError(expected(f"{name} true or false", got, example))
        if 0 < self.replay < 1:
            raise ValueError(expected("replay 0, or at least 1 step", self.replay, "replay=4"))
        decay = self.peak * self.weight_decay
        if decay > 1:
            wanted = "learning_rate x weight_decay <= 1, the share of a weight that an update takes off"
            raise ValueError(expected(wanted, decay, "weight_decay=0.01"))
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
        """The learning rate at an update, counted from 0, of a training of so many."""
        rising = max(1, round(self.warmup * updates))
        if update < rising:
            return self.peak * (update + 1) / rising
        return self.peak * SCHEDULES[self.schedule]((update - rising) / max(1, updates - rising))


def _whole(name: str, value: object, least: int, most: int) -> int:
    """A whole number within its limits, numpy's included; a truth value is none."""
    example = f"{name}={getattr(Recipe, name) or least}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(expected(f"{name} as a whole number", repr(value), example))
    number = int(value)
    if not least <= number <= most:
        wanted = f"{name} >= {least}" if number < least else f"{name} <= {most}"
        raise ValueError(expected(wanted, number, example))
    return number


def _number(name: str, value: object, most: float) -> float:
    """A finite number within its limits, numpy's included."""
    default = getattr(Recipe, name)
    example = f"{name}={RATES['muon'] if default is None else default}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(expected(f"{name} as a number", repr(value), example))
    number = float(value)
    if not 0 <= number <= most:
        wanted = f"{name} <= {most:g}" if number > most else f"{name} >= 0"
        raise ValueError(expected(wanted, number, example))
    return number
