"""Conformal bands: half-widths of the error at each point, with a stated share of the region and coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno.conformal import conformal_factor
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.quantiles import quantile

PREDICTORS = ("local", "channel")
"""Predictors of the error at a point, from the change m of the answer from the base's: half of |m| there plus
half of its norm in the channel, or that norm alone."""


def predictors_of(moved: Tensor, domain: Domain) -> dict[str, Tensor]:
    """The predictors of the error at each point, each laid out like the field.

    The norm keeps a band from closing where an answer happens to equal the base's. Both are scaled with their
    channel, and neither depends on the mesh, as far as its measure gives the norm.

    Args:
        moved: the change of the answer, ``(B, C, *S)`` or ``(N, C)``.
        domain: its domain.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> moved = torch.tensor([[[0.0, 2.0, 0.0, 0.0]]])
        >>> found = predictors_of(moved, GridDomain.of(moved))
        >>> found["local"].flatten().tolist(), found["channel"].flatten().tolist()
        ([0.5, 1.5, 0.5, 0.5], [1.0, 1.0, 1.0, 1.0])
    """
    norms = [domain.spread(domain.norm(part), part).expand_as(part) for part in moved.split(1, 1)]
    channel = torch.cat(norms, 1)
    return {"local": (moved.abs() + channel) / 2, "channel": channel}


@dataclass(frozen=True)
class BandEvidence:
    """What solves with known truths say of bands.

    Attributes:
        share: of the measure, over all channels.
        scores: by predictor, for each sample the smallest factor of it that is at least the error on this
            share, ``(samples,)``.
        widths: by predictor, its mean in units of the error's norm, ``(samples,)``.
    """

    share: float
    scores: dict[str, Tensor]
    widths: dict[str, Tensor]

    @classmethod
    def of(cls, errors: Tensor, moved: Tensor, domain: Domain, share: float) -> Self:
        """From a batch of solves.

        Args:
            errors: truth less answer; what is not finite counts as larger than all other errors.
            moved: the change of the answer from the base's, laid out alike.
            domain: of both.
            share: see above.
        """
        check_share(share)
        size, scores, widths = domain.norm(errors), {}, {}
        for name, known in predictors_of(moved, domain).items():
            ratio = torch.where(errors == 0, 0, errors.abs() / known).nan_to_num(math.inf, math.inf)
            scores[name] = domain.quantile(ratio, share).cpu()
            widths[name] = (domain.mean(known) / size).nan_to_num(math.inf, math.inf).cpu()
        return cls(share, scores, widths)

    @classmethod
    def joined(cls, parts: Sequence[BandEvidence]) -> Self:
        """That of several batches."""
        scores, widths = (
            {name: torch.cat([each[name] for each in sides]) for name in PREDICTORS}
            for sides in ([part.scores for part in parts], [part.widths for part in parts])
        )
        return cls(parts[0].share, scores, widths)

    def take(self, keep: Any) -> BandEvidence:
        """Some of the samples."""
        scores, widths = (
            {name: values[keep] for name, values in side.items()} for side in (self.scores, self.widths)
        )
        return BandEvidence(self.share, scores, widths)


@dataclass(frozen=True)
class Bands:
    r"""Half-widths of the error at each point and channel, by split conformal prediction with one factor.

    .. math:: w_i = \text{factor} \cdot s_i

    where s is one of `PREDICTORS`. The statement is: with probability ``coverage`` or more, for a new
    trajectory, the error is at most w on a share of at least ``share`` of the region, counted by its measure
    over all channels. It is about the region as a whole; it does not hold at each point alone.

    The factor is a conformal quantile, over held-out trajectories, of the ``share``-quantile of |error| / s
    in the region. Measures weight both that quantile and the norm in s, so that the statement is carried over
    to other meshes and resolutions, as far as errors do not depend on them. Papers:
    https://arxiv.org/abs/2107.07511, and https://arxiv.org/abs/2402.01960 for a share of the domain.

    Attributes:
        predictor: ``local`` or ``channel``.
        factor: see above.
        share: of the measure of the region, above 0 and below 1. (The largest error over all points depends
            on their number.)
        coverage: the stated probability.
        samples: number of held-out samples.

    Example:
        >>> scores = {"local": torch.arange(1.0, 10.0), "channel": torch.arange(2.0, 11.0)}
        >>> evidence = BandEvidence(0.8, scores, {name: torch.ones(9) for name in scores})
        >>> bands = Bands.fit(evidence, coverage=0.9)
        >>> print(bands)
        with probability 90% or more the error is below the band on 80% of the region or more
    """

    predictor: str
    factor: float
    share: float
    coverage: float
    samples: int

    def __post_init__(self) -> None:
        check_choice("a predictor", self.predictor, PREDICTORS)
        check_share(self.share)
        if not 0 <= self.factor < math.inf:
            raise ValueError(expected("a finite factor >= 0", self.factor, "calibrating again"))

    def __str__(self) -> str:
        stated = f"with probability {self.coverage:.0%} or more"
        return f"{stated} the error is below the band on {self.share:.0%} of the region or more"

    @classmethod
    def fit(cls, evidence: BandEvidence, coverage: float = 0.9, groups: Tensor | None = None) -> Self:
        """Fit the factor of the predictor with the narrowest bands; see `conformal_factor`.

        Args:
            evidence: of held-out samples.
            coverage: see above.
            groups: the trajectory of each sample, ``(samples,)``; by default each sample is its own.
        """
        chosen, factor = conformal_factor(evidence.scores, evidence.widths, coverage, groups)
        return cls(chosen, factor, evidence.share, coverage, len(evidence.scores[chosen]))

    def observed(self, evidence: BandEvidence) -> tuple[float, float]:
        """The share of the samples for which the statement holds; and their median mean width.

        The width is in units of the norm of the sample's error.
        """
        if evidence.share != self.share:
            raise ValueError(expected(f"evidence for the share {self.share}", evidence.share, "gathering it"))
        held = evidence.scores[self.predictor] <= self.factor
        middle = quantile(evidence.widths[self.predictor], 0.5).item()
        return held.double().mean().item(), self.factor * middle

    def width(self, moved: Tensor, domain: Domain) -> Tensor:
        """The half-width at each point and channel, laid out like the change ``moved`` of the answer.

        It is infinite in a channel that has not changed, or not to finite values: the change then says
        nothing of the error. Such samples count as not covered.
        """
        known = predictors_of(moved, domain)[self.predictor]
        return torch.where((known > 0) & known.isfinite(), self.factor * known, math.inf)

    def to_plain(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return asdict(self)


def check_share(share: float) -> None:
    """Raise ValueError for a share that is not between 0 and 1."""
    if not 0 < share < 1:
        raise ValueError(expected("a share of the region between 0 and 1", share, "share=0.9"))
