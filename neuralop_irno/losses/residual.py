"""The residual of an equation in a dual Sobolev norm, as a loss that needs no truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from neuralop_irno.equations.equation import Equation
from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss, as_trajectory
from neuralop_irno.solution import Trajectory
from neuralop_irno.spectrum.homogeneous import HomogeneousNorm


class ResidualLoss(Loss):
    r"""The residual of the equation at every iterate, in a homogeneous Sobolev norm:

    .. math:: L = \frac{1}{K} \sum_{k=1}^{K} \frac{|r(x, h_k)|_s^2}{|r(x, 0)|_s^2}, \qquad
              |r|_s^2 = \sum_w (c + \kappa_w^2)^s \, |\hat r(w)|^2

    Of order -1 it is the squared energy norm of the error of a (screened) Poisson equation, relative to that
    of h = 0; see `neuralop_irno.equations.residual_norm.residual_norm`. The truth is not read. Paper:
    Spectral-Refiner, https://arxiv.org/abs/2405.17211.

    Args:
        order: s.
        equation: of fields in the units of the data, for models other than refiners: x is then read from the
            sample, ``loss(out, x=x, y=y)``. By default that of the refiner.
        screen: c >= 0.
        symbol: of the Laplacian: ``stencil`` (second differences) or ``fourier``.
        boundary: ``periodic`` or ``dirichlet``, for all axes or for each.
        reduction: over the samples, ``sum`` (neuraloperator's convention) or ``mean``.

    Example:
        >>> from neuralop_irno.equations.equation import LinearEquation
        >>> twice = LinearEquation(lambda x, v: 2 * v, lambda x: x)
        >>> x = torch.randn(3, 1, 8)
        >>> loss = ResidualLoss(order=-1, equation=twice)
        >>> loss(x / 2, x / 2, x=x).item() < 1e-12, round(loss(x, x, x=x).item(), 3)
        (True, 3.0)
    """

    def __init__(
        self,
        order: float = -1.0,
        equation: Equation | None = None,
        screen: float = 0.0,
        symbol: str = "stencil",
        boundary: str | Sequence[str] = "periodic",
        reduction: str = "sum",
    ) -> None:
        super().__init__(reduction)
        self.equation = equation
        self.norm = HomogeneousNorm(order, screen, symbol, boundary)

    def forward(self, prediction: Trajectory | Tensor, y: Tensor, **sample: object) -> Tensor:
        if self.equation is None or isinstance(prediction, Trajectory):
            return super().forward(prediction, y, **sample)
        x = sample.get("x")
        if not isinstance(x, Tensor):
            raise ValueError(expected("x beside y", sorted(sample), "loss(out, x=x, y=y)"))
        plain = as_trajectory(prediction, sample)
        bound = self.equation.bind(x.double(), plain.domain)
        return self.reduce(self._of(plain, lambda h: bound(h.double())))

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        if trajectory.physics is None:
            hint = "IterativeRefiner(..., equation=...), or ResidualLoss(equation=...) with x in the sample"
            raise ValueError(expected("a trajectory with an equation", "one without", hint))
        return self._of(trajectory, trajectory.physics)

    def _of(self, trajectory: Trajectory, residual: Callable[[Tensor], Tensor]) -> Tensor:
        domain, iterates = trajectory.domain, trajectory.iterates
        with torch.no_grad():
            scale = self.norm.squared(residual(torch.zeros_like(iterates[0])), domain)
        scale = torch.where(scale > 0, scale, 1.0)
        each = [self.norm.squared(residual(h), domain) / scale for h in iterates]
        return (sum(each[1:], each[0]) / len(each)).to(iterates[0].dtype)
