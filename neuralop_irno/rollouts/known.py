"""Known values, at walls and inlets say, written over the model's prediction.

`Amendment` is the contract for changes of frames between two calls of the model: known
values here, observations in `neuralop_irno.assimilation`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.series import Frames, Series, on_mesh

Change = Callable[[int, Tensor], Tensor]
"""An amendment, bound to a rollout: (number of the frame, frame) -> frame."""


def amended(frame: Tensor, index: int, changes: Sequence[Change]) -> Tensor:
    """A frame after all changes, in order."""
    for change in changes:
        frame = change(index, frame)
    return frame


class Amendment(Protocol):
    """A change of predicted frames before they are stored and passed to the next call.

    Example:
        >>> class Clamp:  # keeps a concentration from 0 to 1
        ...     def bind(self, last, domain, steps):
        ...         return lambda index, frame: frame.clamp(0, 1)
        >>> import neuralop_irno as irno
        >>> irno.rollout(lambda u: u + 0.4, torch.zeros(1, 1, 2), steps=4, amend=Clamp()).frames[0, :, 0, 0]
        tensor([0.4000, 0.8000, 1.0000, 1.0000])
    """

    def bind(self, last: Tensor, domain: Domain, steps: int) -> Change:
        """The change in one rollout; arguments that do not fit are refused here, before any call.

        Args:
            last: the last given frame, ``(B, C, *S)`` or ``(N, C)``.
            domain: of the frame.
            steps: the number of frames that will be predicted.

        Returns:
            (number of the frame from 0, frame) -> the changed frame, for all samples; in a sample
            that has left the rollout the frame is not finite, and stays so.
        """


@dataclass(frozen=True)
class Known:
    """Known values at some points, in every frame.

    Args:
        mask: where; of shape ``S`` or ``(B, C, *S)`` on grids, ``(N,)`` or ``(N, C)`` on graphs, with 1
            for an axis along which it does not change.
        values: one frame for all times, one per predicted frame ``(B, T, C, *S)``, or a
            function of its number; by default the values of the last given frame.

    Example:
        >>> wall = torch.tensor([True, False, False, True])
        >>> fixed = Known(wall).bind(torch.zeros(1, 1, 4), domain=None, steps=1)
        >>> fixed(0, torch.ones(1, 1, 4))
        tensor([[[0., 1., 1., 0.]]])
    """

    mask: Tensor
    values: Frames | None = None

    def bind(self, last: Tensor, domain: Domain, steps: int) -> Change:
        mask = mask_on(self.mask, last)
        if self.values is None:
            values = last
        elif isinstance(self.values, Tensor) and self.values.dim() == last.dim():
            values = like_frames("known values", on_mesh("known values", self.values, last), last)
        else:
            series = Series("known values", self.values, last, steps)
            return lambda index, frame: torch.where(
                mask, like_frames("known values", series(index), last), frame
            )
        return lambda index, frame: torch.where(mask, values, frame)


def mask_on(mask: Tensor, last: Tensor) -> Tensor:
    """A mask with the axes of a frame, each of the frame's length or of length 1."""
    if mask.dtype != torch.bool:
        raise TypeError(expected("a mask of True and False", mask.dtype, "mask.bool()"))
    given = tuple(mask.shape)
    if last.dim() == 2 and mask.dim() == 1:
        mask = mask[:, None]
    missing = last.dim() - mask.dim()
    mask = mask.reshape((1,) * missing + mask.shape) if missing > 0 else mask
    fits = mask.dim() == last.dim() and all(
        mine in (1, theirs) for mine, theirs in zip(mask.shape, last.shape, strict=True)
    )
    if not fits:
        wanted = f"a mask on the mesh of the frames {tuple(last.shape)}"
        raise ValueError(expected(wanted, given, "the mask of this mesh"))
    return mask


def like_frames(name: str, values: Tensor, last: Tensor) -> Tensor:
    """Values with the channels of a frame, or one for all of them."""
    if values.shape[1] not in (1, last.shape[1]):
        wanted = f"{name} of {last.shape[1]} channels"
        raise ValueError(expected(wanted, values.shape[1], "one for each channel"))
    return values
