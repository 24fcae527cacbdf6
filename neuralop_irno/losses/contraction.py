"""The step should bring neighbours closer together."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.solution import Trajectory

DIRECTIONS = ("power", "random", "error")


class ContractionLoss(Loss):
    r"""How far one step stretches a direction, beyond a target:

    .. math:: L = \max\left(0, \; \frac{\|J v\|}{\|v\|} - q \right)^2, \qquad
              J = I + \alpha \, \frac{\partial \Phi}{\partial h}

    at the last supervised iterate, which is a constant here. It costs one evaluation of Phi and two passes
    back through it; ``power`` costs two more.

    Args:
        target: q; directions that shrink at least so much cost nothing.
        direction: v. ``power``: a random direction after one step of power iteration with J^T J, close to
            the one that is stretched most, so that the norm of J is held. ``random``: Hutchinson's, the
            average over all directions. ``error``: h - y, the Frechet derivative in the direction in which
            the iteration has to shrink.
        reduction: over the samples, ``sum`` or ``mean``.
    """

    def __init__(self, target: float = 0.9, direction: str = "power", reduction: str = "sum") -> None:
        super().__init__(reduction)
        if direction not in DIRECTIONS:
            raise ValueError(
                expected("a direction", repr(direction), did_you_mean(str(direction), DIRECTIONS))
            )
        if not target >= 0:
            raise ValueError(expected("a target >= 0", target, "target=0.9"))
        self.target, self.direction = target, direction

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        domain = trajectory.domain
        if trajectory.phi is None or trajectory.alpha is None:
            return domain.mean(trajectory.last.detach() * 0)
        alpha = domain.spread(trajectory.alpha.detach().to(y.dtype), y)
        at = trajectory.last.detach().requires_grad_()
        dual = torch.zeros_like(at, requires_grad=True)
        image = at + alpha * trajectory.phi(at)
        # J^T u is linear in u: its own derivative is J, and everything stays differentiable in the weights.
        (pulled,) = torch.autograd.grad(image, at, dual, create_graph=True)
        direction = at.detach() - y if self.direction == "error" else torch.randn_like(at)
        if self.direction == "power":
            (pushed,) = torch.autograd.grad(pulled, dual, direction, retain_graph=True)
            (direction,) = torch.autograd.grad(image, at, pushed, retain_graph=True)
        (stretched,) = torch.autograd.grad(pulled, dual, direction.detach(), create_graph=True)
        size = domain.norm(direction.detach()).clamp(min=torch.finfo(y.dtype).tiny)
        # The root of a mean of squares has no slope at zero, and there is nothing to shrink there.
        stretch = (domain.inner(stretched, stretched) + torch.finfo(y.dtype).tiny).sqrt() / size
        return (stretch - self.target).clamp(min=0).square()
