"""The attentional neural integral equation (ANIE): a block of space and time, solved for at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from neuralop_irno.errors import expected
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


class ANIE(IteratedTokens):
    r"""From what is known now to all frames that follow: an integral equation over space and time.

    .. math:: u(s, t) = f(s, t) + \int_0^1 \!\! \int p_u(s, t; r, \tau) \, V u(r, \tau) \, dr \, d\tau

    Time runs from now, 0, to the last frame, 1, and f is what x and the time make of a place. The integral is
    attention (see `AttentionIntegral`) and a perceptron after it, a transformer layer; its quadrature is the
    trapezoidal rule in time and patches in space. Picard's iteration solves the equation, from f. The answer
    at one time depends on all times, those after it too: the equation is Fredholm's.

    The number of frames changes no weights: built with twice as many, it answers at half the time step.

    From the papers "Neural integral equations" (arXiv 2209.15190), where the integrals are attention without
    softmax, and "Operator learning meets numerical analysis" (arXiv 2310.01618).

    Args:
        in_channels: channels of x: all that is known now.
        out_channels: channels of the answer: the fields of each frame, frame by frame.
        frames: how many of them.
        dim: axes of the grid in space.
        patch: points of a patch along each axis, a number or one for each.
        width: channels of a token.
        heads: of attention.
        layers: in the integral operator.
        steps: at most, with a tolerance.
        smoothing: the part of the last iterate that a step keeps, at least 0 and below 1.
        inject: whether every step is given f again; without, T keeps its skip connections.
        tol: in evaluation, a sample stops when its step is smaller than this part of its state.
        gradient: how gradients cross the steps in training.
        periodic: whether space closes on itself, in one word or for each axis.
        homogeneous: whether the problem is the same everywhere in space: see `PicardViT`.

    Shapes:
        - x: ``(B, in_channels, *S)``, S multiples of the patch
        - returns: ``(B, out_channels, *S)``

    Example:
        >>> import torch
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
        gradient: Any = "unrolled",
        periodic: bool | Sequence[bool] = True,
        homogeneous: bool = False,
    ) -> None:
        super().__init__(width, heads, layers, steps, smoothing, inject, tol, gradient)
        if frames < 1 or out_channels % frames:
            got = f"{out_channels} in {frames} frames"
            raise ValueError(expected("as many out_channels in every frame", got, f"frames={out_channels}"))
        self.in_channels, self.out_channels, self.dim, self.frames = in_channels, out_channels, dim, frames
        self.patch, self.periodic = patch_sides(patch, dim), per_axis("periodic", periodic, dim)
        points = math.prod(self.patch)
        self.embed = nn.Linear(in_channels * points, width)
        self.times = PlaceEncoding(1, width)
        self.places = None if homogeneous else PlaceEncoding(dim, width)
        self.unembed = nn.Linear(width, out_channels // frames * points)

    def encode(self, x: Tensor) -> tuple[Tensor, Nodes]:
        known = self.embed(to_patches(x, self.patch))
        if self.places is not None:
            known = known + self.places(lattice(x.shape[2:], self.patch, self.periodic, like=x))
        times = self.times(lattice([self.frames + 1], [1], [False], like=x))
        free = (known[:, None] + times[:, None]).flatten(1, 2)
        sizes, patch, closed = [self.frames + 1, *x.shape[2:]], [1, *self.patch], [False, *self.periodic]
        return free, lattice(sizes, patch, closed, like=x)

    def decode(self, tokens: Tensor, x: Tensor) -> Tensor:
        later = self.unembed(tokens).unflatten(1, (self.frames + 1, -1))[:, 1:]
        frames = from_patches(later.flatten(0, 1), self.patch, x.shape[2:])
        return frames.unflatten(0, (-1, self.frames)).flatten(1, 2)


MODELS.register("anie", ANIE)
