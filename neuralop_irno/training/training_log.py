"""The numbers of a training that its reporters are given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sized
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import Dataset

from neuralop_irno.errors import one_line
from neuralop_irno.messages import log
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training import pictures
from neuralop_irno.training.batches import Sample
from neuralop_irno.training.folder import files_of
from neuralop_irno.training.reporting import Reports
from neuralop_irno.training.training_run import TrainingRun


def values_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record of the history by name, except its update; those of a list by the step k.

    Example:
        >>> values_of({"epoch": 1, "update": 8, "valid": [0.3, 0.2], "stopped": "Pruner after epoch 1"})
        {'epoch': 1.0, 'valid/h_0': 0.3, 'valid/h_1': 0.2}
    """
    values: dict[str, float] = {}
    for name, entry in record.items():
        if isinstance(entry, list):
            values |= {f"{name}/h_{step}": float(number) for step, number in enumerate(entry)}
        elif isinstance(entry, (int, float)) and name != "update":
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

    def start(
        self, run: TrainingRun, recipe: Recipe, train: Dataset[Sample], folder: Path | None, world: int
    ) -> None:
        """Start the reporters with the options of a training.

        Args:
            run: new or restored.
            recipe: its options.
            train: its samples.
            folder: of the training.
            world: the number of processes.
        """
        if not self.reports:
            return
        model = run.model
        config = {
            "recipe": asdict(recipe),
            "model": model.config if isinstance(model, IterativeRefiner) else type(model).__name__,
            "loss": type(run.loss).__name__,
            "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "samples": len(cast(Sized, train)),
            "processes": world,
            "precision": run.precision,
        }
        self.reports.start(config, folder, run.progress.update)

    def finish(self, model: nn.Module, valid: Dataset[Sample] | None, folder: Path | None) -> None:
        """Give the reporters the files of a training that has ended, and pictures of its model."""
        if not self.reports.keep_files or folder is None:
            return
        found = files_of(folder)
        if valid is not None and isinstance(model, IterativeRefiner):
            try:
                found += pictures.draw(model, valid, folder)
            except Exception as error:  # not every base has spectra; the training is done in any case
                log.warning("no pictures for the reporters: %s", one_line(error))
        for path in found:
            self.reports.file(path)

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

    def epoch(self, record: Mapping[str, Any], solves: Mapping[str, float]) -> None:
        """Log the record of an epoch, as in the history, with the ends of solves and the speed of updates."""
        speed = {"samples_per_second": self._epoch.value(), **self._memory()}
        self.reports.log({**values_of(record), **solves, **speed}, record["update"])

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
