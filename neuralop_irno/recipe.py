"""How to train: every choice in one place, with the values that the demo was tuned to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from neuralop_irno.errors import did_you_mean, expected

PRECISIONS = {"auto": None, "float32": None, "bfloat16": torch.bfloat16}
"""What autocast computes in, None without it. A run replaces ``auto`` at its start."""

OPTIMIZERS = ("adamw", "muon")
"""Names of optimizers."""


@dataclass(frozen=True)
class Recipe:
    """What the trainer does.

    Attributes:
        epochs: passes over the training set.
        batch_size: samples an update, over all processes together.
        learning_rate: at its peak; it rises linearly and falls along half a cosine to zero.
        warmup: the share of all updates in which it rises.
        weight_decay: AdamW's.
        clip: the largest norm of a gradient; larger ones are scaled down.
        optimizer: ``adamw``, or ``muon``, whose updates of weight matrices are orthogonal, with AdamW for
            all else; a learning rate of 0.02 suits it.
        precision: ``auto`` for autocast in ``bfloat16`` where the hardware has units for it and
            ``float32`` elsewhere, or one of these two. The state stays in float32 either way. What
            ``auto`` was at a run's start is kept when the run is resumed on other hardware.
        replay: how many steps a training state lives on average, one update each, before its sample
            starts again from the base. 0 turns replay off; see `neuralop_irno.training.replay`.
        shifts: roll every batch by a random amount along the periodic axes: for problems that are the
            same everywhere.
        cache_base: compute a frozen base's answers once.
        patience: epochs without a better validation score before training stops; None never stops.
        save_every: updates between two snapshots to resume from; 0 saves at the end of epochs only.
        seed: of everything that is drawn.
    """

    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 4e-3
    warmup: float = 0.2
    weight_decay: float = 1e-2
    clip: float = 1.0
    optimizer: str = "adamw"
    precision: str = "auto"
    replay: float = 0.0
    shifts: bool = False
    cache_base: bool = True
    patience: int | None = None
    save_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"epochs": 0, "batch_size": 1, "learning_rate": 0, "warmup": 0, "weight_decay": 0}
        for name, bound in {**least, "clip": 0, "replay": 0, "save_every": 0}.items():
            value = getattr(self, name)
            if not bound <= value < math.inf:
                raise ValueError(expected(f"{name} >= {bound}", value, f"{name}={getattr(Recipe, name)}"))
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                expected("an optimizer", repr(self.optimizer), did_you_mean(str(self.optimizer), OPTIMIZERS))
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                expected("a precision", repr(self.precision), did_you_mean(self.precision, PRECISIONS))
            )
        if 0 < self.replay < 1:
            raise ValueError(expected("replay 0, or at least 1 step", self.replay, "replay=4"))

    def rate(self, update: int, updates: int) -> float:
        """The learning rate at an update, counted from 0, of a training of so many."""
        rising = max(1, round(self.warmup * updates))
        if update < rising:
            return self.learning_rate * (update + 1) / rising
        share = (update - rising) / max(1, updates - rising)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
