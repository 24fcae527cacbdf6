"""A U-Net as a correction, on grids of one to three dimensions and of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.correction.antialias import REACH, doubled, halved
from neuralop_irno.correction.convolution import Convolution, GroupNorm, norm_of
from neuralop_irno.correction.equivariant import with_frame_option
from neuralop_irno.correction.film import film_of, modulated
from neuralop_irno.correction.hoisted import HoistedCorrection, HoistedInput
from neuralop_irno.correction.pairs import averaged, copied
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.domain.padding import beside_poles
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS

DOUBLE = 2
"""How many cells away two convolutions of width 3 reach."""

DEEPEST = 10
"""Largest depth. Each level halves the grid and doubles the width: at ten, by a factor of 1024."""


class UNet(HoistedCorrection):
    r"""Phi(x, h): double convolutions at ``depth + 1`` resolutions, with skip connections.

    After the U-Net of https://arxiv.org/abs/1505.04597, with averages of six cells where grids are halved
    and doubled; see `neuralop_irno.correction.antialias`. Every size is accepted: an axis of n cells has
    (n+1)//2 cells one level down. Along a periodic axis it commutes with shifts by 2^depth cells if that
    divides the size, and with other shifts but for the aliasing that is left. The last layer starts at zero,
    so that an untrained correction changes nothing. The first convolution is linear,

    .. math:: W * [x, h] = W_x * x + W_h * h ,

    and its x-part is computed once per solve.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: 1, 2 or 3.
        width: channels at the finest level; doubled at every coarser level.
        depth: number of coarser levels.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list. On a
            sphere ``[poles, circular]`` or ``[between_poles, circular]``, see
            `neuralop_irno.domain.padding`; grids of pairs of cells have rows between the poles only.
        norm: ``layer`` (over the channels of each cell), ``group`` (up to 8 groups of channels),
            ``instance`` or ``none``.
        spectral_norm: normalise the kernel of every convolution, as a matrix, to norm 1
            (https://arxiv.org/abs/1802.05957). This keeps weights from growing, but is no bound on the
            convolution as an operator on fields; the correction ``bounded`` has that bound.
        blur: halve and double grids without aliasing. False averages and copies cells in pairs: Phi then
            changes with odd shifts. The paper's network is ``public_unet``.
        scalars: scalars per sample, which scale and shift the double convolutions after their first norm; see
            `neuralop_irno.correction.film`. A refiner with ``condition`` fills it in.

    Example:
        >>> phi = UNet(in_channels=2, out_channels=1, width=4, depth=2)
        >>> phi(torch.randn(1, 2, 13, 7), torch.randn(1, 1, 13, 7)).shape
        torch.Size([1, 1, 13, 7])
    """

    in_errors = "a U-Net"
    printed = ("width", "depth", "padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 16,
        depth: int = 3,
        padding: str | Sequence[str] = "circular",
        norm: str = "layer",
        spectral_norm: bool = False,
        blur: bool = True,
        scalars: int = 0,
    ) -> None:
        super().__init__(in_channels, out_channels, dim, padding)
        if width < 1:
            raise ValueError(expected("width >= 1", width, "width=4"))
        if not 0 <= depth <= DEEPEST:
            raise ValueError(expected(f"depth from 0 to {DEEPEST}", depth, "depth=3"))
        self.width, self.depth, self.alignment = width, depth, 2**depth
        self.entry = _DoubleConvolution(in_channels + out_channels, width, self.padding, norm)
        below = _SmoothGrid if blur else _CoarseGrid
        self.coarse = below(width, depth, self.padding, norm) if depth else None
        self.last = self.last_layer(width)
        self.scalars = scalars
        self.film = film_of(scalars, [width, *_widths(width, depth)])
        if spectral_norm:
            for part in [part for part in self.modules() if isinstance(part, Convolution)]:
                nn.utils.parametrizations.spectral_norm(part, "weight")

    @property
    def receptive_field(self) -> ReceptiveField:
        if any(isinstance(part, GroupNorm) for part in self.modules()) or self.across_poles:
            return None
        return (DOUBLE + (self.coarse.reach if self.coarse is not None else 0),) * self.dim

    @property
    def first_layer(self) -> Convolution:
        return self.entry.first

    def forward(self, x: Tensor | HoistedInput, h: Tensor) -> Tensor:
        """The update at h; x is the input itself or the result of `prepare`."""
        entered = self.entered(x, h)
        first, *below = entered.film or (None,)
        field = self.entry.after_first(entered.first, first)
        if self.coarse is not None:
            field = self.coarse(field, below)
        update: Tensor = self.last(field)
        return update


CORRECTIONS.register("unet", with_frame_option(UNet))


class _CoarseGrid(nn.Module):
    """The part of the U-Net on the coarser grids, with the refinement back to the finer one.

    Cells are averaged in pairs and copied back; see `_SmoothGrid` for the way without aliasing.
    """

    merging = "narrow"
    """The name of the convolution that halves the channels of the coarse field; `_SmoothGrid` has another."""

    def __init__(self, channels: int, depth: int, modes: tuple[str, ...], norm: str) -> None:
        super().__init__()
        below = beside_poles(modes)
        self.down = _DoubleConvolution(channels, 2 * channels, below, norm)
        self.coarser = type(self)(2 * channels, depth - 1, below, norm) if depth > 1 else None
        self.add_module(self.merging, Convolution(2 * channels, channels, self._merged_with(modes)))
        self.up = _DoubleConvolution(2 * channels, channels, modes, norm)

    def _merged_with(self, modes: tuple[str, ...]) -> tuple[str, ...]:
        """The modes of the convolution that halves the channels, here on the finer grid."""
        return modes

    @property
    def reach(self) -> int:
        """How many cells away the values lie that one value depends on."""
        return DOUBLE + self._reach(DOUBLE + (self.coarser.reach if self.coarser is not None else 0))

    def _reach(self, coarse: int) -> int:
        # One for the convolution on the finer grid, and one from a cell of a pair to the other.
        return 1 + 2 * coarse + 1

    def forward(self, fine: Tensor, film: Sequence[Tensor] = ()) -> Tensor:
        down, up, *below = film or (None, None)
        coarse = self.down(self.coarsen(fine), down)
        if self.coarser is not None:
            coarse = self.coarser(coarse, below)
        result: Tensor = self.up(torch.cat([self.refine(coarse, fine.shape[2:]), fine], 1), up)
        return result

    def coarsen(self, fine: Tensor) -> Tensor:
        """The field on half as many cells along each axis."""
        return averaged(fine)

    def refine(self, coarse: Tensor, shape: Sequence[int]) -> Tensor:
        """The coarse field with half of its channels, on the finer grid of that shape."""
        return self._merged(copied(coarse, shape))

    def _merged(self, field: Tensor) -> Tensor:
        result: Tensor = self.get_submodule(self.merging)(field)
        return result


def _widths(width: int, depth: int) -> list[int]:
    """The channels of the double convolutions of `_CoarseGrid`, in the order of its scales and shifts."""
    return [2 * width, width, *_widths(2 * width, depth - 1)] if depth else []


class _SmoothGrid(_CoarseGrid):
    """The same without aliasing: averages of six cells, see `neuralop_irno.correction.antialias`.

    The channels are halved before the refinement, by a quarter of the arithmetic in the plane.
    """

    merging = "merge"

    def _merged_with(self, modes: tuple[str, ...]) -> tuple[str, ...]:
        return beside_poles(modes)

    def _reach(self, coarse: int) -> int:
        # `doubled` and `halved` each reach `REACH` cells beyond a pair, the convolution one coarse cell.
        return 2 * (REACH + 1 + coarse) + 1

    def coarsen(self, fine: Tensor) -> Tensor:
        return halved(fine, self.up.first.modes)

    def refine(self, coarse: Tensor, shape: Sequence[int]) -> Tensor:
        return doubled(self._merged(coarse), shape, self.down.first.modes)


class _DoubleConvolution(nn.Module):
    """Convolution, norm and activation, twice."""

    def __init__(self, inputs: int, outputs: int, modes: tuple[str, ...], norm: str) -> None:
        super().__init__()
        self.first = Convolution(inputs, outputs, modes)
        self.first_norm = norm_of(norm, outputs)
        self.second = Convolution(outputs, outputs, modes)
        self.second_norm = norm_of(norm, outputs)

    def forward(self, field: Tensor, film: Tensor | None = None) -> Tensor:
        return self.after_first(self.first(field), film)

    def after_first(self, field: Tensor, film: Tensor | None) -> Tensor:
        """The layers after the first convolution."""
        field = self.second(F.gelu(modulated(self.first_norm(field), film)))
        return F.gelu(self.second_norm(field))
