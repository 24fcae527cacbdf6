"""Neural integral and integro-differential equations, by quadrature, as blocks of a `PicardNetwork`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from neuralop_irno.errors import check_least, expected


@dataclass(frozen=True)
class Quadrature:
    r"""Nodes of a box, and for each node the weights of an integral over the box, or over its past.

    .. math:: \int u(q) \, dq \approx \sum_j w_{ij} \, u(q_j) \qquad
              \text{causal:} \quad \int_0^{t_i} u(s) \, ds \approx \sum_j w_{ij} \, u(s_j)

    The product ``space * time`` is the rule on space and time; time is the last axis.

    Attributes:
        positions: the nodes, ``(N, d)``, in float64.
        weights: ``(N, N)``; for an integral over the box all rows are equal.

    Example:
        >>> rule = Quadrature.gauss_legendre(4) * Quadrature.gauss_legendre(5, causal=True)
        >>> x, t = rule.positions.T
        >>> torch.allclose(rule.weights @ (x**3 * t**2), t**3 / 12)  # over all of x, and s below t
        True
    """

    positions: Tensor
    weights: Tensor

    def __mul__(self, other: Quadrature) -> Quadrature:
        mine = self.positions.repeat_interleave(len(other.positions), 0)
        positions = torch.cat([mine, other.positions.repeat(len(self.positions), 1)], 1)
        return Quadrature(positions, torch.kron(self.weights, other.weights))

    @classmethod
    def gauss_legendre(cls, points: int, *, causal: bool = False) -> Quadrature:
        """The Gauss-Legendre rule on [0, 1]: exact for polynomials of degree 2 ``points`` - 1.

        Args:
            points: number of nodes, all inside of the interval.
            causal: integrate from 0 to each node the polynomial through all nodes; exact for degrees below
                ``points``.
        """
        check_least(1, 16, points=points)
        nodes, row = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(points))
        weights = row.expand(points, points)
        if causal:
            values = torch.from_numpy(np.polynomial.legendre.legvander(nodes.numpy(), points))
            # From -1 to x, P_k integrates to (P_{k+1} - P_{k-1}) / (2 k + 1), and P_0 to P_1 + 1.
            below = torch.cat([-torch.ones_like(values[:, :1]), values[:, : points - 1]], 1)
            weights = 0.5 * (values[:, 1:] - below) @ (values[:, :points] * row[:, None]).T
        return cls((nodes[:, None] + 1) / 2, weights / 2)

    @classmethod
    def trapezoid(cls, points: int, *, causal: bool = False) -> Quadrature:
        """The trapezoidal rule on [0, 1], with an error of the second order.

        Args:
            points: number of equidistant nodes, the ends included.
            causal: integrate from 0 to each node.
        """
        check_least(2, 16, points=points)
        nodes = torch.linspace(0, 1, points, dtype=torch.float64)
        weights = torch.ones(points, points, dtype=torch.float64)
        if causal:
            weights = weights.tril() - 0.5 * torch.eye(points, dtype=torch.float64)
        else:
            weights[:, -1] -= 0.5
        weights[:, 0] -= 0.5
        return cls(nodes[:, None], weights / (points - 1))

    @classmethod
    def monte_carlo(
        cls, points: int, dim: int = 1, *, causal: bool = False, generator: torch.Generator | None = None
    ) -> Quadrature:
        """Random nodes in the unit box with equal weights; the error falls like the root of their number.

        Args:
            points: number of nodes.
            dim: axes of the box, time included.
            causal: integrate over the nodes that are not later than each node, on the last axis.
            generator: source of the nodes.
        """
        check_least(1, 16, points=points, dim=dim)
        nodes = torch.rand(points, dim, dtype=torch.float64, generator=generator)
        weights = torch.full((points, points), 1 / points, dtype=torch.float64)
        return cls(nodes, weights * (nodes[:, -1] <= nodes[:, -1:]) if causal else weights)


class KernelNetwork(nn.Module):
    r"""A perceptron as the integrand G(y(q), p, q) of an integral equation.

    Args:
        channels: channels of y.
        dim: coordinates of a node, time included.
        width: width of its hidden layer.

    Shapes:
        - y: ``(B, 1, N, channels)``, p: ``(N, 1, dim)``, q: ``(1, N, dim)``
        - returns: ``(B, N, N, channels)``

    Example:
        >>> network = KernelNetwork(channels=2, dim=1, width=8)
        >>> nodes = torch.rand(5, 1)
        >>> network(torch.zeros(3, 1, 5, 2), nodes[:, None], nodes[None]).shape
        torch.Size([3, 5, 5, 2])
    """

    def __init__(self, channels: int, dim: int, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels + 2 * dim, width), nn.Tanh(), nn.Linear(width, channels)
        )

    def forward(self, y: Tensor, p: Tensor, q: Tensor) -> Tensor:
        shape = (len(y), len(p), q.shape[1])
        return self.layers(torch.cat([part.expand(*shape, -1) for part in (y, p, q)], -1))


class NIE(nn.Module):
    r"""Neural integral equation: the operator T, whose fixed points :math:`y = T(y) + f` are its solutions.

    .. math:: T(y)(p) = F(y(p), p) + \int G(y(q), p, q) \, dq, \qquad p = (x, t), \quad q = (z, s)

    G is any module, a network say. Iterated by `PicardNetwork`, with f as x and ``inject=True``. The weights
    do not depend on the quadrature rule, which is passed in each call and may change after training. A causal
    rule makes it a Volterra equation, otherwise it is one of Fredholm's. From "Neural integral
    equations" (https://arxiv.org/abs/2209.15190) and "Operator learning meets numerical analysis"
    (https://arxiv.org/abs/2310.01618), appendix B.4.

    Args:
        kernel: G, called with (y, p, q) of shapes that broadcast to ``(B, N, N, C)``; see `KernelNetwork`.
        local: F, called with (y, p); None for 0.

    Shapes:
        - y and the result: ``(B, N, C)``, values at the N nodes of the rule

    Example:
        >>> from neuralop_irno import PicardNetwork
        >>> class Past(nn.Module):
        ...     def forward(self, y, p, q):
        ...         return y
        >>> rule = Quadrature.gauss_legendre(12, causal=True)
        >>> network = PicardNetwork(NIE(Past()), smoothing=0.0, inject=True).eval()
        >>> one = torch.ones(1, 12, 1, dtype=torch.float64)  # y = 1 + the integral of y from 0 to t
        >>> y = network.solve(one, rule, atol=1e-12).value
        >>> torch.allclose(y[0], rule.positions.exp())
        True
    """

    def __init__(self, kernel: nn.Module, local: nn.Module | None = None) -> None:
        super().__init__()
        self.kernel, self.local = kernel, local

    def forward(self, y: Tensor, rule: Quadrature) -> Tensor:
        nodes = rule.positions.to(y)
        if y.dim() != 3 or y.shape[1] != len(nodes):
            wanted = f"values (B, {len(nodes)}, C) at the nodes of the rule"
            raise ValueError(expected(wanted, tuple(y.shape), "f sampled at rule.positions"))
        each = self.kernel(y[:, None], nodes[:, None], nodes[None])
        each = each.expand(len(y), len(nodes), len(nodes), y.shape[-1])
        integral = torch.einsum("ij,bijc->bic", rule.weights.to(y), each)
        return integral if self.local is None else integral + self.local(y, nodes)


class NIDE(nn.Module):
    r"""Neural integro-differential equation: its solutions are the fixed points of :math:`y = T(y) + y_0`.

    .. math:: \frac{\partial y}{\partial t} = F(y, p) + \int G(y(q), p, q) \, dq, \qquad
              T(y)(x, t) = \int_0^t \frac{\partial y}{\partial t}(x, s) \, ds

    The step of the differential solver is the integral over time, by a causal rule. Iterated by
    `PicardNetwork`, with the initial values y_0 at all nodes as x, and ``inject=True``.

    Args:
        kernel: G, as of `NIE`.
        local: F, as of `NIE`.

    Shapes:
        - y and the result: ``(B, N, C)``, values at the N nodes of the rule

    Example:
        >>> from neuralop_irno import PicardNetwork
        >>> class Past(nn.Module):
        ...     def forward(self, y, p, q):
        ...         return -y
        >>> time = Quadrature.gauss_legendre(12, causal=True)
        >>> network = PicardNetwork(NIDE(Past()), smoothing=0.0, inject=True).eval()
        >>> one = torch.ones(1, 12, 1, dtype=torch.float64)  # y' = - the integral of y from 0 to t
        >>> y = network.solve(one, time, time, atol=1e-12).value
        >>> torch.allclose(y[0], time.positions.cos())
        True
    """

    def __init__(self, kernel: nn.Module, local: nn.Module | None = None) -> None:
        super().__init__()
        self.rate = NIE(kernel, local)

    def forward(self, y: Tensor, rule: Quadrature, time: Quadrature) -> Tensor:
        """The integral of the rate over time.

        Args:
            y: values at the nodes of ``rule``.
            rule: the rule of the integral, over time or ``space * time``.
            time: a causal rule with the same nodes of time.
        """
        moments = time.positions[:, 0]
        if len(rule.positions) % len(moments) or not torch.equal(
            rule.positions[:, -1], moments.repeat(len(rule.positions) // len(moments))
        ):
            wanted = "a rule of time with the nodes of the last axis of the other"
            raise ValueError(expected(wanted, f"{len(moments)} nodes", "rule = space * time"))
        rate = self.rate(y, rule).unflatten(1, (-1, len(moments)))
        return torch.einsum("ts,bxsc->bxtc", time.weights.to(y), rate).flatten(1, 2)
