"""Equations that a field h solves for an input x: `Equation` by a residual, `LinearEquation` by A and b."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.annotations import hint_of_choice
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected, shown
from neuralop_irno.linearisation import Linearisation
from neuralop_irno.printed import PrintedAsCall
from neuralop_irno.registry import EQUATIONS, given_by_name, named

Map = Callable[[Tensor], Tensor]
OfBoth = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Functions:
    """The functions of an equation for one x, on fields laid out like h.

    Attributes:
        residual: h -> r(x, h).
        apply: v -> A v of a linear equation, where r = b - A h; None for a nonlinear one.
        diagonal: the diagonal of A, laid out like h or broadcast to it; None if it is not known.
        project: the orthogonal projector on the fields that h may change by; None if h may change by any.
        lift: sets the values of h that are given, as on a boundary; None if there are none.
        stability: c > 0 with <A v, v> >= c |v|^2 for all v that h may change by, proved, a scalar or
            ``(samples,)``; for a symmetric positive definite A at most its smallest eigenvalue. None if none
            is known.
    """

    residual: Map
    apply: Map | None = None
    diagonal: Tensor | None = None
    project: Map | None = None
    lift: Map | None = None
    stability: Tensor | None = None


class Equation(PrintedAsCall):
    r"""An equation r(x, h) = 0 for h, by any function of tensors that autograd differentiates.

    .. math:: r(x, h) = 0 \qquad A(h) = -\frac{\partial r}{\partial h}

    Values on a boundary are given by ``fixed`` and ``values``: a solve starts with them (lifting), and
    changes h elsewhere only (projection). The function is called with fields in double precision.

    Subclasses whose residual depends on the grid override `functions`.

    Args:
        residual: (x, h) -> r, laid out like h.
        fixed: x -> True where h is given, a field with one channel or as many as h; None: h is given nowhere.
        values: x -> h where it is given; zero by default.

    Shapes:
        - x: ``(B, C, *S)`` on grids, ``(N, C)`` on points; h and r likewise

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> root = Equation(lambda x, h: x - h**2)
        >>> x = torch.full((1, 1, 3), 4.0)
        >>> root.bind(x, GridDomain.of(x))(2 * torch.ones_like(x)).abs().max().item()
        0.0
    """

    linear = False
    _built_from: Any
    symmetric: bool | None = None
    definite: bool | None = None
    channels: int | None = None  # of h; None: any number

    def __init__(
        self,
        residual: OfBoth,
        *,
        fixed: Map | None = None,
        values: Map | None = None,
    ) -> None:
        for name, function in (("residual", residual), ("fixed", fixed), ("values", values)):
            if function is not None and not callable(function):
                wanted = f"{name} as a function"
                raise TypeError(
                    expected(
                        wanted, shown(function), "lambda x, h: ..." if name == "residual" else "lambda x: ..."
                    )
                )
        if values is not None and fixed is None:
            raise ValueError(
                expected("fixed beside values", "values alone", "fixed=lambda x: ..., where h is given")
            )
        self.residual, self.fixed, self.values = residual, fixed, values

    def functions(self, x: Tensor, domain: Domain) -> Functions:
        """The functions of the equation for one x."""
        project, lift = self.constraints(x)
        return Functions(lambda h: self.residual(x, h), project=project, lift=lift)

    def constraints(self, x: Tensor) -> tuple[Map | None, Map | None]:
        """``project`` and ``lift`` of `Functions`, by ``fixed`` and ``values``; None without them."""
        if self.fixed is None:
            return None, None
        fixed, values = self.fixed(x).bool(), self.values
        given = None if values is None else values(x)

        def lift(h: Tensor) -> Tensor:
            return torch.where(fixed, h.new_zeros(()) if given is None else given.to(h), h)

        return lambda v: torch.where(fixed, 0, v), lift

    def bind(self, x: Tensor, domain: Domain, mask: Tensor | None = None) -> BoundEquation:
        """The equation for one x.

        Args:
            x: the input, on the domain of h.
            domain: of x and h.
            mask: True where h may change, laid out like a field with one channel; None: everywhere.
        """
        return BoundEquation(self, x, domain, mask)


class LinearEquation(Equation):
    r"""A linear equation A(x) h = b(x).

    Args:
        apply: (x, v) -> A v, linear in v.
        rhs: x -> b.
        symmetric: whether A is symmetric in the plain inner product (the sum of products of all values);
            None: probed where a solver needs to know.
        definite: whether <v, A v> > 0 for all v that h may change by; None: probed likewise.
        diagonal: x -> the diagonal of A; None if it is not known.
        stability: c > 0 with <A v, v> >= c |v|^2 for all v and x, such as the smallest eigenvalue of a
            symmetric positive definite A. The error is then at most |r| / c, which is the
            `Solution.error_bound`. None if it is not known.
        fixed: as in `Equation`.
        values: as in `Equation`.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> twice = LinearEquation(apply=lambda x, v: 2 * v, rhs=lambda x: x, symmetric=True, definite=True)
        >>> x = torch.ones(1, 1, 4)
        >>> twice.bind(x, GridDomain.of(x))(torch.zeros_like(x))
        tensor([[[1., 1., 1., 1.]]])
    """

    linear = True

    def __init__(
        self,
        apply: OfBoth,
        rhs: Map,
        *,
        symmetric: bool | None = None,
        definite: bool | None = None,
        diagonal: Map | None = None,
        stability: float | None = None,
        fixed: Map | None = None,
        values: Map | None = None,
    ) -> None:
        check_stated(symmetric=symmetric, definite=definite)
        if stability is not None and not (isinstance(stability, Real) and 0 < stability < math.inf):
            got = shown(stability)
            raise ValueError(expected("a stability constant above 0 and finite", got, "stability=None"))
        for name, function in (("apply", apply), ("rhs", rhs), ("diagonal", diagonal)):
            if function is not None and not callable(function):
                raise TypeError(
                    expected(f"{name} as a function", shown(function), f"{name}=lambda x, ...: ...")
                )
        super().__init__(lambda x, h: rhs(x) - apply(x, h), fixed=fixed, values=values)
        self.apply, self.rhs, self.diagonal = apply, rhs, diagonal
        self.symmetric, self.definite, self.stability = symmetric, definite, stability

    def functions(self, x: Tensor, domain: Domain) -> Functions:
        b = self.rhs(x)
        diagonal = None if self.diagonal is None else self.diagonal(x)
        project, lift = self.constraints(x)
        return Functions(
            residual=lambda h: b - self.apply(x, h),
            apply=lambda v: self.apply(x, v),
            diagonal=diagonal,
            project=project,
            lift=lift,
            stability=None if self.stability is None else torch.tensor(self.stability, dtype=torch.float64),
        )

    @staticmethod
    def of_matrix(
        matrix: Any,
        b: Any = None,
        *,
        fixed: Any = None,
        values: Any = None,
        symmetric: bool | None = None,
        definite: bool | None = None,
    ) -> LinearEquation:
        r"""The equation A h = b with an assembled sparse matrix, as of scipy or scikit-fem.

        Rows are numbered like the nodes of a sample, or like the points of a grid, the last axis fastest. The
        matrix is that of every sample; for samples of different sizes or with their own matrices give a
        function, which is called again with the samples that are not solved yet.

        Args:
            matrix: A, ``(N, N)``, of scipy.sparse, numpy or torch (dense, COO, CSR), or (x, domain) -> the
                matrix of all values of a batch, block-diagonal.
            b: N numbers, or x -> b; None: channel 0 of x.
            fixed: where h is given: a mask ``(N,)``, or numbers of rows, as from ``basis.get_dofs()``; or a
                function as in `Equation`.
            values: h there: N numbers, or x -> h; zero by default.
            symmetric: as in `LinearEquation`.
            definite: as in `LinearEquation`.

        Shapes:
            - x: ``(B, C, *S)`` on grids, ``(N, C)`` on points; h: the same with one channel

        Example:
            >>> import scipy.sparse as sp
            >>> from neuralop_irno.domain.graph import GraphDomain
            >>> chain = sp.diags_array([[-1.0] * 2, [2.0] * 3, [-1.0] * 2], offsets=[-1, 0, 1])
            >>> x = torch.ones(3, 1)
            >>> LinearEquation.of_matrix(chain).bind(x, GraphDomain.of(x, {}))(x).flatten()
            tensor([0., 1., 0.])
        """
        from neuralop_irno.equations.matrices import MatrixEquation  # a subclass of this class

        return MatrixEquation(matrix, b, fixed=fixed, values=values, symmetric=symmetric, definite=definite)


def check_stated(**properties: bool | None) -> None:
    """Raise TypeError for a property of A, by name, that is neither True, False nor None."""
    for name, value in properties.items():
        if not (value is None or isinstance(value, bool)):
            hint = hint_of_choice(name, value, f"{name}=None")
            raise TypeError(expected(f"{name} as True, False or None", shown(value), hint))


class BoundEquation:
    """An equation for one x: h -> r(x, h), with the products A v.

    Args:
        equation: the equation.
        x: the input.
        domain: of x and h.
        mask: True where h may change; None: everywhere.

    Attributes:
        domain: of x and h.
        linear: whether A does not depend on h.
        diagonal: the diagonal of A, or None.
        stability: of `Functions`; it also holds for the part of A that a mask leaves.
    """

    def __init__(self, equation: Equation, x: Tensor, domain: Domain, mask: Tensor | None = None) -> None:
        self.equation, self.x, self.domain, self.mask = equation, x, domain, mask
        self._functions = equation.functions(x, domain)
        self.linear = equation.linear
        self.diagonal, self.stability = self._functions.diagonal, self._functions.stability

    def __call__(self, h: Tensor) -> Tensor:
        """The residual r(x, h), zero where h may not change."""
        if (channels := self.equation.channels) is not None and h.shape[1] != channels:
            wanted = f"h with {channels} channel for {type(self.equation).__name__}"
            hint = "out_channels=1, or LinearEquation(..) of all channels"
            raise ValueError(expected(wanted, h.shape[1], hint))
        residual = self._functions.residual(h)
        if not isinstance(residual, Tensor) or residual.shape != h.shape:
            got: Any = tuple(residual.shape) if isinstance(residual, Tensor) else type(residual).__name__
            wanted = f"a residual laid out like h, {tuple(h.shape)}"
            raise ValueError(expected(wanted, got, "an equation for each channel of h at each point"))
        return self.project(residual)

    def apply(self, v: Tensor) -> Tensor:
        """A v of a linear equation."""
        if self._functions.apply is None:
            got = f"{type(self.equation).__name__}, which is not stated to be linear"
            raise ValueError(expected("a LinearEquation", got, "solver='newton_krylov'"))
        return self.project(self._functions.apply(v))

    def linearised(self, h: Tensor) -> Map:
        """v -> A(h) v with A = -dr/dh, by two backward passes, or `apply` of a linear equation."""
        if self._functions.apply is not None:
            return self.apply
        jacobian = Linearisation(self, h)
        return lambda v: -self.project(jacobian.push(self.project(v)))

    def project(self, v: Tensor) -> Tensor:
        """The orthogonal projection on the fields that h may change by."""
        if self._functions.project is not None:
            v = self._functions.project(v)
        return v if self.mask is None else torch.where(self.mask, v, 0)

    def by_diagonal(self, r: Tensor) -> Tensor:
        """D^{-1} r with the diagonal D of A, in units of h; r itself where D is not known."""
        return r if self.diagonal is None else r / self.diagonal

    def lift(self, h: Tensor) -> Tensor:
        """h with the values that are given, as on a boundary."""
        return h if self._functions.lift is None else self._functions.lift(h)

    def select(self, keep: Tensor) -> BoundEquation:
        """The equation of the samples ``keep`` only."""
        mask = None if self.mask is None else self.domain.take(self.mask, keep)
        return self.equation.bind(self.domain.take(self.x, keep), self.domain.select(keep), mask)


EquationLike = Equation | Mapping[str, Any] | str
"""An equation, its config, or its name."""


def equation_from(spec: EquationLike) -> Equation:
    """An equation from its name or config; an object is returned unchanged."""
    built = EQUATIONS.build(spec) if given_by_name(spec) else spec
    if given_by_name(spec) and isinstance(built, Equation):
        built._built_from = named(spec)  # read by the config of a refiner
    if not isinstance(built, Equation):
        hint = "irno.Equation(residual=lambda x, h: ...), or a name"
        raise TypeError(expected("an equation", type(built).__name__, hint))
    return built
