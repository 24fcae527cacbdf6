"""What a correction is given of a call besides x and h: scalars per sample, further fields, and a mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain

HALF = 0.5
"""A mask given in numbers is inside from here on, so that an interpolated one keeps its area."""


@dataclass(frozen=True, eq=False)
class Condition:
    """The conditions of one call, on the domain of h.

    Attributes:
        scalars: numbers per sample, ``(samples, n)``; None if there are none.
        fields: further input fields, ``(B, C, *S)`` or ``(N, C)``; None if there are none.
        mask: True where h is refined, ``(B, 1, *S)`` or ``(N, 1)``; None if that is everywhere.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> x, inside = torch.ones(1, 1, 2), torch.tensor([[[True, False]]])
        >>> Condition(torch.tensor([[7.0]]), mask=inside).joined(x, GridDomain.of(x), constants=True)
        tensor([[[1., 0.],
                 [7., 7.],
                 [1., 0.]]])
    """

    scalars: Tensor | None = None
    fields: Tensor | None = None
    mask: Tensor | None = None

    def joined(self, x: Tensor, domain: Domain, constants: bool) -> Tensor:
        """x and the conditions on channels; x and fields are 0 outside of the mask.

        Args:
            x: the input.
            domain: of x.
            constants: whether each scalar is a channel too, with one value for all points of a sample.
        """
        real = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        parts: list[Tensor] = []
        if self.fields is not None:
            parts.append(where_inside(self.mask, self.fields.to(real)))
        if constants and self.scalars is not None:
            one = real[:, :1]
            parts += [domain.spread(each, one).to(one).expand_as(one) for each in self.scalars.unbind(1)]
        if self.mask is not None:
            parts.append(self.mask.to(real))
        return torch.cat([where_inside(self.mask, real), *parts], 1) if parts else x

    def to(self, dtype: torch.dtype) -> Condition:
        """The conditions in another precision."""
        scalars, fields = (None if part is None else part.to(dtype) for part in (self.scalars, self.fields))
        return Condition(scalars, fields, self.mask)

    def carried(self, move: Callable[[Tensor], Tensor], copies: int = 1) -> Condition:
        """The conditions on another grid or mesh of the same boxes.

        Args:
            move: carries a field there.
            copies: samples there for each one here; see `neuralop_irno.domain.resampling.Cosets`.
        """
        return Condition(
            None if self.scalars is None else self.scalars.repeat(copies, 1),
            None if self.fields is None else move(where_inside(self.mask, self.fields)),
            None if self.mask is None else move(self.mask.to(torch.get_default_dtype())) >= HALF,
        )


def mask_in(field: Tensor, known: Mapping[str, Any], name: str = "mask") -> Tensor | None:
    """The mask in a sample, ``(B, 1, *S)`` or ``(N, 1)``; None if it has no entry of that name laid out so.

    Args:
        field: ``(B, C, *S)`` or ``(N, C)``.
        known: the other entries of the sample.
        name: of the mask.

    Example:
        >>> mask_in(torch.zeros(2, 3, 2), {"mask": torch.tensor([1.0, 0.0])})[:, 0].tolist()
        [[True, False], [True, False]]
    """
    given, shape = known.get(name), field.shape[2:]
    if not isinstance(given, Tensor) or not given.dim() or given.dim() < len(shape):
        return None
    if given.dim() > len(shape) + 1 and given.shape[-1] == 1 and given.shape[-len(shape) :] != shape:
        given = given[..., 0]  # channels last
    size = math.prod(shape)
    of_each = given.numel() == len(field) * size and (len(given) == len(field) or not shape)
    shared = bool(shape) and given.numel() == size
    if not (of_each or shared) or given.shape[given.dim() - len(shape) :] != shape:
        return None
    return (given >= HALF).reshape(-1, 1, *shape).expand(len(field), 1, *shape)


def inside_of(mask: Tensor) -> Callable[[Tensor], Tensor]:
    """`where_inside` for fields on the domain of a mask; others, which the caller refuses, are unchanged."""

    def inside(field: Tensor) -> Tensor:
        fits = len(field) == len(mask) and field.shape[2:] == mask.shape[2:]
        return where_inside(mask, field) if fits else field

    return inside


def where_inside(mask: Tensor | None, field: Tensor) -> Tensor:
    """The field, with 0 outside of a mask; not a product, in which NaN outside would stay.

    Example:
        >>> where_inside(torch.tensor([[True], [False]]), torch.tensor([[2.0], [torch.nan]])).flatten()
        tensor([2., 0.])
    """
    return field if mask is None else torch.where(mask, field, 0)
