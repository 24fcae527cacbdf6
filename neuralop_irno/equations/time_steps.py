"""Implicit steps in time, dh/dt = F(h), as equations for the next state."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.equations.diffusion import channel
from neuralop_irno.equations.equation import Equation, Functions, Map
from neuralop_irno.errors import expected


def check_step(dt: float, theta: float) -> None:
    """Raise ValueError unless dt > 0 and 0 < theta <= 1."""
    if not dt > 0:
        raise ValueError(expected("dt > 0", dt, "dt=0.01"))
    if not 0 < theta <= 1:
        hint = "theta=0.5 (the implicit midpoint rule) or theta=1.0 (implicit Euler)"
        raise ValueError(expected("theta in (0, 1]", theta, hint))


class ImplicitStep(Equation):
    r"""One step from the state u, channel 0 of x, to h.

    .. math:: r = u - h + \Delta t \, F((1 - \theta) u + \theta h) \qquad A = I - \theta \Delta t \, F'

    Theta = 1/2 is the implicit midpoint rule (second order), theta = 1 implicit Euler (first order).
    Subclasses define `rate`.

    Args:
        dt: the length of the step.
        theta: where F is evaluated.

    Shapes:
        - x: ``(B, C, *S)``; h: ``(B, 1, *S)``
    """

    channels = 1

    def __init__(self, dt: float, theta: float) -> None:
        check_step(dt, theta)
        self.dt, self.theta = dt, theta

    def rate(self, x: Tensor, domain: Domain) -> Map:
        """F for one x."""
        raise NotImplementedError(f"{type(self).__name__} does not define rate(x, domain)")

    def functions(self, x: Tensor, domain: Domain) -> Functions:
        u, rate = channel(x, 0, "the state"), self.rate(x, domain)
        return Functions(lambda h: u - h + self.dt * rate(u + self.theta * (h - u)))
