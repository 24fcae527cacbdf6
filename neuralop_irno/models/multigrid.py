"""Multigrid cycles with learned stencils; with the stencils of textbook multigrid, the textbook's cycle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from neuralop_irno.domain.convolutions import CONVOLUTIONS, CONVOLVE, CONVOLVE_TRANSPOSED
from neuralop_irno.domain.padding import pad
from neuralop_irno.errors import did_you_mean, expected

CYCLES = {"V": 1, "W": 2}
"""Visits to the next coarser grid per cycle."""


class MultigridCycle(nn.Module):
    r"""One multigrid cycle for A u = f from u = 0, in which all stencils are learned.

    .. math:: u \leftarrow S f \qquad u \leftarrow u + P \, M_{coarse} R (f - A u)
              \qquad u \leftarrow u + S' (f - A u)

    Smooth, restrict the residual, solve for the error on the coarser grid by another cycle, prolong it,
    smooth again. It is linear in f: there are no biases and no activations. The coarser grid has every second
    point; with zero padding it starts at the second point, so that the walls are at the same place on both
    grids. The coarsest level only smooths.

    Args:
        channels: channels of u and f.
        modes: the padding of each axis.
        levels: number of coarser grids.
        cycle: ``V`` or ``W``.
        growth: each coarser grid has so many times the channels of the finer one, rounded.
        separable: whether every stencil acts on each channel by itself, and a matrix mixes the channels at
            each point: for c channels and d axes ``3^d c + c^2`` products a point in place of ``3^d c^2``.

    Shapes:
        - f and u: ``(B, channels, *S)``

    Example:
        >>> cycle = MultigridCycle(1, ["circular"], levels=2)
        >>> f = torch.randn(1, 1, 9)
        >>> torch.allclose(cycle(2 * f), 2 * cycle(f))
        True
    """

    def __init__(
        self,
        channels: int,
        modes: Sequence[str],
        levels: int,
        cycle: str = "V",
        growth: float = 1.0,
        separable: bool = False,
    ) -> None:
        super().__init__()
        if levels < 0:
            raise ValueError(expected("levels >= 0", levels, "levels=3"))
        if cycle not in CYCLES:
            raise ValueError(expected("a cycle", repr(cycle), did_you_mean(cycle, CYCLES)))
        if not 0 < growth < math.inf:
            raise ValueError(expected("growth > 0", growth, "growth=1.5"))
        # The coarsest grid only smooths: a second visit would only smooth once more.
        self.visits = CYCLES[cycle] if levels > 1 else 1
        stencil = partial(separable_stencil if separable else Stencil, modes=modes)
        self.smooth = stencil(channels)
        self.coarse = None
        if levels:
            below = max(1, round(channels * growth))
            self.coarse = MultigridCycle(below, modes, levels - 1, cycle, growth, separable)
            self.operator = stencil(channels)
            self.restrict = stencil(channels, to=below, stride=2)
            self.prolong = (SeparableProlongation if separable else Prolongation)(below, modes, to=channels)
            self.smooth_again = stencil(channels)

    @property
    def modes(self) -> tuple[str, ...]:
        """The padding of each axis."""
        return next(part.modes for part in self.modules() if isinstance(part, Stencil))

    @property
    def reach(self) -> tuple[int, ...]:
        """How many cells away the values of f lie that one value of u depends on, for each axis."""
        if self.coarse is None:
            return tuple(1 for _ in self.modes)
        return tuple(map(self._reach, self.modes, self.coarse.reach))

    def _reach(self, mode: str, coarse: int) -> int:
        error = coarse
        for _ in range(self.visits - 1):
            error += 1 + coarse
        # One cell to the nearest coarse one; at a wall the reflected neighbour of the last one lies at three.
        prolong = 3 if mode == "reflect" else 1
        corrected = prolong + 2 * error + 1 + 2  # R reaches one cell, f - A S f two
        return corrected + 2

    def forward(self, f: Tensor) -> Tensor:
        u: Tensor = self.smooth(f)
        if self.coarse is None:
            return u
        below = self.restrict(f - self.operator(u))
        error = self.coarse(below)
        for _ in range(self.visits - 1):
            error = error + self.coarse(below - self.coarse.operator(error))
        u = u + self.prolong(error, f.shape[2:])
        again: Tensor = self.smooth_again(f - self.operator(u))
        return u + again


class Stencil(nn.Module):
    """A convolution of width 3 without bias, at each cell or at every second one.

    Args:
        channels: channels of the field.
        modes: the padding of each axis.
        to: channels of the result; by default as many.
        stride: 1, or 2 for every second cell.
        groups: into how many parts the channels are divided, each of which sees itself alone.
    """

    groups = 1  # of the class: runs of before, whose files do not state it, go on

    def __init__(
        self, channels: int, modes: Sequence[str], to: int | None = None, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.modes, self.stride = tuple(modes), stride
        if groups > 1:
            self.groups = groups
        self.weight = _kernel((to or channels, channels // groups), len(self.modes), channels // groups)

    def forward(self, field: Tensor) -> Tensor:
        padded = pad(field, self.modes)
        if self.stride == 2:
            for axis, mode in enumerate(self.modes, start=2):
                first = _first_kept(mode, field.shape[axis])
                padded = padded.narrow(axis, first, padded.shape[axis] - first)
        return CONVOLVE[len(self.modes)](padded, self.weight, stride=self.stride, groups=self.groups)


def separable_stencil(
    channels: int, modes: Sequence[str], to: int | None = None, stride: int = 1
) -> nn.Sequential:
    """`Stencil` as a stencil for each channel, and then a matrix that mixes the channels at each cell."""
    mix = CONVOLUTIONS[len(modes)](channels, to or channels, kernel_size=1, bias=False)
    return nn.Sequential(Stencil(channels, modes, stride=stride, groups=channels), mix)


class Prolongation(nn.Module):
    """A transposed convolution from every second cell to all cells; linear interpolation is a special case.

    Args:
        channels: channels of the field.
        modes: the padding of each axis.
        to: channels of the result; by default as many.
        groups: into how many parts the channels are divided, each of which sees itself alone.
    """

    groups = 1  # likewise

    def __init__(self, channels: int, modes: Sequence[str], to: int | None = None, groups: int = 1) -> None:
        super().__init__()
        self.modes = tuple(modes)
        if groups > 1:
            self.groups = groups
        self.weight = _kernel((channels, (to or channels) // groups), len(self.modes), channels // groups)

    def forward(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """The field on the finer grid of that shape."""
        # After padding, cell j of the coarse grid is spread around cell 2 j + 3.
        spread = CONVOLVE_TRANSPOSED[len(self.modes)](
            pad(field, self.modes), self.weight, stride=2, groups=self.groups
        )
        for axis, (size, mode) in enumerate(zip(shape, self.modes, strict=True), start=2):
            spread = spread.narrow(axis, 3 - _first_kept(mode, size), size)
        return spread


class SeparableProlongation(nn.Module):
    """`Prolongation` as a matrix that mixes the channels, on the coarse grid, and a stencil for each channel.

    Args:
        channels: channels of the field.
        modes: the padding of each axis.
        to: channels of the result.
    """

    def __init__(self, channels: int, modes: Sequence[str], to: int) -> None:
        super().__init__()
        self.mix = CONVOLUTIONS[len(modes)](channels, to, kernel_size=1, bias=False)
        self.alone = Prolongation(to, modes, groups=to)

    def forward(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """The field on the finer grid of that shape."""
        spread: Tensor = self.alone(self.mix(field), shape)
        return spread


def _first_kept(mode: str, size: int) -> int:
    """The first cell of the coarser grid: 1 with zero padding, so that the walls of both grids coincide."""
    return 1 if mode == "zero" and size > 1 else 0


def _kernel(channels: tuple[int, int], dim: int, seen: int) -> nn.Parameter:
    """A stencil of three cells along each axis, initialised like a convolution of ``seen`` channels."""
    bound = (seen * 3**dim) ** -0.5
    return nn.Parameter(torch.empty(*channels, *[3] * dim).uniform_(-bound, bound))
