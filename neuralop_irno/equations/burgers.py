"""One implicit step of Burgers' equation on a periodic line."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.equations.diffusion import spacings_of
from neuralop_irno.equations.equation import Map
from neuralop_irno.equations.time_steps import ImplicitStep
from neuralop_irno.errors import check_least, expected
from neuralop_irno.registry import EQUATIONS


@EQUATIONS.register("burgers_step")
class BurgersStep(ImplicitStep):
    r"""One step in time of Burgers' equation from u to h, a nonlinear equation.

    .. math:: h - u + \Delta t \left(\tfrac{1}{2} (m^2)_x - \nu m_{xx}\right) = 0
              \qquad m = (1 - \theta) u + \theta h

    in conservative form, with central differences of second order: the mean of h is that of u.

    Args:
        dt: the length of the step.
        viscosity: nu >= 0.
        theta: 1/2 for the implicit midpoint rule, 1 for implicit Euler.

    Shapes:
        - x: ``(B, C, n)`` with u in channel 0; h: ``(B, 1, n)``

    Example:
        >>> import torch
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> x = torch.ones(1, 1, 4, dtype=torch.float64)
        >>> BurgersStep(dt=0.1, viscosity=0.01).bind(x, GridDomain.of(x))(x).abs().max().item()
        0.0
    """

    def __init__(self, dt: float, viscosity: float, theta: float = 0.5) -> None:
        check_least(0, 0.01, viscosity=viscosity)
        super().__init__(dt, theta)
        self.viscosity = viscosity

    def rate(self, x: Tensor, domain: Domain) -> Map:
        spacings = spacings_of(domain)
        if len(spacings) != 1:
            raise ValueError(expected("a line for burgers_step", f"{len(spacings)} axes", "x as (B, C, n)"))
        (spacing,) = spacings

        def rate(m: Tensor) -> Tensor:
            left, right = m.roll(1, -1), m.roll(-1, -1)
            transport = (right**2 - left**2) / (4 * spacing)
            return self.viscosity * (left - 2 * m + right) / spacing**2 - transport

        return rate
