"""Transformers that encode a field as tokens, iterate the tokens and decode them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected
from neuralop_irno.networks.attention import IntegralOperator
from neuralop_irno.networks.bounds import PicardSolution
from neuralop_irno.networks.network import PicardNetwork
from neuralop_irno.networks.tokens import (
    Nodes,
    PositionEncoding,
    from_patches,
    patch_nodes,
    patch_sides,
    per_axis,
    to_patches,
    with_shifts,
)
from neuralop_irno.registry import MODELS
from neuralop_irno.solver.gradient import GradientLike


class IteratedTokens(nn.Module, ABC):
    r"""A transformer whose tokens solve :math:`u = T(u) + f`, with f from the field x.

    .. math:: u_0 = f, \qquad u_{k+1} = a \, u_k + (1 - a) \, (T(u_k) + f)

    Args:
        network: the iteration of the tokens.
    """

    def __init__(self, network: PicardNetwork) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Nodes]:
        """f, ``(B, N, width)``, and the positions of its tokens."""

    @abstractmethod
    def decode(self, tokens: Tensor, x: Tensor) -> Tensor:
        """The field decoded from tokens, on the grid of x."""

    def forward(self, x: Tensor) -> Tensor:
        """The field decoded from the last iterate."""
        free, nodes = self.encode(x)
        return self.decode(self.network(free, nodes=nodes), x)

    @torch.no_grad()
    def solve(self, x: Tensor, **options: Any) -> PicardSolution:
        """Solve to a tolerance; the solution reports the outcome of each sample.

        ``value`` and ``best`` are fields; steps, residuals and bounds are those of the tokens.

        Args:
            x: the field.
            options: options of `PicardNetwork.solve`.
        """
        free, nodes = self.encode(x)
        solution = self.network.solve(free, nodes=nodes, **options)
        value, best = self.decode(solution.value, x), self.decode(solution.best, x)
        return replace(solution, value=value, best=best)


class PicardViT(IteratedTokens):
    r"""Picard vision transformer (https://arxiv.org/abs/2310.01618): tokens solve :math:`u = T(u) + f`.

    .. math:: u_0 = f = E x, \qquad u_{k+1} = a \, u_k + (1 - a) \, (T(u_k) + f), \qquad y = D u_K

    T(u) is what a stack of transformer layers adds to u: one step without smoothing is the ordinary vision
    transformer (https://arxiv.org/abs/2010.11929). More steps add no parameters.

    The paper has four of them: ViT, the default; ViTsmall, with ``shifted`` and ``local``, which is
    https://arxiv.org/abs/2112.13492; ViTparallel, with two ``branches``, https://arxiv.org/abs/2203.09795;
    and ViT3D, with ``frames``, whose tokens are patches of space and time.

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
        tol: relative tolerance in evaluation: a sample stops when its step is below ``atol + tol |u|``.
        atol: absolute tolerance in evaluation.
        gradient: gradient rule of the iteration in training.
        periodic: whether the grid is periodic, a bool or one for each axis.
        homogeneous: whether the problem is the same everywhere. Then tokens carry no position encoding:
            only distances matter, and on a torus the network commutes with shifts by whole patches.
        shifted: embed each patch together with those that lie half a patch away along all diagonals. Beyond
            the ends of an open axis there are zeros.
        local: attention with a learned sharpness, without the token itself; see `AttentionIntegral`.
        branches: integrals and perceptrons side by side in each layer.
        frames: frames of the output, which are its channels frame by frame. Time is then a further axis, open
            and before the others, on which x is constant; a list of patch sides begins with that of time.

    Shapes:
        - x: ``(B, in_channels, *S)``, S multiples of the patch; and ``frames`` is one too
        - returns: ``(B, out_channels, *S)``

    Example:
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
        atol: float = 0.0,
        gradient: GradientLike = "unrolled",
        periodic: bool | Sequence[bool] = True,
        homogeneous: bool = False,
        shifted: bool = False,
        local: bool = False,
        branches: int = 1,
        frames: int | None = None,
    ) -> None:
        block = IntegralOperator(width, heads, layers, skip=not inject, local=local, branches=branches)
        super().__init__(
            PicardNetwork(
                block, smoothing=smoothing, steps=steps, tol=tol, atol=atol, inject=inject, gradient=gradient
            )
        )
        if frames is not None:
            _check_frames(out_channels, frames)
        self.in_channels, self.out_channels, self.dim, self.frames = in_channels, out_channels, dim, frames
        closed = per_axis("periodic", periodic, dim)
        self.periodic = closed if frames is None else (False, *closed)
        self.patch = patch_sides(patch, len(self.periodic))
        points = math.prod(self.patch)
        self.shifted = shifted
        given = in_channels * (1 + 2 ** len(self.patch)) if shifted else in_channels
        self.embed = nn.Linear(given * points, width)
        self.places = None if homogeneous else PositionEncoding(len(self.patch), width)
        self.unembed = nn.Linear(width, out_channels // (frames or 1) * points)

    def encode(self, x: Tensor) -> tuple[Tensor, Nodes]:
        sizes = self._sizes(x)
        field = x if self.frames is None else x[:, :, None].expand(-1, -1, *sizes)
        if self.shifted:
            field = with_shifts(field, [side // 2 for side in self.patch], self.periodic)
        free = self.embed(to_patches(field, self.patch))
        nodes = patch_nodes(sizes, self.patch, self.periodic, like=x)
        return free if self.places is None else free + self.places(nodes), nodes

    def decode(self, tokens: Tensor, x: Tensor) -> Tensor:
        field = from_patches(self.unembed(tokens), self.patch, self._sizes(x))
        return field if self.frames is None else field.transpose(1, 2).flatten(1, 2)

    def _sizes(self, x: Tensor) -> list[int]:
        """The points of the tokens' grid along each axis."""
        return [*([] if self.frames is None else [self.frames]), *x.shape[2:]]


class ANIE(IteratedTokens):
    r"""ANIE: maps the present fields to all following frames by an integral equation in space and time.

    .. math:: u(s, t) = f(s, t) + \int_0^1 \!\! \int p_u(s, t; r, \tau) \, V u(r, \tau) \, dr \, d\tau

    Time runs from 0 (now) to 1 (the last frame); f embeds x, time and position. The integral is a transformer
    layer: attention (see `AttentionIntegral`) and a perceptron. Its quadrature is the trapezoidal rule in
    time and patches in space. Picard iteration, started at f, solves the equation. As a Fredholm equation,
    it couples every time to all others, later ones included.

    The weights do not depend on the number of frames: with twice as many, the time step is half as long.

    Papers: "Neural integral equations" (https://arxiv.org/abs/2209.15190), where attention has no softmax,
    and "Operator learning meets numerical analysis" (https://arxiv.org/abs/2310.01618).

    Args:
        in_channels: channels of x, the present fields and coefficients.
        out_channels: channels of the output: the fields of each frame, frame by frame.
        frames: number of frames.
        dim: axes of the grid in space.
        patch: points of a patch along each axis, a number or one for each axis.
        width: channels of a token.
        heads: number of attention heads.
        layers: number of layers of the integral operator.
        steps: number of steps; with a tolerance, the maximum.
        smoothing: weight of the previous iterate in a step, at least 0 and below 1.
        inject: whether f is added in every step; if not, T keeps its skip connections.
        tol: relative tolerance in evaluation: a sample stops when its step is below ``atol + tol |u|``.
        atol: absolute tolerance in evaluation.
        gradient: gradient rule of the iteration in training.
        periodic: whether space is periodic, a bool or one for each axis.
        homogeneous: whether the problem is the same everywhere in space; see `PicardViT`.

    Shapes:
        - x: ``(B, in_channels, *S)``, S multiples of the patch
        - returns: ``(B, out_channels, *S)``

    Example:
        >>> anie = ANIE(2, 4, frames=4, width=16, heads=2)
        >>> anie(torch.randn(3, 2, 8, 12)).shape
        torch.Size([3, 4, 8, 12])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        frames: int = 1,
        dim: int = 2,
        patch: int | Sequence[int] = 4,
        width: int = 64,
        heads: int = 4,
        layers: int = 1,
        steps: int = 3,
        smoothing: float = 0.5,
        inject: bool = True,
        tol: float | None = None,
        atol: float = 0.0,
        gradient: GradientLike = "unrolled",
        periodic: bool | Sequence[bool] = True,
        homogeneous: bool = False,
    ) -> None:
        block = IntegralOperator(width, heads, layers, skip=not inject)
        super().__init__(
            PicardNetwork(
                block, smoothing=smoothing, steps=steps, tol=tol, atol=atol, inject=inject, gradient=gradient
            )
        )
        _check_frames(out_channels, frames)
        self.in_channels, self.out_channels, self.dim, self.frames = in_channels, out_channels, dim, frames
        self.patch, self.periodic = patch_sides(patch, dim), per_axis("periodic", periodic, dim)
        points = math.prod(self.patch)
        self.embed = nn.Linear(in_channels * points, width)
        self.times = PositionEncoding(1, width)
        self.places = None if homogeneous else PositionEncoding(dim, width)
        self.unembed = nn.Linear(width, out_channels // frames * points)

    def encode(self, x: Tensor) -> tuple[Tensor, Nodes]:
        known = self.embed(to_patches(x, self.patch))
        if self.places is not None:
            known = known + self.places(patch_nodes(x.shape[2:], self.patch, self.periodic, like=x))
        times = self.times(patch_nodes([self.frames + 1], [1], [False], like=x))
        free = (known[:, None] + times[:, None]).flatten(1, 2)
        sizes, patch, closed = [self.frames + 1, *x.shape[2:]], [1, *self.patch], [False, *self.periodic]
        return free, patch_nodes(sizes, patch, closed, like=x)

    def decode(self, tokens: Tensor, x: Tensor) -> Tensor:
        later = self.unembed(tokens).unflatten(1, (self.frames + 1, -1))[:, 1:]
        frames = from_patches(later.flatten(0, 1), self.patch, x.shape[2:])
        return frames.unflatten(0, (-1, self.frames)).flatten(1, 2)


def _check_frames(out_channels: int, frames: int) -> None:
    if frames < 1 or out_channels % frames:
        got = f"{out_channels} in {frames} frames"
        raise ValueError(expected("as many out_channels in every frame", got, f"frames={out_channels}"))


MODELS.register("picard_vit", PicardViT)
MODELS.register("anie", ANIE)
