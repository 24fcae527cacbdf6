"""Base class of convolutional corrections on grids: their channels, axes and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from neuralop_irno.correction.correction import Correction, zeroed
from neuralop_irno.domain.convolutions import CONVOLUTIONS
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.padding import ACROSS_POLES, padding_modes
from neuralop_irno.domain.sphere import SphereDomain, padding_across_poles
from neuralop_irno.errors import expected


class GridCorrection(Correction):
    """A correction on grids of one to three dimensions, of any size.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: 1, 2 or 3.
        padding: ``circular``, ``zero``, ``replicate`` or ``reflect``; one for all axes, or a list.

    Attributes:
        padding: the mode of each axis.

    Shapes:
        - x: ``(B, in_channels, *S)``
        - h and the update: ``(B, out_channels, *S)``
    """

    in_errors: ClassVar[str] = "this correction"
    """The name of the correction in error messages."""

    periodic: tuple[bool, ...]

    def __init__(self, in_channels: int, out_channels: int, dim: int, padding: str | Sequence[str]) -> None:
        super().__init__()
        if dim not in CONVOLUTIONS:
            raise ValueError(expected("dim to be 1, 2 or 3", dim, "a graph correction beyond that"))
        self.in_channels: int = in_channels
        self.out_channels: int = out_channels
        self.dim = dim
        self.padding = padding_modes(padding, dim)
        self.periodic = tuple(mode == "circular" for mode in self.padding)

    @property
    def across_poles(self) -> bool:
        """Whether its grid is a sphere, where what is near in longitude at a pole is far apart in columns."""
        return any(mode in ACROSS_POLES for mode in self.padding)

    def prepare(self, x: Tensor, domain: Domain) -> Any:
        self.require_domain(domain)
        return x

    def require_domain(self, domain: Domain) -> None:
        """Raise ValueError if a domain is no grid, or a sphere of which the padding has other neighbours."""
        require_grid(domain, self.in_errors)
        right = list(padding_across_poles(domain.grid)) if isinstance(domain, SphereDomain) else None
        if right and self.padding[0] != right[0] and self.padding[0] in ("circular", *ACROSS_POLES):
            wanted = f"padding across the poles for {self.in_errors} on a sphere"
            raise ValueError(expected(wanted, list(self.padding), f"padding={right}"))

    def pointwise(self, inputs: int, outputs: int) -> nn.Module:
        """A linear layer that acts on the channels of each cell."""
        return CONVOLUTIONS[self.dim](inputs, outputs, kernel_size=1)

    def last_layer(self, width: int) -> nn.Module:
        """A pointwise layer from ``width`` channels to those of h that starts at zero."""
        return zeroed(self.pointwise(width, self.out_channels))


def require_grid(domain: Domain, correction: str) -> None:
    """Raise ValueError if a domain is not a grid; ``correction`` is named in the message."""
    if not isinstance(domain, GridDomain):
        wanted = f"a field on a grid for {correction}"
        raise ValueError(expected(wanted, "one on points", "correction='rigno'"))
