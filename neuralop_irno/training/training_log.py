"""The numbers of a training that its reporters are given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from neuralop_irno.training.reporting import Reports


def values_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record of the history, by name; those of a list by the step of the iteration.

    Example:
        >>> values_of({"epoch": 1, "loss": 0.5, "valid": [0.3, 0.2], "stopped": "Pruner after epoch 1"})
        {'epoch': 1.0, 'loss': 0.5, 'valid/h_0': 0.3, 'valid/h_1': 0.2}
    """
    values: dict[str, float] = {}
    for name, entry in record.items():
        if isinstance(entry, list):
            values |= {f"{name}/h_{step}": float(number) for step, number in enumerate(entry)}
        elif isinstance(entry, (int, float)):
            values[name] = float(entry)
    return values


class TrainingLog:
    """Measures a training, and logs each epoch and every n-th update.

    Args:
        reports: the reporters.
        every: updates between two logs; 0 logs epochs only.
        device: of the training, for the peak of its memory.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        reports: Reports,
        every: int,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.reports, self.every, self.device = reports, every, device
        self._clock = clock
        self._epoch, self._recent = (_Speed(clock) for _ in range(2))

    def begin_epoch(self) -> None:
        """Measure the time of an epoch from now on."""
        self._epoch, self._recent = (_Speed(self._clock) for _ in range(2))

    def update(self, loss: float, rate: float, skipped: bool, samples: int, update: int) -> None:
        """Count one update, and log it if it is an n-th one.

        Args:
            loss: mean over the batch.
            rate: the learning rate.
            skipped: whether the weights were left as they are.
            samples: of the batch, in all processes.
            update: the updates made so far.
        """
        self._epoch.samples += samples
        self._recent.samples += samples
        if self.every and update % self.every == 0:
            values = {"loss": loss, "rate": rate, "skipped": float(skipped)}
            values |= {"samples_per_second": self._recent.value(), **self._memory()}
            self.reports.log({f"update/{name}": value for name, value in values.items()}, update)
            self._recent = _Speed(self._clock)

    def end_updates(self) -> None:
        """End the time of an epoch's updates: the validation is not counted."""
        self._epoch.stop()

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Log the record of an epoch, as it is in the history, with the speed of its updates."""
        speed = {"samples_per_second": self._epoch.value(), **self._memory()}
        self.reports.log({**values_of(record), **speed}, record["update"])

    def _memory(self) -> dict[str, float]:
        if self.device.type != "cuda":
            return {}
        return {"memory_peak_bytes": float(torch.cuda.max_memory_allocated(self.device))}


class _Speed:
    """Samples per second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._start, self._end = clock, clock(), float("nan")
        self.samples = 0

    def stop(self) -> None:
        self._end = self._clock()

    def value(self) -> float:
        end = self._end if self._end == self._end else self._clock()
        return self.samples / max(end - self._start, 1e-9)
