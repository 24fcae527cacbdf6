r"""Ensemble Kalman filter: many rollouts of each flow, whose differences give the error covariance.

    M members -> model -> M frames -> Kalman's update with their covariance -> M members

The covariance of `Interpolation` is fixed; that of an ensemble follows
the flow. The cost is M rollouts. The members of a flow are consecutive samples of one batch: on grids
``start.repeat_interleave(M, 0)``, and in PyTorch Geometric ``Batch.from_data_list([graph] * M)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.assimilation.members import check_members, one_each, rows_of
from neuralop_irno.assimilation.observations import Observations
from neuralop_irno.assimilation.spreading import MOST, as_field, as_rows, points_of
from neuralop_irno.assimilation.square_root import analysis, relaxed, taper
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected


@dataclass(frozen=True)
class Ensemble:
    """Observations correct every member of an ensemble: a square-root Kalman filter.

    Mean and deviations are updated by Kalman's formula with the members' covariance, of all fields
    together: an observed field also corrects fields that are not observed. No noise is drawn.

    Members with equal starts stay equal and are not corrected: start them from different states, or
    put a `ModelError` before the ensemble, or both. Members that blow up are left out of later updates.

    Args:
        observations: laid out for the flows, as if each had one member.
        members: M, of each flow.
        noise: the standard deviation of an observation's error, in the units of the field.
        radius: the distance beyond which an observation has no effect; covariances of few members are
            unreliable over large distances. In the units of ``sides`` on grids and of the
            coordinates on graphs.
        relaxation: the share of the spread before an update that is restored after it, 0 to 1.
        sides: lengths of the axes, one for all or one for each; on graphs only those of periodic axes count.
        periodic: which axes are periodic; see `Interpolation`.

    Example:
        >>> from neuralop_irno.assimilation.members import moments
        >>> from neuralop_irno.rollouts.rollout import rollout
        >>> left = torch.tensor([True, False])
        >>> seen = Observations(left, torch.full((1, 1, 1, 2), 3.0), frames=[0])
        >>> amend = Ensemble(seen, members=2, noise=0.01, relaxation=0.0)
        >>> start = torch.tensor([[[0.0, 0.0]], [[2.0, 1.0]]])  # the right value is half the left
        >>> run = rollout(lambda u: u, start, steps=1, amend=amend)
        >>> mean, spread = moments(run.frames, members=2)
        >>> mean.flatten().round(decimals=2), spread.flatten().round(decimals=2)
        (tensor([3.0000, 1.5000]), tensor([0.0100, 0.0000]))
    """

    observations: Observations
    members: int
    noise: float
    radius: float = math.inf
    relaxation: float = 0.3
    sides: float | Sequence[float] = 1.0
    periodic: bool | Sequence[bool] = False

    def __post_init__(self) -> None:
        check_members(self.members)
        for name in ("noise", "radius"):
            if not getattr(self, name) > 0:
                raise ValueError(expected(f"{name} > 0", getattr(self, name), f"{name}=0.1"))
        if not 0 <= self.relaxation <= 1:
            raise ValueError(expected("0 <= relaxation <= 1", self.relaxation, "relaxation=0.3"))

    def bind(self, last: Tensor, domain: Domain, steps: int) -> Callable[[int, Tensor], Tensor]:
        flows = rows_of(domain, self.members, last)
        like = one_each(last, flows)
        mask, seen = self.observations.bind(like)
        sizes = [rows.shape[1] for rows in flows]
        updates = self._updates(as_rows(mask.expand_as(like)).split(sizes), flows, last, domain)

        def correct(index: int, frame: Tensor) -> Tensor:
            values = seen(index)
            if values is None:
                return frame
            every = as_rows(frame)
            for rows, update, measured in zip(flows, updates, as_rows(values).split(sizes), strict=True):
                every = every.index_copy(0, rows.flatten(), update(every[rows], measured).flatten(0, 1))
            return as_field(every, frame)

        return correct

    def _updates(
        self, observed: Sequence[Tensor], flows: list[Tensor], last: Tensor, domain: Domain
    ) -> list[Analysis]:
        """One `Analysis` for each flow; grids of a batch with equal sensors share one."""
        points = None if math.isinf(self.radius) else points_of(last, domain, self.sides, self.periodic)
        known: dict[tuple[int, bytes], Analysis] = {}
        updates = []
        for flow, (mine, rows) in enumerate(zip(observed, flows, strict=True)):
            key = (flow if last.dim() == 2 else 0, mine.cpu().numpy().tobytes())
            if key not in known:
                here = None if points is None else points[rows[0] % len(points)]
                known[key] = Analysis(mine, here, self.noise, self.radius, self.relaxation)
            updates.append(known[key])
        return updates


class Analysis:
    """The update of one flow's members.

    Args:
        observed: which values are observed, ``(n, C)``.
        points: ``(n, d)``; None without a radius.
        noise, radius, relaxation: see `Ensemble`.

    Shapes:
        - members: ``(M, n, C)``; values: ``(n, C)``
    """

    def __init__(
        self, observed: Tensor, points: Tensor | None, noise: float, radius: float, relaxation: float
    ) -> None:
        self._places = observed.flatten().nonzero()[:, 0]
        if len(self._places) > MOST:
            wanted = f"at most {MOST} observed values a sample"
            raise ValueError(expected(wanted, len(self._places), "fewer sensors, or Nudging"))
        self._noise, self._relaxation = noise, relaxation
        fields = observed.shape[1]
        self._taper = torch.ones((), device=observed.device)
        if points is not None:
            distance = torch.cdist(points, points[self._places // fields])
            self._taper = taper(distance, radius, points.shape[1]).repeat_interleave(fields, 0)

    def __call__(self, members: Tensor, values: Tensor) -> Tensor:
        """The members after an observation; members that have blown up are not changed."""
        if members.requires_grad:  # eigenvectors of repeated eigenvalues have no gradient
            wanted = "no gradients through an Ensemble"
            raise ValueError(expected(wanted, "grad=True", "Interpolation, or grad=False"))
        alive = members.flatten(1).isfinite().all(1)
        if not len(self._places) or int(alive.sum()) < 2:
            return members
        # Covariances of smooth fields are singular to rounding: double precision.
        before = members[alive].flatten(1).double()
        measured = values.flatten()[self._places].double()
        after = analysis(before, self._places, measured, self._noise, self._taper)
        after = relaxed(before, after, self._relaxation)
        return members.index_put((alive,), after.to(members.dtype).unflatten(1, members.shape[1:]))
