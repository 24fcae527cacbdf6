"""The penalty on a correction that is not strongly monotone at the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.domain.noise import fresh
from neuralop_irno.errors import check_least, expected
from neuralop_irno.linearisation import Linearisation, lowest_eigenvector, symmetric_part
from neuralop_irno.losses.loss import Loss
from neuralop_irno.solution import Trajectory


class MonotoneLoss(Loss):
    r"""How far the monotonicity m of the correction at the truth is below a margin:

    .. math:: L = \max(0, \; m_0 - m)^2, \qquad
              m = \min_v \frac{\langle A v, v \rangle}{\langle v, v \rangle}, \qquad
              A = -\frac{\partial \Phi}{\partial h}(x, y)

    m is the smallest eigenvalue of the symmetric part of A. If m > 0 and the norm of A is M, the iteration
    contracts near the truth for every alpha in (0, 2 m / M^2): docs/theory.md. The quotient is taken at
    the Ritz vector v of Lanczos' iteration from a random start, which is a constant: it is at least m, and
    its gradient is that of the eigenvalue once v has converged to the eigenvector. The loss is zero for a
    plain prediction.

    It costs one evaluation of Phi and two backward passes through it for each iteration.

    Args:
        margin: m_0.
        iterations: of Lanczos' method. With few of them the quotient is above m by a part of the spread of
            the eigenvalues; new random starts at every update find other directions.
        reduction: over the samples, ``sum`` or ``mean``.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> y = torch.zeros(1, 1, 4)
        >>> path = Trajectory((y,), (torch.ones(1),), GridDomain.of(y), phi=lambda h: -0.5 * h)
        >>> MonotoneLoss(margin=0.7)(path, y)  # m = 0.5
        tensor(0.0400)
    """

    def __init__(self, margin: float = 0.1, iterations: int = 4, reduction: str = "sum") -> None:
        super().__init__(reduction)
        if not margin >= 0:
            raise ValueError(expected("a margin >= 0", margin, "margin=0.1"))
        check_least(1, 4, iterations=iterations)
        self.margin, self.iterations = margin, iterations

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        domain = trajectory.domain
        if trajectory.phi is None:
            return domain.mean(trajectory.last.detach() * 0)
        with torch.enable_grad():  # the penalty needs derivatives in evaluation too
            linear = Linearisation(trajectory.phi, y, differentiable=True)
            symmetric, start = symmetric_part(linear, domain), fresh(domain, y)
            v = lowest_eigenvector(lambda u: -symmetric(u), domain, start, self.iterations)
            size = domain.inner(v, v).clamp(min=torch.finfo(v.dtype).tiny)
            monotonicity = -domain.inner(v, linear.push(v)) / size
        return (self.margin - monotonicity).clamp(min=0).square()
