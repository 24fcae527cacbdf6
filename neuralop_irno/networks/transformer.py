"""A vision transformer whose block is iterated: Picard's iteration on the patches of a field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from neuralop_irno.networks.latent import IteratedTokens
from neuralop_irno.networks.tokens import (
    Nodes,
    PlaceEncoding,
    from_patches,
    lattice,
    patch_sides,
    per_axis,
    to_patches,
)
from neuralop_irno.registry import MODELS


class PicardViT(IteratedTokens):
    r"""Patches become tokens, tokens solve :math:`u = T(u) + f`, and become patches again.

    .. math:: u_0 = f = E x, \qquad u_{k+1} = a \, u_k + (1 - a) \, (T(u_k) + f), \qquad y = D u_K

    T is what a stack of transformer layers adds: one step without smoothing *is* the ordinary vision
    transformer of so many layers. More steps have no more parameters.

    Args:
        in_channels: channels of x.
        out_channels: channels of the answer.
        dim: axes of the grid: 2 for fields, 3 for volumes, or for space and time.
        patch: points of a patch along each axis, a number or one for each.
        width: channels of a token.
        heads: of attention.
        layers: in T, each with weights of its own.
        steps: K; with a tolerance, how many at most.
        smoothing: a, at least 0 and below 1.
        inject: whether every step is given f again; without, T keeps its skip connections.
        tol: in evaluation, a sample stops when its step is smaller than this part of its state.
        gradient: how gradients cross the steps in training.
        periodic: whether the grid closes on itself, in one word or for each axis.
        homogeneous: whether the problem is the same everywhere. Tokens are not told where they stand then:
            only distances count, and on a torus the network commutes with shifts by whole patches.

    Shapes:
        - x: ``(B, in_channels, *S)``, S multiples of the patch
        - returns: ``(B, out_channels, *S)``

    Example:
        >>> import torch
        >>> vit = PicardViT(2, 1, patch=4, width=16, heads=2, steps=3)
        >>> vit(torch.randn(3, 2, 8, 12)).shape
        torch.Size([3, 1, 8, 12])
        >>> solution = vit.solve(torch.randn(3, 2, 8, 12), rtol=1e-3, max_steps=100)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        patch: int | Sequence[int] = 4,
        width: int = 64,
        heads: int = 4,
        layers: int = 1,
        steps: int = 3,
        smoothing: float = 0.5,
        inject: bool = True,
        tol: float | None = None,
        gradient: Any = "unrolled",
        periodic: bool | Sequence[bool] = True,
        homogeneous: bool = False,
    ) -> None:
        super().__init__(width, heads, layers, steps, smoothing, inject, tol, gradient)
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.patch, self.periodic = patch_sides(patch, dim), per_axis("periodic", periodic, dim)
        points = math.prod(self.patch)
        self.embed = nn.Linear(in_channels * points, width)
        self.places = None if homogeneous else PlaceEncoding(dim, width)
        self.unembed = nn.Linear(width, out_channels * points)

    def encode(self, x: Tensor) -> tuple[Tensor, Nodes]:
        free = self.embed(to_patches(x, self.patch))
        nodes = lattice(x.shape[2:], self.patch, self.periodic, like=x)
        return free if self.places is None else free + self.places(nodes), nodes

    def decode(self, tokens: Tensor, x: Tensor) -> Tensor:
        return from_patches(self.unembed(tokens), self.patch, x.shape[2:])


MODELS.register("picard_vit", PicardViT)
