r"""Scalars per sample in a network: they scale and shift its layers.

.. math:: v \leftarrow v \, (1 + s(c)) + b(c)

with s and b from a small perceptron of the scalars c that starts at zero. After https://arxiv.org/abs/1709.07871
and https://arxiv.org/abs/2212.09748.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.correction.correction import zeroed
from neuralop_irno.errors import expected

HIDDEN = 32
"""Width of the hidden layer."""


class FiLM(nn.Module):
    """The scales and shifts of several layers, from the scalars of each sample.

    Args:
        scalars: numbers per sample; in units in which they are about one.
        widths: channels of each layer.

    Shapes:
        - scalars: ``(B, scalars)``; returns for each layer scales and shifts, ``(B, 2 width)``

    Example:
        >>> import torch
        >>> film = FiLM(2, widths=[3, 5])
        >>> [tuple(each.shape) for each in film(torch.randn(4, 2))]
        [(4, 6), (4, 10)]
        >>> v = torch.randn(4, 3, 8)
        >>> torch.equal(modulated(v, film(torch.randn(4, 2))[0]), v)
        True
    """

    def __init__(self, scalars: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = [2 * width for width in widths]
        self.first = nn.Linear(scalars, HIDDEN)
        self.last = zeroed(nn.Linear(HIDDEN, sum(self.widths)))

    def forward(self, scalars: Tensor) -> tuple[Tensor, ...]:
        values = self.last(F.gelu(self.first(scalars.to(self.first.weight.dtype))))
        return values.split(self.widths, 1)


class Filmed(NamedTuple):
    """What a correction prepares of x, with the scales and shifts of its layers."""

    x: Tensor
    film: tuple[Tensor, ...]


def film_of(scalars: int, widths: Sequence[int]) -> FiLM | None:
    """`FiLM`; None without scalars."""
    if scalars < 0:
        raise ValueError(expected("scalars >= 0", scalars, "scalars=0"))
    return FiLM(scalars, widths) if scalars else None


def refuse_missing(film: FiLM | None, values: Sequence[Tensor] | Tensor | None) -> None:
    """Raise ValueError if a correction that takes scalars is called without them."""
    if film is not None and (values is None or not len(values)):
        hint = "phi.bind(x, domain, condition=Condition(scalars)), or a correction without scalars"
        raise ValueError(expected("scalars per sample for this correction", "none", hint))


def modulated(field: Tensor, values: Tensor | None) -> Tensor:
    """A field on a grid, or rows ``(N, C)``, scaled and shifted; unchanged without values.

    Shapes:
        - field: ``(B, C, *S)``; values: ``(B, 2 C)``
    """
    if values is None:
        return field
    scale, shift = values.reshape(*values.shape, *[1] * (field.dim() - 2)).chunk(2, 1)
    return field * (1 + scale) + shift
