"""A U-Net of residual blocks: what each resolution finds is added to the fields, never put in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.correction.antialias import REACH, doubled, halved
from neuralop_irno.correction.convolution import Convolution, GroupNorm, norm_of
from neuralop_irno.correction.equivariant import with_frame_option
from neuralop_irno.correction.film import film_of, modulated
from neuralop_irno.correction.hoisted import HoistedCorrection, HoistedInput
from neuralop_irno.correction.pairs import averaged, copied
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.correction.unet import DEEPEST, DOUBLE
from neuralop_irno.domain.convolutions import CONVOLUTIONS
from neuralop_irno.domain.padding import beside_poles
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS


class ResidualUNet(HoistedCorrection):
    r"""Phi(x, h): residual blocks at ``depth + 1`` resolutions, one before and one after the coarser ones.

    .. math:: v \leftarrow B(v), \quad v \leftarrow v + W' \uparrow U_{l+1}(\downarrow W v), \quad
              v \leftarrow B(v), \qquad
              B(v) = v + W_2 * g(W_1 * g(v)), \quad g = \text{gelu} \circ \text{norm}

    U_{l+1} is the same on half as many cells along each axis; the coarsest has one block. The channels grow
    by half of ``width`` with each level, where those of ``unet`` double: more of the weights and of the
    arithmetic are on the fine grids, and the sum has a straight way from the input to every block
    (https://arxiv.org/abs/1603.05027). See docs/recipe.md for what that is worth.

    Grids are halved and doubled by averages of six cells, see `neuralop_irno.correction.antialias`, or of
    pairs. Every size is accepted, and along a periodic axis it commutes with shifts by 2^depth cells if that
    divides the size. Each block begins as the identity, W_2 = 0 (https://arxiv.org/abs/1901.09321), with
    which one rate serves walls and periodic axes. The last layer starts at zero too, so that an untrained
    correction changes nothing. The x-part of the first convolution is computed once per solve.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: 1, 2 or 3.
        width: channels at the finest level; half as many more at each coarser one.
        depth: number of coarser levels.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list. On a
            sphere ``[poles, circular]`` or ``[between_poles, circular]``, see
            `neuralop_irno.domain.padding`.
        norm: ``layer`` (over the channels of each cell), ``group``, ``instance`` or ``none``.
        blur: halve and double grids without aliasing. False averages and copies cells in pairs: Phi then
            changes with odd shifts, and represents fronts as steep as a cell better; see docs/recipe.md.
        scalars: scalars per sample, which scale and shift the blocks after their first norm; see
            `neuralop_irno.correction.film`. A refiner with ``condition`` fills it in.

    Example:
        >>> import torch
        >>> phi = ResidualUNet(in_channels=2, out_channels=1, width=4, depth=2)
        >>> phi(torch.randn(1, 2, 13, 7), torch.randn(1, 1, 13, 7)).shape
        torch.Size([1, 1, 13, 7])
    """

    in_errors = "a residual U-Net"
    printed = ("width", "depth", "padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 32,
        depth: int = 3,
        padding: str | Sequence[str] = "circular",
        norm: str = "layer",
        blur: bool = True,
        scalars: int = 0,
    ) -> None:
        super().__init__(in_channels, out_channels, dim, padding)
        if width < 1:
            raise ValueError(expected("width >= 1", width, "width=4"))
        if not 0 <= depth <= DEEPEST:
            raise ValueError(expected(f"depth from 0 to {DEEPEST}", depth, "depth=3"))
        self.width, self.depth, self.alignment = width, depth, 2**depth
        widths = [width * (level + 2) // 2 for level in range(depth + 1)]
        self.first = Convolution(in_channels + out_channels, width, self.padding)
        self.levels = _Level(widths, self.padding, norm, blur)
        self.norm = norm_of(norm, width)
        self.last = self.last_layer(width)
        self.scalars = scalars
        self.film = film_of(scalars, [*widths, *reversed(widths[:-1])])

    @property
    def receptive_field(self) -> ReceptiveField:
        if self.across_poles or any(isinstance(part, GroupNorm) for part in self.modules()):
            return None
        return (1 + self.levels.reach,) * self.dim

    @property
    def first_layer(self) -> Convolution:
        return self.first

    def forward(self, x: Tensor | HoistedInput, h: Tensor) -> Tensor:
        """The update at h; x is the input itself or the result of `prepare`."""
        entered = self.entered(x, h)
        field = self.levels(entered.first, iter(entered.film))
        update: Tensor = self.last(F.gelu(self.norm(field)))
        return update


CORRECTIONS.register("residual_unet", with_frame_option(ResidualUNet))


class _Level(nn.Module):
    """A block, the coarser levels, and a block.

    Args:
        widths: channels of this level and of the coarser ones.
        modes: padding of each axis.
        norm: of the blocks.
        blur: halve and double without aliasing.
    """

    def __init__(self, widths: Sequence[int], modes: tuple[str, ...], norm: str, blur: bool) -> None:
        super().__init__()
        width, *coarser = widths
        self.before = _Residual(width, modes, norm)
        if not coarser:
            return
        self.modes, self.below, self.blur = modes, beside_poles(modes), blur
        pointwise = CONVOLUTIONS[len(modes)]
        self.wider = pointwise(width, coarser[0], kernel_size=1)
        self.coarser = _Level(coarser, self.below, norm, blur)
        self.narrower = pointwise(coarser[0], width, kernel_size=1)
        self.after = _Residual(width, modes, norm)

    @property
    def reach(self) -> int:
        """How many cells away the values lie that one value depends on."""
        if not hasattr(self, "coarser"):
            return DOUBLE
        return 2 * DOUBLE + 2 * ((REACH if self.blur else 0) + self.coarser.reach) + 1

    def forward(self, field: Tensor, film: Iterator[Tensor]) -> Tensor:
        field = self.before(field, next(film, None))
        if hasattr(self, "coarser"):
            size = field.shape[2:]
            coarse = halved(field, self.modes) if self.blur else averaged(field)
            # Pointwise layers commute with both: on the coarser grid they are a quarter of the arithmetic.
            coarse = self.narrower(self.coarser(self.wider(coarse), film))
            field = field + (doubled(coarse, size, self.below) if self.blur else copied(coarse, size))
            field = self.after(field, next(film, None))
        return field


class _Residual(nn.Module):
    """v + W_2 * g(W_1 * g(v)) with g the norm and gelu."""

    def __init__(self, channels: int, modes: tuple[str, ...], norm: str) -> None:
        super().__init__()
        self.first_norm, self.first = norm_of(norm, channels), Convolution(channels, channels, modes)
        self.second_norm, self.second = norm_of(norm, channels), Convolution(channels, channels, modes)
        for parameter in self.second.parameters():  # a block begins as the identity
            nn.init.zeros_(parameter)

    def forward(self, field: Tensor, film: Tensor | None) -> Tensor:
        update = self.first(F.gelu(modulated(self.first_norm(field), film)))
        result: Tensor = field + self.second(F.gelu(self.second_norm(update)))
        return result
