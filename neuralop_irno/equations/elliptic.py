"""Equations of equilibrium on uniform grids: Poisson's, Darcy's and Helmholtz'."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.equations.diffusion import DiffusionEquation, channel, positive
from neuralop_irno.errors import check_least
from neuralop_irno.registry import EQUATIONS


@EQUATIONS.register("poisson")
class Poisson(DiffusionEquation):
    r"""Poisson's equation, screened where c > 0.

    .. math:: -\Delta h + c h = f

    The matrix is symmetric positive definite. In a periodic box with c = 0 it is singular: f is taken without
    its mean, and h keeps the mean of its start.

    Args:
        screen: c >= 0.
        boundary: as in `DiffusionEquation`.

    Shapes:
        - x: ``(B, C, *S)`` with f in channel 0, one to three axes; h: ``(B, 1, *S)``

    Example:
        >>> import torch
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> x = torch.ones(1, 1, 4, dtype=torch.float64)
        >>> equation = Poisson().bind(x, GridDomain.of(x))
        >>> equation.apply(x)
        tensor([[[32.,  0.,  0., 32.]]], dtype=torch.float64)
    """

    def __init__(self, screen: float = 0.0, boundary: str | Sequence[str] = "dirichlet") -> None:
        check_least(0, 1.0, screen=screen)
        super().__init__(boundary)
        self.screen = screen

    def terms(self, x: Tensor, domain: Domain) -> tuple[Tensor, float, Tensor]:
        return x.new_ones([1] * x.dim()), self.screen, channel(x, 0, "f")

    def singular(self, boundaries: Sequence[str]) -> bool:
        return self.screen == 0 and set(boundaries) == {"periodic"}


@EQUATIONS.register("darcy")
class Darcy(Poisson):
    r"""Darcy's equation: flow through a medium of permeability a.

    .. math:: -\nabla \cdot (a \nabla h) + c h = f

    with the harmonic mean of a on the faces between cells. The matrix is symmetric positive definite; in a
    periodic box with c = 0 see `Poisson`.

    Args:
        source: f, if it is constant; None: f is in channel 1 of x.
        screen: c >= 0.
        boundary: as in `DiffusionEquation`.

    Shapes:
        - x: ``(B, C, *S)`` with a > 0 in channel 0, and f in channel 1 if ``source`` is None, one to three
          axes; h: ``(B, 1, *S)``

    Example:
        >>> import torch
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> a = torch.tensor([[[1.0, 3.0]]], dtype=torch.float64)
        >>> equation = Darcy(source=1.0).bind(a, GridDomain.of(a))
        >>> equation.apply(torch.tensor([[[1.0, 1.0]]], dtype=torch.float64))  # fluxes through the walls
        tensor([[[ 8., 24.]]], dtype=torch.float64)
    """

    def __init__(
        self,
        source: float | None = None,
        screen: float = 0.0,
        boundary: str | Sequence[str] = "dirichlet",
    ) -> None:
        super().__init__(screen, boundary)
        self.source = source

    def terms(self, x: Tensor, domain: Domain) -> tuple[Tensor, float, Tensor]:
        a = positive(channel(x, 0, "the permeability a"), "the permeability a, channel 0 of x,")
        f = channel(x, 1, "f") if self.source is None else x.new_full((), self.source)
        return a, self.screen, f


@EQUATIONS.register("helmholtz")
class Helmholtz(DiffusionEquation):
    r"""Helmholtz' equation of waves of one frequency.

    .. math:: -\Delta h - k^2 h = f

    The matrix is symmetric and, for k above the lowest frequency of the box, indefinite: ``fgmres`` solves
    it, ``fcg`` does not. It is singular where k^2 is an eigenvalue of the Laplacian of the grid.

    Args:
        wavenumber: k.
        boundary: as in `DiffusionEquation`.

    Shapes:
        - x: ``(B, C, *S)`` with f in channel 0, one to three axes; h: ``(B, 1, *S)``

    Example:
        >>> import torch
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> x = torch.ones(1, 1, 4, dtype=torch.float64)
        >>> Helmholtz(2.0, boundary="periodic").bind(x, GridDomain.of(x)).apply(x)
        tensor([[[-4., -4., -4., -4.]]], dtype=torch.float64)
    """

    definite = False

    def __init__(self, wavenumber: float, boundary: str | Sequence[str] = "dirichlet") -> None:
        super().__init__(boundary)
        self.wavenumber = wavenumber

    def terms(self, x: Tensor, domain: Domain) -> tuple[Tensor, float, Tensor]:
        return x.new_ones([1] * x.dim()), -(self.wavenumber**2), channel(x, 0, "f")
