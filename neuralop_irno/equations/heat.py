"""One implicit step of the heat equation on uniform grids."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.equations.diffusion import DiffusionEquation, channel
from neuralop_irno.equations.time_steps import check_step
from neuralop_irno.errors import expected
from neuralop_irno.registry import EQUATIONS


@EQUATIONS.register("heat_step")
class HeatStep(DiffusionEquation):
    r"""One step in time of the heat equation, from u to h.

    .. math:: h - \theta \Delta t \, \nu \Delta h = u + (1 - \theta) \Delta t \, \nu \Delta u

    The matrix is symmetric positive definite. Theta = 1 is implicit Euler, theta = 1/2 is the implicit
    midpoint rule (Crank-Nicolson).

    Args:
        dt: the length of the step.
        diffusivity: nu > 0.
        theta: in (0, 1].
        boundary: as in `DiffusionEquation`.

    Shapes:
        - x: ``(B, C, *S)`` with u in channel 0, one to three axes; h: ``(B, 1, *S)``

    Example:
        >>> import torch
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> x = torch.ones(1, 1, 4, dtype=torch.float64)
        >>> HeatStep(dt=0.5, boundary="periodic").bind(x, GridDomain.of(x))(x).abs().max().item()
        0.0
    """

    def __init__(
        self,
        dt: float,
        diffusivity: float = 1.0,
        theta: float = 1.0,
        boundary: str | Sequence[str] = "dirichlet",
    ) -> None:
        check_step(dt, theta)
        if not diffusivity > 0:
            raise ValueError(expected("diffusivity > 0", diffusivity, "diffusivity=1.0"))
        super().__init__(boundary)
        self.dt, self.diffusivity, self.theta = dt, diffusivity, theta

    def terms(self, x: Tensor, domain: Domain) -> tuple[Tensor, float, Tensor]:
        u, each = channel(x, 0, "the state"), x.new_full([1] * x.dim(), self.dt * self.diffusivity)
        f = u - (1 - self.theta) * self.diffusion(each, domain)(u)
        return self.theta * each, 1.0, f
