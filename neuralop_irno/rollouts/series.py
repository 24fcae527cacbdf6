"""A field for every frame of a rollout: a tensor of all, or a function that is called for each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuralop_irno.errors import expected

Frames = Tensor | Callable[[int], Tensor]
"""``(B, T, C, *S)`` or ``(N, T, C)``; or a function from the number of a frame, counted from 0 at the first
predicted one, to ``(B, C, *S)`` or ``(N, C)``."""


class Series:
    """Fields that depend on time, checked against the frames of the rollout.

    Args:
        name: of the argument, for errors.
        source: see `Frames`.
        like: a frame.
        length: the number of frames that will be used.

    Example:
        >>> wind = Series("forcing", torch.arange(3.0).reshape(1, 3, 1, 1), torch.zeros(2, 1, 4), 3)
        >>> wind(2)[:, 0].tolist()
        [[2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0]]
    """

    def __init__(self, name: str, source: Frames, like: Tensor, length: int) -> None:
        self._name, self._source, self._like = name, source, like
        if not isinstance(source, Tensor):
            if not callable(source):
                wanted = f"{name} as a tensor or a function of the frame"
                raise TypeError(expected(wanted, type(source).__name__, "a tensor"))
            return
        if source.dim() != like.dim() + 1:
            wanted = "(N, T, C)" if like.dim() == 2 else "(B, T, C, ...)"
            raise ValueError(expected(f"{name} of shape {wanted}", tuple(source.shape), "a time axis"))
        if source.shape[1] < length:
            hint = f"steps={source.shape[1]}, or more of it"
            raise ValueError(expected(f"{name} for {length} frames", source.shape[1], hint))
        on_mesh(name, source[:, 0], like)

    def __call__(self, index: int) -> Tensor:
        """The field of a frame, on all of its points."""
        if isinstance(self._source, Tensor):
            return on_mesh(self._name, self._source[:, index], self._like)
        return on_mesh(f"{self._name} at frame {index}", self._source(index), self._like)


def on_mesh(name: str, field: Tensor, like: Tensor) -> Tensor:
    """A field with any number of channels, spread over the samples and points of a frame.

    Args:
        name: of the argument, for errors.
        field: axes of length 1 are repeated.
        like: the frame.
    """
    if field.dim() == like.dim():
        wanted = (like.shape[0], field.shape[1], *like.shape[2:])
        if all(mine in (1, theirs) for mine, theirs in zip(field.shape, wanted, strict=True)):
            return field.to(like.dtype).expand(wanted)
    channels = (like.shape[0], "C", *like.shape[2:])
    shape = ", ".join(str(n) for n in channels)
    raise ValueError(expected(f"{name} of shape ({shape})", tuple(field.shape), f"{name} on the same mesh"))


def stacked(series: Series, first: int, count: int) -> Tensor:
    """The fields of ``count`` successive frames, ``(B, count, C, *S)``."""
    return torch.stack([series(index) for index in range(first, first + count)], 1)
