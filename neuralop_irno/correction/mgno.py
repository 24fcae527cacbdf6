"""MgNO as a correction: layers that are multigrid cycles with learned stencils.

A correction does what a multigrid cycle does: it computes the error from a residual, at all scales. With the
stencils of textbook multigrid a cycle here is the textbook's cycle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.correction.equivariant import with_frame_option
from neuralop_irno.correction.film import Filmed, film_of, modulated, refuse_missing
from neuralop_irno.correction.grid import GridCorrection
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.norms import OperatorNorm, copies_in_padding, operator_norm_of
from neuralop_irno.models.multigrid import MultigridCycle, Prolongation, Stencil
from neuralop_irno.registry import CORRECTIONS


class MgNO(GridCorrection):
    r"""Phi(x, h): layers that each add a multigrid cycle to a pointwise map (https://arxiv.org/abs/2310.19809).

    .. math:: v_{i+1} = \text{gelu}(M_i v_i + W_i v_i) \qquad v_0 = W [x, h]

    The last layer starts at zero, so that an untrained correction changes nothing. Each stencil pads by the
    mode of its axis, at every level. Every grid size is accepted. Along a periodic axis it commutes with
    shifts by 2^levels cells if that divides the size; ``mgno`` by name with ``frame: true`` commutes with all
    shifts.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: 1, 2 or 3.
        width: channels of the layers.
        layers: number of layers.
        levels: number of coarser grids.
        cycle: ``V``, or ``W``, which visits each coarser grid twice.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list. On a
            sphere ``[poles, circular]`` or ``[between_poles, circular]``, see
            `neuralop_irno.domain.padding`; coarser grids take their first and last rows for as near to
            the poles as the finest grid has them.
        scalars: scalars per sample, which scale and shift the layers before their gelu; see
            `neuralop_irno.correction.film`. A refiner with ``condition`` fills it in.
        growth: each coarser grid has so many times the channels of the finer one, rounded.
        separable: whether every stencil acts on each channel by itself, and a matrix mixes the channels at
            each point.

    Example:
        >>> phi = MgNO(in_channels=2, out_channels=1, width=4, layers=1)
        >>> phi.extra_repr()
        "2 -> 1 channels, width 4, levels 3, padding ('circular', 'circular')"
        >>> phi(torch.randn(1, 2, 13, 7), torch.randn(1, 1, 13, 7)).shape
        torch.Size([1, 1, 13, 7])
    """

    in_errors = "MgNO"
    printed = ("width", "levels", "padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 24,
        layers: int = 4,
        levels: int = 3,
        cycle: str = "V",
        padding: str | Sequence[str] = "circular",
        scalars: int = 0,
        growth: float = 1.0,
        separable: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, dim, padding)
        for name, value in (("width", width), ("layers", layers)):
            if value < 1:
                raise ValueError(expected(f"{name} >= 1", value, f"{name}=4"))
        self.width, self.levels, self.alignment = width, levels, 2**levels
        self.lift = self.pointwise(in_channels + out_channels, width)
        self.cycles = nn.ModuleList(
            MultigridCycle(width, self.padding, levels, cycle, growth, separable) for _ in range(layers)
        )
        self.maps = nn.ModuleList(self.pointwise(width, width) for _ in range(layers))
        self.last = self.last_layer(width)
        self.scalars = scalars
        self.film = film_of(scalars, [width] * layers)

    @property
    def receptive_field(self) -> ReceptiveField:
        if self.across_poles:
            return None
        (*cycles,) = (cycle for cycle in self.cycles if isinstance(cycle, MultigridCycle))
        return tuple(len(cycles) * reach for reach in cycles[0].reach)

    def conditioned(self, prepared: Tensor, scalars: Tensor) -> Filmed:
        """x with the scales and shifts of each layer."""
        return Filmed(prepared, () if self.film is None else self.film(scalars))

    def forward(self, x: Tensor | Filmed, h: Tensor) -> Tensor:
        x, film = x if isinstance(x, Filmed) else Filmed(x, ())
        refuse_missing(self.film, film)
        if x.dim() != self.dim + 2 or x.shape[2:] != h.shape[2:]:
            shape = f"(B, {self.in_channels}, {', '.join('n' * self.dim)}), on the grid of h"
            raise ValueError(expected(f"x of shape {shape}", tuple(x.shape), "dim=<number of axes of x>"))
        field = self.lift(torch.cat([x, h], 1))
        layers = zip(self.cycles, self.maps, film or [None] * len(self.maps), strict=True)
        for cycle, linear, values in layers:
            field = F.gelu(modulated(cycle(field) + linear(field), values))
        update: Tensor = self.last(field)
        return update


@operator_norm_of.register
def _(layer: Stencil) -> OperatorNorm:
    modes = ["zeros" if mode == "zero" else mode for mode in layer.modes]
    copies = math.prod(copies_in_padding(mode, added=2, reach=2) for mode in modes)
    return OperatorNorm(layer.groups, copies)


@operator_norm_of.register
def _(layer: Prolongation) -> OperatorNorm:
    # A cell of the coarse grid is spread from its place, and from the two places beside the ends.
    return OperatorNorm(layer.groups, math.prod(1 if mode == "zero" else 3 for mode in layer.modes))


CORRECTIONS.register("mgno", with_frame_option(MgNO))
