"""The U-Net of the paper's public code: maxima, and linear interpolation between the corners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.correction.convolution import Convolution
from neuralop_irno.correction.hoisted import HoistedCorrection, HoistedInput
from neuralop_irno.correction.unet import DEEPEST
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import CORRECTIONS

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}

STATE = "model_state_dict"
"""Where a checkpoint of the public code has the weights."""

WRAPPER = "module."
"""What DataParallel puts before the names of weights."""

IN_A_BLOCK = {"first": "0", "first_norm": "1", "second": "3", "second_norm": "4"}
"""The public names of the layers of a double convolution."""


@CORRECTIONS.register("public_unet")
class PublicUNet(HoistedCorrection):
    """Phi(x, h) as the paper's public code has it: a U-Net with batch norm, maxima and interpolation.

    Grids are halved by maxima of 2 cells a side, and doubled by linear interpolation with aligned corners,
    after which a convolution halves the channels. It is the same function as the public network, whose
    weights `load_public` reads; with 44 channels of x and 11 of h (active matter of The Well) it has
    2,169,307 parameters. See https://arxiv.org/abs/2605.24041.

    What differs: every size is accepted, while the public network needs multiples of 2^depth; the x-part of
    the first convolution is computed once per solve; and the last layer starts at zero, as in all corrections
    here, where the public one starts at a tenth of Xavier's weights. Maxima and aligned corners commute with
    no shift: ``unet`` has averages of six cells in their place, and no batch norm.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: 1, 2 or 3.
        width: channels at the finest level; doubled at every coarser level.
        depth: number of coarser levels.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list.

    Example:
        >>> phi = PublicUNet(in_channels=44, out_channels=11)
        >>> sum(parameter.numel() for parameter in phi.parameters())
        2169307
        >>> phi(torch.randn(2, 44, 16, 32), torch.randn(2, 11, 16, 32)).shape
        torch.Size([2, 11, 16, 32])
    """

    in_errors = "the public U-Net"
    printed = ("width", "depth", "padding")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 16,
        depth: int = 4,
        padding: str | Sequence[str] = "circular",
    ) -> None:
        super().__init__(in_channels, out_channels, dim, padding)
        if width < 1:
            raise ValueError(expected("width >= 1", width, "width=4"))
        if not 0 <= depth <= DEEPEST:
            raise ValueError(expected(f"depth from 0 to {DEEPEST}", depth, "depth=3"))
        if self.across_poles:
            hint = "correction='unet' or 'mgno', or padding=['replicate', 'circular']"
            raise ValueError(expected(f"a flat grid for {self.in_errors}", list(self.padding), hint))
        self.width, self.depth = width, depth
        widths = [width * 2**level for level in range(depth + 1)]
        modes = self.padding
        self.entry = _Block(in_channels + out_channels, width, modes)
        self.down = nn.ModuleList(_Block(wide, 2 * wide, modes) for wide in widths[:-1])
        self.narrow = nn.ModuleList(Convolution(2 * wide, wide, modes) for wide in widths[:-1])
        self.up = nn.ModuleList(_Block(2 * wide, wide, modes) for wide in widths[:-1])
        self.last, self.film = self.last_layer(width), None

    @property
    def first_layer(self) -> Convolution:
        return self.entry.first

    def forward(self, x: Tensor | HoistedInput, h: Tensor) -> Tensor:
        """The update at h; x is the input itself or the result of `prepare`."""
        field = self.entry.after_first(self.entered(x, h).first)
        finer: list[Tensor] = []
        for down in self.down:
            finer.append(field)
            field = down(_largest(field))
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            fine = finer.pop()
            refined = narrow(F.interpolate(field, fine.shape[2:], mode=LINEAR[self.dim], align_corners=True))
            field = up(torch.cat([refined, fine], 1))
        update: Tensor = self.last(field)
        return update

    def load_public(self, checkpoint: Mapping[str, Any]) -> PublicUNet:
        """Load the weights of a public network of the same sizes, and return this one.

        Args:
            checkpoint: its state dict, or a checkpoint of the public code with one, as ``torch.load`` reads
                it; with or without the ``module.`` of DataParallel.

        Raises:
            ValueError: a weight is missing, left over, or of another shape.

        Example:
            >>> phi, other = (PublicUNet(in_channels=2, out_channels=1, width=4, depth=1) for _ in "ab")
            >>> public = dict(zip(other.public_names(), other.state_dict().values()))
            >>> sorted(name for name in public if name.endswith("0.weight") and "conv" not in name)
            ['bottleneck.0.weight', 'decoders.0.0.weight', 'encoders.0.0.weight']
            >>> _ = phi.load_public({"K": 6, "model_state_dict": public})
            >>> torch.equal(phi.entry.first.weight, other.entry.first.weight)
            True
        """
        given = {name.removeprefix(WRAPPER): part for name, part in checkpoint.get(STATE, checkpoint).items()}
        own = dict(zip(self.public_names(), self.state_dict().items(), strict=True))
        hint = "a network of the width, depth and channels of the public one"
        for name in given.keys() - own.keys():
            raise ValueError(expected("a weight of this network", repr(name), did_you_mean(name, own)))
        for name, (_, tensor) in own.items():
            found = tuple(given[name].shape) if name in given else "none"
            if found != tuple(tensor.shape):
                wanted = f"the public weight '{name}' of shape {tuple(tensor.shape)}"
                raise ValueError(expected(wanted, found, hint))
        self.load_state_dict({mine: given[name] for name, (mine, _) in own.items()})
        return self

    def public_names(self) -> list[str]:
        """What the public code calls the entries of the state dict, in their order."""
        return [self._public_name(name) for name in self.state_dict()]

    def _public_name(self, name: str) -> str:
        part, _, rest = name.partition(".")
        if part == "last":
            return f"output.{rest}"
        if part == "entry":
            return f"encoders.0.{_in_a_block(rest)}" if self.depth else f"bottleneck.{_in_a_block(rest)}"
        level, _, rest = rest.partition(".")
        from_below = self.depth - 1 - int(level)
        if part == "narrow":
            return f"upconvs.{from_below}.1.{rest}"
        if part == "up":
            return f"decoders.{from_below}.{_in_a_block(rest)}"
        block = f"encoders.{int(level) + 1}" if from_below else "bottleneck"
        return f"{block}.{_in_a_block(rest)}"


class _Block(nn.Module):
    """Convolution, batch norm and activation, twice."""

    def __init__(self, inputs: int, outputs: int, modes: tuple[str, ...]) -> None:
        super().__init__()
        norm = NORMS[len(modes)]
        self.first, self.first_norm = Convolution(inputs, outputs, modes), norm(outputs)
        self.second, self.second_norm = Convolution(outputs, outputs, modes), norm(outputs)

    def forward(self, field: Tensor) -> Tensor:
        return self.after_first(self.first(field))

    def after_first(self, field: Tensor) -> Tensor:
        """The layers after the first convolution."""
        return F.gelu(self.second_norm(self.second(F.gelu(self.first_norm(field)))))


def _largest(field: Tensor) -> Tensor:
    """The largest values of 2 cells a side; the last cell of an odd axis stands alone."""
    largest: Tensor = MAXIMA[field.dim() - 2](field, 2, ceil_mode=True)
    return largest


def _in_a_block(name: str) -> str:
    """The public name of a weight in a double convolution."""
    layer, _, kind = name.partition(".")
    return f"{IN_A_BLOCK[layer]}.{kind}"
