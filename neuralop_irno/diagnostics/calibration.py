"""Calibration of error estimates on held-out data: predicted and true errors of solves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Subset

from neuralop_irno.bands import BandEvidence, Bands, check_share
from neuralop_irno.base.tuples import refuse_tuple
from neuralop_irno.conformal import Calibration
from neuralop_irno.devices import device_of, to_device
from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import truth_of
from neuralop_irno.modes import evaluating
from neuralop_irno.precision import for_weights
from neuralop_irno.refiner import IterativeRefiner

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Evidence:
    """Predicted and true errors of solves.

    Attributes:
        errors: |h - y| in the domain's norm, ``(samples,)``.
        predictors: by name, each ``(samples,)``; see `neuralop_irno.conformal.PREDICTORS`.
        groups: the trajectory of each sample, ``(samples,)``; None if each sample is its own.
        bands: the same for bands; None if it was not gathered.
    """

    errors: Tensor
    predictors: dict[str, Tensor]
    groups: Tensor | None = None
    bands: BandEvidence | None = None

    def __repr__(self) -> str:
        return f"Evidence({len(self.errors)} samples, predictors {', '.join(self.predictors)})"

    def take(self, keep: Any) -> Evidence:
        """Some of the samples."""
        return Evidence(
            self.errors[keep],
            {name: values[keep] for name, values in self.predictors.items()},
            None if self.groups is None else self.groups[keep],
            None if self.bands is None else self.bands.take(keep),
        )

    def fit(self, coverage: float) -> Calibration:
        """The calibration from all samples."""
        return Calibration.fit(self.predictors, self.errors, coverage, self.groups)

    def coverage(self, calibration: Calibration) -> float:
        """The share of the samples whose error lies below the estimate."""
        return (self.errors <= calibration.estimate(self.predictors)).double().mean().item()

    def reliability(self) -> list[tuple[float, float]]:
        """Stated against observed coverage: calibrated on every other trajectory, observed on the rest.

        Levels that no calibration reaches, with too few samples or uninformative predictors, are left out.
        """
        first = first_half(torch.arange(len(self.errors)) if self.groups is None else self.groups)
        known, held_out = self.take(first), self.take(~first)
        curve = []
        for level in LEVELS if len(held_out.errors) else ():
            try:
                calibration = known.fit(level)
            except ValueError:
                continue
            curve.append((level, held_out.coverage(calibration)))
        return curve


def first_half(groups: Tensor) -> Tensor:
    """A mask of the samples in every other group, ``(samples,)``, beginning with the first.

    Example:
        >>> first_half(torch.tensor([4, 4, 7, 9]))
        tensor([ True,  True, False,  True])
    """
    return groups.unique(return_inverse=True)[1] % 2 == 0


class Part(NamedTuple):
    """A data set, or part of one.

    Attributes:
        data: the samples.
        groups: the trajectory of each, ``(samples,)``; None where each sample is its own.
    """

    data: Any
    groups: Tensor | None

    @classmethod
    def of(cls, data: Any) -> Part:
        """A whole data set, with its ``groups`` if it has them."""
        return cls(data, getattr(data, "groups", None))


def halves(data: Any) -> tuple[Part, Part]:
    """Every other trajectory of a data set, and the rest.

    Example:
        >>> from neuralop_irno.data.fields import windows
        >>> first, second = halves(windows(torch.randn(4, 5, 8)))
        >>> len(first.data), second.groups.tolist()
        (8, [1, 1, 1, 1, 3, 3, 3, 3])
    """
    groups = Part.of(data).groups
    first = first_half(torch.arange(len(data)) if groups is None else groups)
    if first.all():
        raise ValueError(expected("at least two trajectories to divide", "one", "more test data"))
    one, other = (
        Part(Subset(data, mask.nonzero()[:, 0].tolist()), None if groups is None else groups[mask])
        for mask in (first, ~first)
    )
    return one, other


def same_samples(one: Any, other: Any) -> bool:
    """Whether two data sets agree in their number of samples and in the y of the first and the last."""
    if len(one) != len(other) or not len(one):
        return len(one) == len(other)
    return all(torch.equal(one[place]["y"], other[place]["y"]) for place in (0, len(one) - 1))


def gather(
    model: IterativeRefiner,
    batches: Iterable[Mapping[str, Any]],
    groups: Tensor | Sequence[int] | None = None,
    share: float | None = None,
    **options: Any,
) -> Evidence:
    """Solve every batch and compare with its y.

    Args:
        model: in evaluation mode while this lasts.
        batches: dicts with y and the arguments of the base.
        groups: the trajectory of each sample, in the order of the batches, ``(samples,)``.
        share: of the region, for which evidence for bands is gathered too.
        options: of `IterativeRefiner.solve`: the same as in later calls of it.
    """
    if share is not None:
        refuse_tuple(model.base, "bands of the error")
        check_share(share)
    errors, known, bands = [], [], []
    device = device_of(model)
    with evaluating(model):
        for batch in batches:
            sample = model.base.from_batch(for_weights(to_device(batch, device), model))
            y = truth_of(sample)
            problem = model.problem((), sample)
            start = {"start": problem.as_answer(problem.start)}  # the base is called once
            solution = model.solve(**model.arguments(sample), **{**start, **options})
            answer = problem.as_field(solution.value)
            error = answer - problem.as_field(y)
            errors.append(problem.domain.norm(error).cpu())
            known.append({name: values.cpu() for name, values in solution.predictors.items()})
            if share is not None:
                bands.append(BandEvidence.of(error, answer - problem.start, problem.domain, share))
    if not errors:
        raise ValueError(expected("at least one batch", "none", "a loader with samples"))
    found = torch.cat(errors)
    belongs = None if groups is None else torch.as_tensor(groups).cpu()
    if belongs is not None and belongs.shape != found.shape:
        got = f"groups of shape {tuple(belongs.shape)}"
        hint = "one number for each sample, in the order of the batches"
        raise ValueError(expected(f"the groups of {len(found)} samples", got, hint))
    predictors = {name: torch.cat([k[name] for k in known]) for name in known[0]}
    return Evidence(found, predictors, belongs, BandEvidence.joined(bands) if bands else None)


def calibrate(
    model: IterativeRefiner,
    batches: Iterable[Mapping[str, Any]],
    coverage: float = 0.9,
    groups: Tensor | Sequence[int] | None = None,
    share: float | None = None,
    **options: Any,
) -> Calibration:
    """Measure an error estimate of a model on held-out data, and store it with the model.

    Afterwards `IterativeRefiner.solve` fills ``error_estimate``, and with ``share`` also ``error_band``, and
    `IterativeRefiner.save` stores the calibration with the weights. Those of earlier calls are replaced. The
    stated coverage holds for samples that are exchangeable with those of the batches: of the same
    distribution, from trajectories outside of the training and validation sets.

    Args:
        model: gets the calibration.
        batches: held-out dicts with y and the arguments of the base; not the validation set, which selected
            the model.
        coverage: the share of samples whose error the estimate should cover.
        groups: the trajectory of each sample, in the order of the batches, ``(samples,)``. Windows of one
            trajectory are not exchangeable; without groups each sample counts as a separate trajectory.
        share: calibrates `Bands` too, which hold on this share of the region: ``model.bands``.
        options: of `IterativeRefiner.solve`: the same as in later calls of it.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> x = torch.randn(32, 1, 16)
        >>> model = IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), "unet")
        >>> with torch.no_grad():
        ...     _ = model.correction.last.weight.normal_(std=0.1)
        >>> calibration = calibrate(model, DataLoader(FieldDataset(x, 0.5 * x), batch_size=8), share=0.8)
        >>> model.solve(x).error_estimate.shape, model.solve(x).error_band.shape
        (torch.Size([32]), torch.Size([32, 1, 16]))
    """
    evidence = gather(model, batches, groups, share, **options)
    calibration = evidence.fit(coverage)
    bands = None if evidence.bands is None else Bands.fit(evidence.bands, coverage, evidence.groups)
    model.calibration, model.bands = calibration, bands
    return calibration
