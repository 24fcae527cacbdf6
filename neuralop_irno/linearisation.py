"""The Jacobian of a correction, or of a step, at a point: products with it, and its extreme eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from neuralop_irno.compiling import eager
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
            with eager():  # compiled graphs have no second derivatives
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

    def adjoint(self, u: Tensor, domain: Domain) -> Tensor:
        """J* u, the adjoint in the inner product of a domain: <J* u, v> = <u, J v>.

        With W the weights of the domain's mean, J* = W^-1 J^T W; it is 0 where the weight is 0.
        """
        weights = domain.weights(u)
        return torch.where(weights > 0, self.pull(weights * u) / weights, 0.0)


def symmetric_part(linear: Linearisation, domain: Domain) -> Apply:
    """The function v -> (J v + J* v) / 2, symmetric in the inner product of a domain.

    Args:
        linear: J.
        domain: the domain of v.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> field = torch.tensor([[[1.0, 0.0]]])
        >>> turn = Linearisation(lambda h: torch.stack([h[..., 1], -h[..., 0]], -1), field)
        >>> symmetric_part(turn, GridDomain.of(field))(field)
        tensor([[[0., 0.]]])
    """

    def apply(v: Tensor) -> Tensor:
        return (linear.push(v).detach() + linear.adjoint(v, domain)) / 2

    return apply


def extreme_eigenvalues(
    apply: Apply, domain: Domain, start: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """The smallest and largest eigenvalue of a symmetric operator, for each sample, by Lanczos' iteration.

    With as many iterations as a field has numbers they are exact. With fewer, the smallest is an upper bound
    and the largest a lower bound.

    Args:
        apply: v -> S v, sample by sample; symmetric in the domain's inner product.
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
    krylov = _lanczos(apply, domain, start, iterations)
    # An exhausted Krylov space repeats a value inside the spectrum.
    matrix = krylov.tridiagonal(krylov.diagonal[:, :1])
    values = torch.linalg.eigvalsh(matrix.double().cpu()).to(start.device)
    return values[:, 0].to(start.dtype), values[:, -1].to(start.dtype)


def lowest_eigenvector(apply: Apply, domain: Domain, start: Tensor, iterations: int) -> Tensor:
    """The vector with the smallest Rayleigh quotient in the Krylov space of a symmetric operator.

    For each sample, by Lanczos' iteration; with as many iterations as a field has numbers it is the
    eigenvector of the smallest eigenvalue.

    Args:
        apply: v -> S v, sample by sample; symmetric in the domain's inner product.
        domain: where the fields live.
        start: the first vector; random, so that it has a part in every eigenvector.
        iterations: products with S.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> field = torch.ones(1, 1, 3, dtype=torch.float64)
        >>> values = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
        >>> vector = lowest_eigenvector(lambda v: values * v, GridDomain.of(field), field, 3)
        >>> (vector / vector[0, 0, 0]).abs().round(decimals=6)
        tensor([[[1., 0., 0.]]], dtype=torch.float64)
    """
    krylov = _lanczos(apply, domain, start, iterations)
    # Above all eigenvalues, so that no part of the vector is in an exhausted Krylov space.
    largest = 2 * (krylov.diagonal.abs() + 2 * krylov.beside).amax(1, keepdim=True)
    matrix = krylov.tridiagonal(torch.where(largest > 0, largest, 1.0))
    shares = torch.linalg.eigh(matrix).eigenvectors[:, :, 0]
    return sum(
        (domain.spread(share, start) * vector for share, vector in zip(shares.T, krylov.basis, strict=True)),
        torch.zeros_like(start),
    )


class _Krylov(NamedTuple):
    """Lanczos' basis, and the symmetric operator in it.

    Attributes:
        basis: orthonormal fields; 0 for the samples whose Krylov space was exhausted before.
        diagonal: the products <q_i, S q_i>, ``(samples, iterations)``.
        beside: the numbers beside the diagonal, ``(samples, iterations)``; the last one is not in the matrix.
        alive: where the basis is not 0, ``(samples, iterations)``.
    """

    basis: list[Tensor]
    diagonal: Tensor
    beside: Tensor
    alive: Tensor

    def tridiagonal(self, exhausted: Tensor) -> Tensor:
        """The matrix of the operator, with a value on the diagonal where the Krylov space was exhausted."""
        matrix = torch.diag_embed(torch.where(self.alive, self.diagonal, exhausted))
        if len(self.basis) == 1:
            return matrix
        off = torch.diag_embed(self.beside[:, :-1], offset=1)
        return matrix + off + off.mT


def _lanczos(apply: Apply, domain: Domain, start: Tensor, iterations: int) -> _Krylov:
    """Lanczos' iteration with full orthogonalisation; nothing is read back from the device."""
    inside = domain.weights(start) > 0  # values without weight are in no inner product
    unit = _unit(domain, torch.where(inside, start, 0.0))
    basis: list[Tensor] = []
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    alive = [torch.ones(domain.samples, dtype=torch.bool, device=start.device)]
    for _ in range(iterations):
        basis.append(unit)
        image = torch.where(inside, apply(unit), 0.0)
        diagonal.append(domain.inner(unit, image))
        for _ in range(2):  # once is not enough in floating point
            for known in basis:
                image = image - domain.spread(domain.inner(known, image), image) * known
        left = domain.norm(image)
        scale = torch.stack([d.abs() for d in diagonal]).amax(0) + left
        alive.append(alive[-1] & (left > torch.finfo(left.dtype).eps ** 0.75 * scale))
        beside.append(torch.where(alive[-1], left, 0.0))
        unit = torch.where(domain.spread(alive[-1], image), _unit(domain, image), 0.0)
    return _Krylov(basis, torch.stack(diagonal, 1), torch.stack(beside, 1), torch.stack(alive[:-1], 1))


def _unit(domain: Domain, field: Tensor) -> Tensor:
    size = domain.norm(field)
    return field * domain.spread(1 / size.clamp(min=torch.finfo(size.dtype).tiny), field)
