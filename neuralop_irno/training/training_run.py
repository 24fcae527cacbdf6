"""The parts of a training run that change: what a snapshot stores."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import Optimizer

from neuralop_irno.losses.loss import Loss
from neuralop_irno.training.average import Average
from neuralop_irno.training.replay import Replay


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        epoch: epochs finished.
        batch: batches of the current epoch that are done.
        update: updates made, the skipped ones included.
        loss_sum: of the current epoch, over its samples in all processes.
        loss_count: those samples.
        skipped: updates of the current epoch that were skipped: their gradients were not finite.
        best: the best validation score.
        best_weights: the digest of the weights with this score, in ``model.safetensors``; empty if
            there are none.
        waited: epochs since the best score.
        history: one record for each finished epoch.
    """

    epoch: int = 0
    batch: int = 0
    update: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    skipped: int = 0
    best: float = float("inf")
    best_weights: str = ""
    waited: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """The mean loss of the current epoch so far."""
        return self.loss_sum / self.loss_count

    def add(self, loss: float, samples: int, skipped: bool) -> None:
        """Count one update."""
        self.batch, self.update = self.batch + 1, self.update + 1
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + samples
        self.skipped += skipped

    def finish_epoch(self, record: dict[str, Any]) -> None:
        """Count one epoch."""
        self.history.append(record)
        self.epoch, self.batch, self.skipped = self.epoch + 1, 0, 0
        self.loss_sum, self.loss_count = 0.0, 0


@dataclass
class TrainingRun:
    """The parts of a training run that change, and its precision.

    Attributes:
        model: in training.
        optimizer: of its parameters.
        loss: included because its weights may rise with the updates.
        replay: the states of the training set, with replay.
        average: of the weights, with ``ema``.
        progress: counters and history.
        precision: ``float32`` or ``bfloat16``, as resolved at the start of the run.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: Loss
    replay: Replay | None
    average: Average | None
    progress: Progress
    precision: str

    def averaged(self) -> AbstractContextManager[None]:
        """Put the averaged weights, with ``ema``, into the model within a ``with`` block."""
        return nullcontext() if self.average is None else self.average.in_place()
