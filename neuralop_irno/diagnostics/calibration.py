"""How well what a solve knows predicts how far its answer is from the truth, on held-out data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.calibration import Calibration
from neuralop_irno.errors import expected
from neuralop_irno.refiner import IterativeRefiner

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Evidence:
    """What solves knew, and what was true.

    Attributes:
        errors: |answer - y| in the domain's norm, ``(samples,)``.
        predictors: by name, each ``(samples,)``; see `neuralop_irno.calibration.PREDICTORS`.
    """

    errors: Tensor
    predictors: dict[str, Tensor]

    def take(self, keep: Any) -> Evidence:
        """Some of the samples."""
        return Evidence(self.errors[keep], {name: values[keep] for name, values in self.predictors.items()})

    def coverage(self, calibration: Calibration) -> float:
        """The share of the samples whose error lies below the estimate."""
        return (self.errors <= calibration.estimate(self.predictors)).double().mean().item()

    def reliability(self) -> list[tuple[float, float]]:
        """Stated against observed coverage: calibrated on every other sample, observed on the rest."""
        known, held_out = self.take(slice(0, None, 2)), self.take(slice(1, None, 2))
        curve = []
        for level in LEVELS:
            if (len(known.errors) + 1) * level <= len(known.errors):
                fitted = Calibration.fit(known.predictors, known.errors, level)
                curve.append((level, held_out.coverage(fitted)))
        return curve


def gather(model: IterativeRefiner, batches: Iterable[Mapping[str, Any]], **options: Any) -> Evidence:
    """Solve every batch and compare with its y.

    Args:
        model: in evaluation mode while this lasts.
        batches: dicts with y and what the base takes.
        options: of `IterativeRefiner.solve`: the same as the answers to come will be asked for with.
    """
    training = model.training
    model.eval()
    errors, known = [], []
    device = next(model.parameters(), torch.zeros(())).device
    for batch in batches:
        sample: dict[str, Any] = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
        y = sample.pop("y")
        solution = model.solve(**sample, **options)
        problem = model.problem((), sample, start=solution.value)
        errors.append(problem.domain.norm(problem.start - problem.as_field(y)).cpu())
        known.append({name: values.cpu() for name, values in solution.predictors.items()})
    model.train(training)
    if not errors:
        raise ValueError(expected("at least one batch", "none", "a loader with samples"))
    return Evidence(torch.cat(errors), {name: torch.cat([k[name] for k in known]) for name in known[0]})


def calibrate(
    model: IterativeRefiner, batches: Iterable[Mapping[str, Any]], coverage: float = 0.9, **options: Any
) -> Calibration:
    """Give a model the means to say how far its answers are from the truth.

    Afterwards `IterativeRefiner.solve` fills ``error_estimate``, and `IterativeRefiner.save` stores the
    calibration with the weights.

    Args:
        model: gets the calibration.
        batches: held-out dicts with y and what the base takes; from other trajectories than the model was
            trained on, and like those that it will be asked about.
        coverage: the share of samples whose error the estimate should cover.
        options: of `IterativeRefiner.solve`: the same as the answers to come will be asked for with.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from neuralop_irno.data.dataset import FieldDataset
        >>> x = torch.randn(32, 1, 16)
        >>> model = IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), "unet")
        >>> with torch.no_grad():
        ...     _ = model.correction.correction.last.weight.normal_(std=0.1)
        >>> calibration = calibrate(model, DataLoader(FieldDataset(x, 0.5 * x), batch_size=8))
        >>> model.solve(x).error_estimate.shape
        torch.Size([32])
    """
    evidence = gather(model, batches, **options)
    model.calibration = Calibration.fit(evidence.predictors, evidence.errors, coverage)
    return model.calibration
