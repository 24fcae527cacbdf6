"""Conformal estimates of the distance from an answer to the truth, with a stated coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno.errors import check_choice, expected

PREDICTORS = ("moved", "residual", "bound")
"""Predictors of the error, per sample: the distance moved from the base's answer, the last residual, and the
estimated distance to the fixed point."""

ROUNDING = 1e-9
"""Tolerance for rounding: in floating point 0.9 / (1 - 0.9) is a little more than 9."""


@dataclass(frozen=True)
class Calibration:
    """Split conformal prediction with one factor:

        error_estimate = factor * predictor

    The factor is a quantile of error / predictor over held-out samples. For a new sample that is exchangeable
    with those, the true error is below the estimate with at least the stated probability, on average over
    the draw of the held-out samples. Paper: https://arxiv.org/abs/2107.07511.

    Attributes:
        predictor: ``moved``, ``residual`` or ``bound``.
        factor: see above.
        coverage: the stated probability.
        samples: number of held-out samples.

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
        check_choice("a predictor", self.predictor, PREDICTORS)

    @classmethod
    def fit(
        cls,
        predictors: Mapping[str, Tensor],
        errors: Tensor,
        coverage: float = 0.9,
        groups: Tensor | None = None,
    ) -> Self:
        """Fit the factor of the predictor whose estimates are closest to the errors: `conformal_factor`.

        Windows of one trajectory are not exchangeable, trajectories are. With ``groups`` each group has the
        same weight for any size, and the coverage is that of a sample of a new group.

        Args:
            predictors: by name, each ``(samples,)``.
            errors: true errors, ``(samples,)``; those that are not finite count as larger than all others.
            coverage: the share of samples that the estimate should cover.
            groups: the number of the group of each sample, ``(samples,)``; by default one group per sample.
        """
        scores = {name: _ratio(errors, values) for name, values in predictors.items()}
        widths = {name: _ratio(values, errors) for name, values in predictors.items()}
        chosen, factor = conformal_factor(scores, widths, coverage, groups)
        if factor == 0 and bool(((scores[chosen] == 0) & (errors > 0)).any()):
            got = f"{chosen}, which is infinite in most samples"
            raise ValueError(expected("a finite predictor", got, "a trained model, or more max_steps"))
        return cls(chosen, factor, coverage, len(errors))

    def estimate(self, predictors: Mapping[str, Tensor]) -> Tensor:
        """An upper estimate of the distance to the truth, with the stated coverage, ``(samples,)``.

        It is infinite for a sample whose predictor is not finite.
        """
        values = predictors[self.predictor]
        return torch.where(values.isfinite(), self.factor * values, math.inf)

    def to_plain(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return asdict(self)


def conformal_factor(
    scores: Mapping[str, Tensor],
    widths: Mapping[str, Tensor],
    coverage: float,
    groups: Tensor | None = None,
) -> tuple[str, float]:
    """The predictor with the tightest estimates, and the conformal quantile of its scores.

    A quantile of the samples that also choose the predictor would cover too few new samples. So the groups
    are split: some choose the predictor, the others give the factor. If there are no more than the factor
    needs, the first predictor is used. Each group has the same weight for any size.

    Args:
        scores: by predictor, for each sample the smallest factor whose estimate covers it, ``(samples,)``;
            infinite if none does.
        widths: by predictor, its size in units of the error, ``(samples,)``.
        coverage: the share of new groups to cover.
        groups: the number of the group of each sample, ``(samples,)``; by default one group per sample.

    Raises:
        ValueError: there are too few groups for this coverage, or of finite scores.
    """
    if not 0 < coverage < 1:
        raise ValueError(expected("a coverage between 0 and 1", coverage, "coverage=0.9"))
    count = len(next(iter(scores.values())))
    group = torch.arange(count) if groups is None else groups.unique(return_inverse=True)[1]
    number = int(group.max()) + 1 if count else 0
    needed = math.ceil(coverage / (1 - coverage) - ROUNDING)
    if number < needed:
        what = "samples" if groups is None else "trajectories"
        hint = f"more {what}, or a smaller coverage"
        raise ValueError(expected(f"at least {needed} {what} for a coverage of {coverage}", number, hint))
    chosen, fitting = next(iter(scores)), torch.ones(count, dtype=torch.bool)
    choosing = min(number // 2, number - needed) if len(scores) > 1 else 0
    if choosing:
        order = torch.randperm(number, generator=torch.Generator().manual_seed(0))
        fitting = order.argsort()[group] >= choosing

        def looseness(name: str) -> float:
            """The median width in units of the error; near 1 for a sharp predictor of one number."""
            one, size = scores[name][~fitting], widths[name][~fitting]
            loose = _quantile(one, group[~fitting], coverage) * _quantile(size, group[~fitting], 0.5)
            return loose if 0 < loose < math.inf else math.inf

        chosen = min(scores, key=looseness)
    factor = _quantile(scores[chosen][fitting], group[fitting], coverage, beyond=1)
    if not math.isfinite(factor):
        hint = "a trained model, and a solve that converges"
        wanted = "finite errors and predictors above zero in most samples"
        raise ValueError(expected(wanted, "too few", hint))
    return chosen, factor


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """One by the other in double precision; 0 where the first is, infinite where it is not defined."""
    return torch.where(one == 0, 0.0, one.double() / other.double()).nan_to_num(math.inf, math.inf)


def _quantile(scores: Tensor, group: Tensor, level: float, beyond: int = 0) -> float:
    """The smallest score below which the given share of the groups lies; each group has weight 1.

    Args:
        scores: ``(samples,)``.
        group: the group of each sample, ``(samples,)``.
        level: the share.
        beyond: number of additional groups with infinite scores.
    """
    _, place, sizes = group.unique(return_inverse=True, return_counts=True)
    ordered, order = scores.sort()
    weights = (1 / sizes[place].double())[order].cumsum(0)
    enough = weights >= level * (len(sizes) + beyond) - ROUNDING
    return ordered[int(enough.int().argmax())].item() if enough.any() else math.inf
