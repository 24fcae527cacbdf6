"""The Jacobian of a correction, or of a step, at a point: products with it, and its extreme eigenvalues."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain

Apply = Callable[[Tensor], Tensor]


class Linearisation:
    """Products with J = df/dh at one point, for all samples of a batch at once; J is never formed.

    f is evaluated once. J^T u is a backward pass through that evaluation, and J v one through the pass
    before (which is linear in u), so every product costs about as much as an evaluation.

    Args:
        function: f, from a field to a field of the same domain: Phi bound to x, or a step.
        at: the point, laid out like h; a constant.
        differentiable: whether J v has a gradient with respect to the weights of f.

    Attributes:
        value: f at the point, without a gradient.

    Example:
        >>> linear = Linearisation(torch.sin, torch.zeros(1, 1, 2))
        >>> linear.push(torch.ones(1, 1, 2))
        tensor([[[1., 1.]]])
    """

    def __init__(self, function: Apply, at: Tensor, differentiable: bool = False) -> None:
        self.differentiable = differentiable
        with torch.enable_grad():
            self._at = at.detach().clone().requires_grad_()
            self._value = function(self._at)
            self._dual = torch.zeros_like(self._value, requires_grad=True)
            (self._pulled,) = torch.autograd.grad(
                self._value, self._at, self._dual, create_graph=True, materialize_grads=True
            )
        self.value = self._value.detach()

    def pull(self, u: Tensor) -> Tensor:
        """J^T u."""
        return torch.autograd.grad(self._value, self._at, u, retain_graph=True, materialize_grads=True)[0]

    def push(self, v: Tensor) -> Tensor:
        """J v."""
        if not self._pulled.requires_grad:  # Phi does not depend on h
            return torch.zeros_like(v)
        (pushed,) = torch.autograd.grad(
            self._pulled, self._dual, v,
            retain_graph=True, create_graph=self.differentiable, materialize_grads=True,
        )  # fmt: skip
        return pushed


def extreme_eigenvalues(
    apply: Apply, domain: Domain, start: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """The smallest and largest eigenvalue of a symmetric operator, for each sample, by Lanczos' iteration.

    With as many iterations as a field has numbers they are exact. With fewer, the smallest is an upper bound
    and the largest a lower bound.

    Args:
        apply: v -> S v, sample by sample.
        domain: where the fields live.
        start: the first vector; random, so that it has a part in every eigenvector.
        iterations: products with S.

    Shapes:
        - returns: ``(samples,)``, twice

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> field = torch.randn(1, 1, 3, dtype=torch.float64)
        >>> values = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
        >>> low, high = extreme_eigenvalues(lambda v: values * v, GridDomain.of(field), field, 3)
        >>> round(low.item(), 9), round(high.item(), 9)
        (1.0, 5.0)
    """
    unit = _unit(domain, start)
    basis: list[Tensor] = []
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    alive = torch.ones(domain.samples, dtype=torch.bool, device=start.device)
    for _ in range(iterations):
        basis.append(unit)
        image = apply(unit)
        on = domain.inner(unit, image)
        # A sample whose Krylov space is exhausted repeats a value inside its spectrum.
        diagonal.append(torch.where(alive, on, diagonal[0] if diagonal else on))
        for _ in range(2):  # once is not enough in floating point
            for known in basis:
                image = image - domain.spread(domain.inner(known, image), image) * known
        left = domain.norm(image)
        scale = torch.stack([d.abs() for d in diagonal]).amax(0) + left
        alive = alive & (left > torch.finfo(left.dtype).eps ** 0.75 * scale)
        beside.append(torch.where(alive, left, 0.0))
        unit = torch.where(domain.spread(alive, image), _unit(domain, image), 0.0)
        if not alive.any():
            break
    tridiagonal = torch.diag_embed(torch.stack(diagonal, -1))
    if len(beside) > 1:
        off = torch.diag_embed(torch.stack(beside[:-1], -1), offset=1)
        tridiagonal = tridiagonal + off + off.mT
    values = torch.linalg.eigvalsh(tridiagonal.double().cpu()).to(start.device)
    return values[:, 0].to(start.dtype), values[:, -1].to(start.dtype)


def _unit(domain: Domain, field: Tensor) -> Tensor:
    size = domain.norm(field)
    return field * domain.spread(1 / size.clamp(min=torch.finfo(size.dtype).tiny), field)
