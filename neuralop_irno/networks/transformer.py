"""A vision transformer whose block is iterated: Picard iteration on the patches of a field."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from neuralop_irno.networks.latent import IteratedTokens
from neuralop_irno.networks.tokens import (
    Nodes,
    PositionEncoding,
    from_patches,
    patch_nodes,
    patch_sides,
    per_axis,
    to_patches,
)
from neuralop_irno.registry import MODELS
from neuralop_irno.solver.gradient import GradientLike


class PicardViT(IteratedTokens):
    r"""Picard vision transformer (https://arxiv.org/abs/2310.01618): tokens solve :math:`u = T(u) + f`.

    .. math:: u_0 = f = E x, \qquad u_{k+1} = a \, u_k + (1 - a) \, (T(u_k) + f), \qquad y = D u_K

    T(u) is what a stack of transformer layers adds to u: one step without smoothing is the ordinary vision
    transformer (https://arxiv.org/abs/2010.11929). More steps add no parameters.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        dim: axes of the grid: 2 for planes, 3 for volumes or for space and time.
        patch: points of a patch along each axis, a number or one for each axis.
        width: channels of a token.
        heads: number of attention heads.
        layers: number of layers of T, each with its own weights.
        steps: K; with a tolerance, the maximum number of steps.
        smoothing: a, at least 0 and below 1.
        inject: whether f is added in every step; if not, T keeps its skip connections.
        tol: relative tolerance in evaluation: a sample stops when its step is below ``tol |u|``.
        gradient: gradient rule of the iteration in training.
        periodic: whether the grid is periodic, a bool or one for each axis.
        homogeneous: whether the problem is the same everywhere. Then tokens carry no position encoding:
            only distances matter, and on a torus the network commutes with shifts by whole patches.

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
        gradient: GradientLike = "unrolled",
        periodic: bool | Sequence[bool] = True,
        homogeneous: bool = False,
    ) -> None:
        super().__init__(width, heads, layers, steps, smoothing, inject, tol, gradient)
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.patch, self.periodic = patch_sides(patch, dim), per_axis("periodic", periodic, dim)
        points = math.prod(self.patch)
        self.embed = nn.Linear(in_channels * points, width)
        self.places = None if homogeneous else PositionEncoding(dim, width)
        self.unembed = nn.Linear(width, out_channels * points)

    def encode(self, x: Tensor) -> tuple[Tensor, Nodes]:
        free = self.embed(to_patches(x, self.patch))
        nodes = patch_nodes(x.shape[2:], self.patch, self.periodic, like=x)
        return free if self.places is None else free + self.places(nodes), nodes

    def decode(self, tokens: Tensor, x: Tensor) -> Tensor:
        return from_patches(self.unembed(tokens), self.patch, x.shape[2:])


MODELS.register("picard_vit", PicardViT)
