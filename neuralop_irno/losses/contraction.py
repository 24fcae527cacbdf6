"""Penalties on the Jacobian of a step, which should contract distances."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.noise import fresh
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.linearisation import Linearisation
from neuralop_irno.losses.loss import Loss
from neuralop_irno.solution import Trajectory

DIRECTIONS = ("power", "random", "error")


class StepLoss(Loss):
    """A penalty on the step at the last supervised iterate; zero for a plain prediction.

    With a `PicardNetwork`, where Phi is lambda T(h) + f - h, call ``loss(network.trajectory(x), y)``, with
    y = x if there is no truth for the state.
    """

    def per_sample(self, trajectory: Trajectory, y: Tensor) -> Tensor:
        if not trajectory.steps_on:
            return trajectory.domain.mean(trajectory.last.detach() * 0)
        with torch.enable_grad():  # the penalty needs derivatives in evaluation too
            jacobian = Linearisation(trajectory.step, trajectory.last, differentiable=True)
            return self.of_step(jacobian, trajectory.last.detach() - y, trajectory.domain)

    @abstractmethod
    def of_step(self, jacobian: Linearisation, error: Tensor, domain: Domain) -> Tensor:
        """The loss of each sample, ``(samples,)``.

        Args:
            jacobian: J = I + alpha dPhi/dh at the last iterate h, which is a constant.
            error: h - y.
            domain: the domain of both.
        """


class ContractionLoss(StepLoss):
    r"""The factor by which one step stretches a direction, as far as it exceeds a target:

    .. math:: L = \max\left(0, \; \frac{\|J v\|}{\|v\|} - q \right)^2, \qquad
              J = I + \alpha \, \frac{\partial \Phi}{\partial h}

    at the last supervised iterate, which is a constant here. It costs one evaluation of Phi and two backward
    passes through it; ``power`` costs two more.

    Args:
        target: q; the loss is zero if the factor is at most q.
        direction: v. ``power``: a random direction after one step of power iteration with J^T J, which is
            close to the direction that J stretches most, so that the norm of J is penalised. ``random``: a
            random direction. ``error``: h - y, which the iteration should shrink. `JacobianLoss` and
            `FrechetLoss` are the last two without a target.
        reduction: over the samples, ``sum`` or ``mean``.

    Example:
        >>> import neuralop_irno as irno
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction)
        >>> x = torch.ones(1, 1, 4)
        >>> trajectory = model.train()(x, y=x)
        >>> ContractionLoss(target=0.4)(trajectory, x)  # a step multiplies errors by 0.5
        tensor(0.0100)
    """

    def __init__(self, target: float = 0.9, direction: str = "power", reduction: str = "sum") -> None:
        super().__init__(reduction)
        check_choice("a direction", direction, DIRECTIONS)
        if not target >= 0:
            raise ValueError(expected("a target >= 0", target, "target=0.9"))
        self.target, self.direction = target, direction

    def of_step(self, jacobian: Linearisation, error: Tensor, domain: Domain) -> Tensor:
        direction = error if self.direction == "error" else fresh(domain, error)
        if self.direction == "power":
            direction = jacobian.pull(jacobian.push(direction).detach())
        # The gradient of the root is infinite at zero: add the smallest positive number.
        stretch = (squared_stretch(jacobian, direction, domain) + torch.finfo(error.dtype).tiny).sqrt()
        return (stretch - self.target).clamp(min=0).square()


class JacobianLoss(StepLoss):
    r"""The Frobenius norm of a step's Jacobian, by Hutchinson's estimate:

    .. math:: L = \frac{1}{n} \|J\|_F^2 = \mathbb{E}_v \frac{\|J v\|^2}{\|v\|^2}

    the mean over all n directions of the square of the factor by which J stretches them. It is zero if the
    result of a step does not depend on its start; it bounds no single direction. Paper: Jacobian
    regularization of equilibrium models, https://arxiv.org/abs/2106.14342.

    Args:
        probes: random directions per sample.
        reduction: over the samples, ``sum`` or ``mean``.

    Example:
        >>> import neuralop_irno as irno
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction)
        >>> x = torch.ones(1, 1, 4)
        >>> trajectory = model.train()(x, y=x)
        >>> JacobianLoss()(trajectory, x)  # of a step, h -> 0.5 (x + h)
        tensor(0.2500)
    """

    def __init__(self, probes: int = 1, reduction: str = "sum") -> None:
        super().__init__(reduction)
        if probes < 1:
            raise ValueError(expected("at least one probe", f"probes={probes}", "probes=1"))
        self.probes = probes

    def of_step(self, jacobian: Linearisation, error: Tensor, domain: Domain) -> Tensor:
        probes = (fresh(domain, error) for _ in range(self.probes))
        return torch.stack([squared_stretch(jacobian, probe, domain) for probe in probes]).mean(0)


class FrechetLoss(StepLoss):
    r"""The Frechet derivative of a step in the direction of the error e = h - y:

    .. math:: L = \frac{\|J e\|^2}{\|e\|^2}

    the share of the squared error that remains after the next step, to first order. Unlike the norms of J it
    is zero where there is no error.

    Args:
        reduction: over the samples, ``sum`` or ``mean``.

    Example:
        >>> import neuralop_irno as irno
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction)
        >>> x = torch.ones(1, 1, 4)
        >>> trajectory = model.train()(x, y=x)
        >>> FrechetLoss()(trajectory, x).item() > 0
        True
    """

    def of_step(self, jacobian: Linearisation, error: Tensor, domain: Domain) -> Tensor:
        return squared_stretch(jacobian, error, domain)


def squared_stretch(jacobian: Linearisation, v: Tensor, domain: Domain) -> Tensor:
    """The square of |J v| / |v|, ``(samples,)``; 0 where v = 0."""
    stretched = jacobian.push(v)
    return domain.inner(stretched, stretched) / domain.inner(v, v).clamp(min=torch.finfo(v.dtype).tiny)
