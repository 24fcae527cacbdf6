"""An estimate of the distance between a solve's answer and the truth, with a stated coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected

PREDICTORS = ("moved", "residual", "bound")
"""What a solve gives for each sample: how far it went from the base's answer, the residual that it met last,
and the estimate of the distance to the fixed point."""

ROUNDING = 1e-9
"""0.9 / (1 - 0.9) is a little more than 9."""


@dataclass(frozen=True)
class Calibration:
    """Split conformal prediction with one factor:

        error_estimate = factor * predictor

    The factor is a quantile of error / predictor over held-out samples. The true error of a new sample that
    is exchangeable with those lies below the estimate with at least the stated probability, on average over
    the draw of the held-out samples.

    Attributes:
        predictor: ``moved``, ``residual`` or ``bound``.
        factor: see above.
        coverage: the stated probability.
        samples: how many were held out.

    Example:
        >>> errors, known = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.ones(4)
        >>> Calibration.fit({"moved": known}, errors, coverage=0.75).factor
        4.0
    """

    predictor: str
    factor: float
    coverage: float
    samples: int

    def __post_init__(self) -> None:
        if self.predictor not in PREDICTORS:
            raise ValueError(
                expected("a predictor", repr(self.predictor), did_you_mean(self.predictor, PREDICTORS))
            )

    @classmethod
    def fit(
        cls,
        predictors: Mapping[str, Tensor],
        errors: Tensor,
        coverage: float = 0.9,
        groups: Tensor | None = None,
    ) -> Self:
        """The calibration by the predictor whose estimates are closest to the errors.

        A quantile of the samples that the predictor was chosen on covers too little. So the samples are
        split: some choose the predictor, the others give the factor. Where there are no more than the factor
        needs, the first predictor is taken.

        Windows of one trajectory are not exchangeable, trajectories are. With ``groups`` each group has the
        same weight whatever its size, and the coverage is that of a sample of a new group.

        Args:
            predictors: by name, each ``(samples,)``.
            errors: true ones, ``(samples,)``; one that is not finite counts as larger than all others.
            coverage: the share of samples that the estimate should cover.
            groups: the group of each sample, by any numbers, ``(samples,)``; by default one each.
        """
        if not 0 < coverage < 1:
            raise ValueError(expected("a coverage between 0 and 1", coverage, "coverage=0.9"))
        count = len(errors)
        group = torch.arange(count) if groups is None else groups.unique(return_inverse=True)[1]
        number = int(group.max()) + 1 if count else 0
        needed = math.ceil(coverage / (1 - coverage) - ROUNDING)
        if number < needed:
            what = "samples" if groups is None else "trajectories"
            hint = f"more {what}, or a smaller coverage"
            raise ValueError(expected(f"at least {needed} {what} for a coverage of {coverage}", number, hint))
        scores = {
            name: torch.where(errors == 0, 0.0, errors.double() / values.double()).nan_to_num(
                math.inf, math.inf
            )
            for name, values in predictors.items()
        }
        chosen, fitting = next(iter(scores)), torch.ones(count, dtype=torch.bool)
        choosing = min(number // 2, number - needed) if len(scores) > 1 else 0
        if choosing:
            order = torch.randperm(number, generator=torch.Generator().manual_seed(0))
            fitting = order.argsort()[group] >= choosing
            chosen = min(
                scores, key=lambda name: _looseness(scores[name][~fitting], group[~fitting], coverage)
            )
        factor = _quantile(scores[chosen][fitting], group[fitting], coverage, beyond=1)
        if not math.isfinite(factor):
            hint = "a trained model, and a solve that converges"
            raise ValueError(
                expected("finite errors and predictors above zero in most samples", "too few", hint)
            )
        if factor == 0 and bool((errors[fitting] > 0).any()):
            got = f"{chosen}, which is infinite in most samples"
            raise ValueError(expected("a finite predictor", got, "a trained model, or more max_steps"))
        return cls(chosen, factor, coverage, count)

    def estimate(self, predictors: Mapping[str, Tensor]) -> Tensor:
        """The distance to the truth that is not exceeded with the stated probability, ``(samples,)``.

        It is infinite for a sample whose predictor is not finite.
        """
        values = predictors[self.predictor]
        return torch.where(values.isfinite(), self.factor * values, math.inf)

    def to_plain(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return asdict(self)


def _quantile(scores: Tensor, group: Tensor, level: float, beyond: int = 0) -> float:
    """The smallest score below which the given share of the groups lies; each group has weight 1.

    Args:
        scores: ``(samples,)``.
        group: of each sample, ``(samples,)``.
        level: the share.
        beyond: groups that are counted with scores of infinity.
    """
    _, place, sizes = group.unique(return_inverse=True, return_counts=True)
    ordered, order = scores.sort()
    weights = (1 / sizes[place].double())[order].cumsum(0)
    enough = weights >= level * (len(sizes) + beyond) - ROUNDING
    return ordered[int(enough.int().argmax())].item() if enough.any() else math.inf


def _looseness(scores: Tensor, group: Tensor, level: float) -> float:
    """How much larger the factor of a predictor is than a typical ratio; a sharp one is near 1.

    A typical ratio of zero belongs to a predictor that is infinite, one of infinity to a predictor that is
    zero: neither says anything of the error.
    """
    middle = _quantile(scores, group, 0.5)
    return _quantile(scores, group, level) / middle if 0 < middle < math.inf else math.inf
