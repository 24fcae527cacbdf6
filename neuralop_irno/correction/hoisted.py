"""Corrections on grids that begin with a convolution of [x, h], whose x-part is computed once per solve."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from neuralop_irno.correction.convolution import LAYOUTS, Convolution
from neuralop_irno.correction.film import FiLM, refuse_missing
from neuralop_irno.correction.grid import GridCorrection
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import expected


class HoistedInput(NamedTuple):
    """The x-part of the first convolution, and the scales and shifts of the layers."""

    first: Tensor
    film: tuple[Tensor, ...] = ()


class HoistedCorrection(GridCorrection):
    """A correction on grids whose first layer is linear in x and h:

    .. math:: W * [x, h] = W_x * x + W_h * h

    Attributes:
        film: the scales and shifts of its layers; None without scalars.
    """

    film: FiLM | None

    @property
    @abstractmethod
    def first_layer(self) -> Convolution:
        """The convolution of [x, h]."""

    def prepare(self, x: Tensor, domain: Domain) -> HoistedInput:
        """The x-part of the first convolution, ``(B, width, *S)``."""
        self.require_domain(domain)
        self._check(x, self.in_channels, "x")
        return HoistedInput(self.first_layer.part(self._laid_out(x), slice(0, self.in_channels)))

    def conditioned(self, prepared: HoistedInput, scalars: Tensor) -> HoistedInput:
        """The same with the scales and shifts, each ``(B, 2 channels)``."""
        return prepared if self.film is None else prepared._replace(film=self.film(scalars))

    def entered(self, x: Tensor | HoistedInput, h: Tensor) -> HoistedInput:
        """The first convolution of x and h, and the scales and shifts.

        Args:
            x: the input itself or the result of `prepare`.
            h: the estimate.
        """
        self._check(h, self.out_channels, "h")
        if not isinstance(x, HoistedInput):
            if x.shape[2:] != h.shape[2:]:
                wanted = f"x on the grid of h {tuple(h.shape[2:])}"
                raise ValueError(expected(wanted, tuple(x.shape[2:]), "resample(x, h.shape[2:], periodic)"))
            x = self.prepare(x, GridDomain.of(x))
        refuse_missing(self.film, x.film)
        of_h = self.first_layer.part(self._laid_out(h), slice(self.in_channels, None), bias=False)
        return x._replace(first=x.first + of_h)

    def _laid_out(self, field: Tensor) -> Tensor:
        return field.contiguous(memory_format=LAYOUTS[self.dim])

    def _check(self, field: Tensor, channels: int, name: str) -> None:
        if field.dim() != self.dim + 2 or field.shape[1] != channels:
            wanted = f"{name} of shape (B, {channels}, {', '.join('n' * self.dim)})"
            hint = "in_channels, out_channels and dim of the data, or a graph correction for points"
            raise ValueError(expected(wanted, tuple(field.shape), hint))
