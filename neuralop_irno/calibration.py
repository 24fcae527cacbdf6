"""From what a solve knows to how far its answer is from the truth, with a stated coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected

PREDICTORS = ("moved", "residual", "bound")
"""What a solve knows of each sample: how far it went from the base's answer, the residual that it met last,
and the bound on the distance to the fixed point."""


ROUNDING = 1e-9
"""0.9 / (1 - 0.9) is a little more than 9."""


@dataclass(frozen=True)
class Calibration:
    """Split conformal prediction with one factor:

        error_estimate = factor * predictor

    The factor is a quantile of error / predictor over held-out samples, so that for a new sample like
    those the true error lies below the estimate with at least the stated chance.

    Attributes:
        predictor: ``moved``, ``residual`` or ``bound``.
        factor: see above.
        coverage: the stated chance.
        samples: how many were held out.

    Example:
        >>> import torch
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
    def fit(cls, predictors: Mapping[str, Tensor], errors: Tensor, coverage: float = 0.9) -> Self:
        """The calibration by the predictor whose estimates are closest to the errors.

        Args:
            predictors: by name, each ``(samples,)``.
            errors: true ones, ``(samples,)``; one that is not finite counts as larger than all others.
            coverage: the share of samples that the estimate should cover.
        """
        if not 0 < coverage < 1:
            raise ValueError(expected("a coverage between 0 and 1", coverage, "coverage=0.9"))
        count = len(errors)
        rank = math.ceil((count + 1) * coverage - ROUNDING)
        if rank > count:
            needed = math.ceil(coverage / (1 - coverage) - ROUNDING)
            raise ValueError(
                expected(f"at least {needed} samples for a coverage of {coverage}", count, "more samples")
            )
        found: list[tuple[float, Self]] = []
        for name, values in predictors.items():
            scores = (errors.double() / values.double().clamp(min=1e-300)).nan_to_num(nan=math.inf)
            factor = scores.sort().values[rank - 1].item()
            # A sharp predictor needs no more room at the quantile than in the middle.
            looseness = factor / max(scores.median().item(), 1e-300)
            if math.isfinite(factor):
                found.append((looseness, cls(name, factor, coverage, count)))
        if not found:
            raise ValueError(expected("finite errors in most samples", "too few", "a model that converges"))
        return min(found, key=lambda entry: entry[0])[1]

    def estimate(self, predictors: Mapping[str, Tensor]) -> Tensor:
        """The distance to the truth that is not exceeded with the stated chance, ``(samples,)``."""
        return self.factor * predictors[self.predictor]

    def to_plain(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return asdict(self)
