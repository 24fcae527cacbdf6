"""The linear system of one Newton step, as an equation for the step; a linear one with another side."""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.equations.equation import BoundEquation, Map


class LinearisedEquation(BoundEquation):
    r"""A(h) d = r(h) for the step d, with A = -dr/dh of another equation at h.

    Its residual is :math:`r(h) - A(h) d`. Of a linear equation it is A d = b for any b given as ``residual``.
    Products with A are those of `BoundEquation.linearised`: backward passes through one evaluation of r,
    which cost less than forward derivatives on small fields.

    Args:
        equation: whose root is sought, bound to x.
        h: the point.
        residual: r(h), which is known.

    Example:
        >>> import torch
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> from neuralop_irno.equations.equation import Equation
        >>> x, h = torch.full((1, 1, 2), 9.0), torch.full((1, 1, 2), 2.0)
        >>> root = Equation(lambda x, h: x - h**2).bind(x, GridDomain.of(x))
        >>> LinearisedEquation(root, h, root(h)).apply(torch.ones_like(h))  # the derivative of h^2
        tensor([[[4., 4.]]])
    """

    def __init__(self, equation: BoundEquation, h: Tensor, residual: Tensor) -> None:
        self.equation, self.x, self.domain, self.mask = (
            equation.equation, equation.x, equation.domain, equation.mask
        )  # fmt: skip
        self.linear, self.diagonal, self.stability = True, equation.diagonal, equation.stability
        self.nonlinear, self.at, self.right = equation, h, residual
        self._products: Map | None = None

    def __call__(self, h: Tensor) -> Tensor:
        return self.right - self.apply(h)

    def apply(self, v: Tensor) -> Tensor:
        if self._products is None:  # not before: a batch without samples has none
            self._products = self.nonlinear.linearised(self.at)
        return self._products(v)

    def linearised(self, h: Tensor) -> Map:
        return self.apply

    def project(self, v: Tensor) -> Tensor:
        return self.nonlinear.project(v)

    def lift(self, h: Tensor) -> Tensor:
        """h itself: where values are given a step is zero, which `project` sees to."""
        return h

    def select(self, keep: Tensor) -> LinearisedEquation:
        h, right = (self.domain.take(field, keep) for field in (self.at, self.right))
        return LinearisedEquation(self.nonlinear.select(keep), h, right)
