"""The step should bring neighbours closer together: penalties on its Jacobian."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.solution import Trajectory

DIRECTIONS = ("power", "random", "error")


class StepLoss(Loss):
    """A penalty on the step at the last supervised iterate. A plain prediction has none, and costs nothing.

    In a `PicardNetwork` Phi is lambda T(h) + f - h, and a step is what it always is:
    ``loss(network.trajectory(x), y)``, with y = x where there is no truth for the state.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        if not trajectory.steps_on:
            return trajectory.domain.mean(trajectory.last.detach() * 0)
        with torch.enable_grad():  # derivatives are what it is about, in evaluation too
            return self.of_step(StepJacobian(trajectory), y)

    @abstractmethod
    def of_step(self, step: StepJacobian, y: Tensor) -> Tensor:
        """The loss of each sample, ``(samples,)``."""


class ContractionLoss(StepLoss):
    r"""How far one step stretches a direction, beyond a target:

    .. math:: L = \max\left(0, \; \frac{\|J v\|}{\|v\|} - q \right)^2, \qquad
              J = I + \alpha \, \frac{\partial \Phi}{\partial h}

    at the last supervised iterate, which is a constant here. It costs one evaluation of Phi and two passes
    back through it; ``power`` costs two more.

    Args:
        target: q; directions that shrink at least so much cost nothing.
        direction: v. ``power``: a random direction after one step of power iteration with J^T J, close to
            the one that is stretched most, so that the norm of J is held. ``random``: any direction.
            ``error``: h - y, in which the iteration has to shrink. See `JacobianLoss` and `FrechetLoss` for
            the last two as penalties on norms, without a target.
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

    def of_step(self, step: StepJacobian, y: Tensor) -> Tensor:
        direction = step.error(y) if self.direction == "error" else step.anything()
        if self.direction == "power":
            direction = step.turned(direction)
        # The root of a mean of squares has no slope at zero, and there is nothing to shrink there.
        stretch = (step.squared_stretch(direction) + torch.finfo(y.dtype).tiny).sqrt()
        return (stretch - self.target).clamp(min=0).square()


class JacobianLoss(StepLoss):
    r"""The Frobenius norm of a step's Jacobian, by Hutchinson's estimate:

    .. math:: L = \frac{1}{n} \|J\|_F^2 = \mathbb{E}_v \frac{\|J v\|^2}{\|v\|^2}

    the mean square by which it stretches over all n directions. It is lowest where a step forgets where it
    came from; no direction is held in particular.

    Args:
        probes: random directions a sample.
        reduction: over the samples, ``sum`` or ``mean``.
    """

    def __init__(self, probes: int = 1, reduction: str = "sum") -> None:
        super().__init__(reduction)
        if probes < 1:
            raise ValueError(expected("at least one probe", f"probes={probes}", "probes=1"))
        self.probes = probes

    def of_step(self, step: StepJacobian, y: Tensor) -> Tensor:
        each = [step.squared_stretch(step.anything()) for _ in range(self.probes)]
        return torch.stack(each).mean(0)


class FrechetLoss(StepLoss):
    r"""The Frechet derivative of a step in the direction of the error e = h - y:

    .. math:: L = \frac{\|J e\|^2}{\|e\|^2}

    the share of the squared error that the next step leaves, to first order. Unlike the norms it asks
    nothing where there is no error.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.
    """

    def of_step(self, step: StepJacobian, y: Tensor) -> Tensor:
        return step.squared_stretch(step.error(y))


class StepJacobian:
    """Products with J = I + alpha dPhi/dh at the last iterate, a constant; differentiable in the weights.

    Args:
        trajectory: of steps, and not a plain prediction.
    """

    def __init__(self, trajectory: Trajectory) -> None:
        self.domain = trajectory.domain
        self._at = trajectory.last.detach().requires_grad_()
        self._dual = torch.zeros_like(self._at, requires_grad=True)
        self._image = trajectory.step(self._at)
        # J^T u is linear in u: its own derivative is J.
        (self._pulled,) = torch.autograd.grad(self._image, self._at, self._dual, create_graph=True)

    def squared_stretch(self, v: Tensor) -> Tensor:
        """The square of |J v| / |v|, ``(samples,)``; 0 where v is."""
        (stretched,) = torch.autograd.grad(self._pulled, self._dual, v, create_graph=True)
        tiny = torch.finfo(v.dtype).tiny
        return self.domain.inner(stretched, stretched) / self.domain.inner(v, v).clamp(min=tiny)

    def turned(self, v: Tensor) -> Tensor:
        """J^T J v: closer to the direction that is stretched most."""
        (pushed,) = torch.autograd.grad(self._pulled, self._dual, v, retain_graph=True)
        return torch.autograd.grad(self._image, self._at, pushed, retain_graph=True)[0]

    def anything(self) -> Tensor:
        """A random direction."""
        return torch.randn_like(self._at)

    def error(self, y: Tensor) -> Tensor:
        """From y to the iterate."""
        return self._at.detach() - y
