"""Pictures of a trained refiner on a few validation samples, for reporters."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import cast

import torch
from torch.utils.data import Dataset, Subset

from neuralop_irno.devices import device_of, to_device
from neuralop_irno.diagnostics.report import diagnose
from neuralop_irno.losses.loss import truth_of
from neuralop_irno.modes import evaluating
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.batches import Sample, at_once, load_all

FEW = 4
"""Samples that the pictures show."""

ITERATIONS = 10
"""Lanczos steps; the pictures need fewer than `irno diagnose`."""


def draw(model: IterativeRefiner, valid: Dataset[Sample], folder: Path) -> list[Path]:
    """Write the pictures of `diagnose` on the first validation samples, and the first field on 2-D grids.

    Args:
        model: the trained refiner.
        valid: the validation set.
        folder: of the training; the pictures are in its folder ``pictures``, with the numbers.

    Returns:
        the PNG files.
    """
    few = Subset(valid, range(min(FEW, len(cast(Sized, valid)))))
    batches = [sample for _, sample in load_all(few, at_once(model))]
    steps = 3 * max(model.steps, 1)
    device = device_of(model)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        report = diagnose(model, batches, FEW, steps, ITERATIONS, show=False)
        target = report.write(folder / "pictures")
        _draw_field(model, batches[0], target / "fields.png")
    return sorted(target.glob("*.png"))


@torch.no_grad()
def _draw_field(model: IterativeRefiner, batch: Sample, path: Path) -> None:
    """Truth, base and refined answer of the first sample and channel, if it is on a grid of two axes."""
    from neuralop_irno.diagnostics import plots  # matplotlib is slow to import

    sample = model.base.from_batch(to_device(batch, device_of(model)))
    truth = truth_of(sample)
    with evaluating(model):
        answers = list(model.iterates(**model.arguments(sample)))
    fields = [model.base.as_field(field).cpu() for field in (truth, answers[0], answers[-1])]
    if fields[0].dim() == 4:
        plots.fields(path, *(field[0, 0] for field in fields))
