r"""Observations, partial and noisy, that correct a rollout between calls of the model.

    history -> model -> frame -> correction where something was observed -> history

`Nudging` moves only the observed points; `Interpolation` also corrects their
neighbours, with a fixed covariance, and `Ensemble` with the covariance of many rollouts. All are amendments;
several of them, for moving sensors say, are applied in order. Only predicted frames are corrected. Within a
bundle of frames a correction does not change later frames; it changes the next call of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.assimilation.spreading import Spreading
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.known import like_frames, mask_on
from neuralop_irno.rollouts.series import Frames, Series

Seen = Callable[[int], Tensor | None]
"""(number of a frame) -> its observed values, valid on the mask; None for frames without observations."""


@dataclass(frozen=True)
class Observations:
    """Measured values with their places and frames.

    Args:
        mask: the observed points; of shape ``S`` or ``(B, C, *S)`` on grids, ``(N,)`` or ``(N, C)`` on
            graphs, with 1 for an axis along which it does not change.
        values: a field for each observed frame, ``(B, T, C, *S)`` or ``(N, T, C)``, or a function of the
            number of the frame. Values off the mask are not read.
        frames: the numbers of the observed frames, from 0 at the first predicted one. Frames after the end
            of a rollout are ignored.

    Example:
        >>> half = torch.tensor([True, True, False, False])
        >>> seen = Observations(half, values=torch.full((1, 1, 1, 4), 2.0), frames=[1])
        >>> correct = Nudging(seen, gain=0.5).bind(torch.zeros(1, 1, 4), domain=None, steps=2)
        >>> correct(0, torch.zeros(1, 1, 4)), correct(1, torch.zeros(1, 1, 4))
        (tensor([[[0., 0., 0., 0.]]]), tensor([[[1., 1., 0., 0.]]]))
    """

    mask: Tensor
    values: Frames
    frames: Sequence[int]

    def __post_init__(self) -> None:
        whole = all(isinstance(frame, int) and frame >= 0 for frame in self.frames)
        if not whole or len(set(self.frames)) < len(self.frames):
            wanted = "frames as different whole numbers >= 0"
            raise ValueError(expected(wanted, list(self.frames), "range(4, 50, 5)"))

    def __repr__(self) -> str:
        return f"Observations(in {len(self.frames)} frames, mask {tuple(self.mask.shape)})"

    def bind(self, last: Tensor) -> tuple[Tensor, Seen]:
        """The mask on the axes of a frame, and the observed values of each frame.

        Args:
            last: the last given frame.
        """
        mask = mask_on(self.mask, last)
        series = Series("observed values", self.values, last, len(self.frames))
        places = {frame: place for place, frame in enumerate(self.frames)}
        held = isinstance(self.values, Tensor)

        def seen(frame: int) -> Tensor | None:
            if frame not in places:
                return None
            values = like_frames("observed values", series(places[frame] if held else frame), last)
            holes = int((mask & ~values.isfinite()).sum())
            if holes:
                wanted = f"finite observed values at frame {frame}"
                raise ValueError(expected(wanted, f"{holes} NaN or inf", "a mask without these points"))
            return values.expand_as(last)

        if held:  # check them before any call of the model
            for frame in self.frames:
                seen(frame)
        return mask, seen


@dataclass(frozen=True)
class Nudging:
    r"""Moves observed points towards the observed values; other points do not change.

    .. math:: u_i \leftarrow u_i + g \, (o_i - u_i)

    Args:
        observations: values, places and frames.
        gain: g, above 0; 1 replaces the prediction by the observation.

    Example:
        >>> import neuralop_irno as irno
        >>> mask = torch.tensor([True, False])
        >>> seen = Observations(mask, torch.ones(1, 1, 1, 2), frames=[0])
        >>> irno.rollout(lambda u: u, torch.zeros(1, 1, 2), steps=1, amend=Nudging(seen, gain=0.5)).frames
        tensor([[[[0.5000, 0.0000]]]])
    """

    observations: Observations
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.gain <= 1:
            raise ValueError(expected("0 < gain <= 1", self.gain, "gain=0.5"))

    def bind(self, last: Tensor, domain: Domain, steps: int) -> Callable[[int, Tensor], Tensor]:
        mask, seen = self.observations.bind(last)

        def correct(index: int, frame: Tensor) -> Tensor:
            values = seen(index)
            # lerp is exact at gain 1; u + g (o - u) would not be.
            return frame if values is None else torch.where(mask, frame.lerp(values, self.gain), frame)

        return correct


@dataclass(frozen=True)
class Interpolation:
    r"""Optimal interpolation: observations correct all points, near ones most.

    .. math:: u \leftarrow u + C_{\cdot o} \, (C_{oo} + r^2 I)^{-1} (o - u_o)
              \qquad C_{ij} = e^{-d_{ij}^2 / 2 \ell^2}

    the best linear estimate if the forecast's errors have the same statistics everywhere, are correlated over
    a distance l, and those of the observations are independent: Kalman's update with that covariance. Every
    field is corrected only by observations of this field.

    Args:
        observations: values, places and frames.
        reach: l, in the units of ``sides`` on grids and of the coordinates on graphs.
        noise: r, the standard deviation of an observation's error over that of the forecast's.
        sides: lengths of the axes, one for all or one for each; on graphs only those of periodic axes count.
        periodic: which axes are periodic, one for all or one for each. Distances along them are chords of a
            circle of that length.

    Example:
        >>> middle = torch.tensor([False, False, True, False, False])
        >>> seen = Observations(middle, torch.ones(1, 1, 1, 5), frames=[0])
        >>> interpolation = Interpolation(seen, reach=0.25, noise=0.1)
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> correct = interpolation.bind(torch.zeros(1, 1, 5), GridDomain(1, [5]), steps=1)
        >>> correct(0, torch.zeros(1, 1, 5)).round(decimals=3)
        tensor([[[0.1340, 0.6010, 0.9900, 0.6010, 0.1340]]])
    """

    observations: Observations
    reach: float
    noise: float
    sides: float | Sequence[float] = 1.0
    periodic: bool | Sequence[bool] = False

    def __post_init__(self) -> None:
        if not self.reach > 0:
            raise ValueError(expected("reach > 0", self.reach, "reach=0.1"))
        # Below, a covariance of smooth fields is singular to rounding.
        if not self.noise >= 1e-6:
            raise ValueError(expected("noise >= 1e-6", self.noise, "noise=0.1, or Nudging"))

    def bind(self, last: Tensor, domain: Domain, steps: int) -> Callable[[int, Tensor], Tensor]:
        mask, seen = self.observations.bind(last)
        spreading = Spreading(mask.expand_as(last), domain, self.reach, self.noise, self.sides, self.periodic)

        def correct(index: int, frame: Tensor) -> Tensor:
            values = seen(index)
            return frame if values is None else frame + spreading(torch.where(mask, values - frame, 0))

        return correct
