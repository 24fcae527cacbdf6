"""Newton's method whose linear systems are solved by flexible GMRES, without a matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.annotations import as_whole
from neuralop_irno.equations.equation import BoundEquation, Map
from neuralop_irno.equations.linearised import LinearisedEquation
from neuralop_irno.errors import expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solution import Outcome, unchanged
from neuralop_irno.solver.fgmres import FGMRES
from neuralop_irno.solver.krylov import EquationSolver, KrylovState, system_of
from neuralop_irno.solver.preconditioner import Preconditioner, PreconditionerLike
from neuralop_irno.solver.solver import Phi
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

FIRST, LARGEST, GAMMA = 0.5, 0.9, 0.9
"""Forcing of the first step, the largest one, and the factor of the squared ratio of residuals."""

SMALLEST = 1e-10
"""Forcing of linear equations, and the smallest one of others, where there is no tolerance to meet."""

MARGIN = 0.5
"""A linear system is not solved to less than this share of what the tolerance of the equation leaves."""

DECREASE, HALVINGS = 1e-4, 30
"""Least share of the decrease that the linear system predicts, and how often a step is halved to find it."""


@dataclass(frozen=True)
class NewtonState(KrylovState):
    """The state of `NewtonKrylov`.

    Attributes:
        size: the norm of the residual at the last iterate, ``(samples,)``.
        forcing: eta of the last step, ``(samples,)``.
        stuck: the samples for which no part of the last step makes the residual smaller, ``(samples,)``.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = KrylovState.PER_SAMPLE | {"size", "forcing", "stuck"}

    size: Tensor
    forcing: Tensor
    stuck: Tensor

    @property
    def ends(self) -> dict[Outcome, Tensor]:
        return {Outcome.STALLED: self.stuck}


@SOLVERS.register("newton_krylov")
class NewtonKrylov(EquationSolver):
    r"""Newton's method for any equation r(x, h) = 0, with the linear systems solved by `FGMRES`.

    .. math:: \| r_k - A_k d_k \| \le \eta_k \| r_k \| \qquad h_{k+1} = h_k + t_k d_k \qquad
              A_k = -\frac{\partial r}{\partial h}(x, h_k)

    for each sample on its own. A step of this solver is one step of Newton; evaluations are those of the
    preconditioner, M r = Phi(x, h_k, r), in the linear systems. A is never formed: products with it are
    backward passes through one evaluation of r. The ``max_evaluations`` of a solve are looked at between two
    steps: the last one may exceed them by ``inner_steps`` of each sample.

    :math:`\eta_k = 0.9 \, (\|r_k\| / \|r_{k-1}\|)^2` keeps the convergence quadratic and does not solve
    systems more exactly than their linearisation is (choice 2 of Eisenstat and Walker (1996), with its
    safeguard, https://doi.org/10.1137/0917003). It is never below half of what the tolerance needs; a linear
    equation is solved to the tolerance in one step. The step is halved until the residual falls by 1e-4 of
    the predicted decrease. A sample for which no step does ends as stalled: at a minimum of :math:`\|r\|`, or
    at its rounding. Knoll and Keyes (2004), https://doi.org/10.1016/j.jcp.2003.08.010.

    Args:
        preconditioner: of A_k: ``phi`` (the correction of the model), another name, a config or an object.
        restart: steps of a cycle of `FGMRES`.
        forcing: eta, the same in all steps; None: by the rule above.
        inner_steps: largest number of evaluations of the preconditioner in one step of Newton.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> from neuralop_irno.equations.equation import Equation
        >>> x = torch.tensor([[[2.0, 10.0]]], dtype=torch.float64)
        >>> system = System(Equation(lambda x, h: x - h - h**3).bind(x, GridDomain.of(x)))
        >>> solver, start = NewtonKrylov("identity"), torch.zeros_like(x)
        >>> solution = solve_equation(system, solver, start, 4, Limits(rtol=1e-12), unchanged)
        >>> solution.value.round(decimals=9)
        tensor([[[1., 2.]]], dtype=torch.float64)
    """

    patience = 40

    def __init__(
        self,
        preconditioner: PreconditionerLike = "phi",
        restart: int = 30,
        forcing: float | None = None,
        inner_steps: int = 300,
    ) -> None:
        super().__init__(preconditioner)
        self._inner = FGMRES(Given(), restart)
        self.restart = self._inner.restart
        self._inner.patience = 2 * self.restart  # a cycle, and one without the preconditioner
        if forcing is not None and not 0 < forcing < 1:
            raise ValueError(expected("0 < forcing < 1", repr(forcing), "forcing=0.1"))
        steps = as_whole(inner_steps)
        if steps is None or steps < 1:
            raise ValueError(expected("inner_steps >= 1", repr(inner_steps), "inner_steps=300"))
        self.forcing, self.inner_steps = forcing, steps

    def init(self, h: Tensor, taken: Tensor) -> NewtonState:
        size = h.new_full(taken.shape, torch.inf)
        return NewtonState(
            **NewtonState.nothing(h, taken), size=size, forcing=torch.zeros_like(size),
            stuck=torch.zeros_like(taken).bool(),
        )  # fmt: skip

    def step(self, phi: Phi, h: Tensor, state: NewtonState) -> tuple[Tensor, NewtonState]:
        system = system_of(phi)
        r = system.physics(h)
        size = system.domain.norm(r)
        forcing = self._forcing(state, size, system.physics.linear)
        linear = LinearisedEquation(system.physics, h, r)
        # A system of its own: what a preconditioner prepared at the last state does not hold at this one.
        here = System(system.physics, system.learned, system.domain)
        inner = System(linear, AtState(self.preconditioner, here, h), system.domain)
        limits = Limits(rtol=forcing, max_steps=self.inner_steps)
        solved = solve_equation(inner, self._inner, torch.zeros_like(h), 0, limits, unchanged)
        assert solved.equation_residual is not None
        assert solved.replaced is not None
        d = system.physics.project(solved.value)
        h, r, moved = _decreasing(system, h, d, r, size, 1 - solved.equation_residual)
        state = replace(
            state,
            taken=state.taken + 1,
            at=h,
            residual=r,
            replaced=state.replaced + solved.replaced,
            spent=solved.steps,
            size=size,
            forcing=forcing,
            stuck=~moved,
        )
        return h, state

    def _forcing(self, state: NewtonState, size: Tensor, linear: bool) -> Tensor:
        """eta of each sample, ``(samples,)``."""
        share = MARGIN * state.target / torch.where(size > 0, size, 1.0)
        least = torch.where((share > 0) & (size > 0), share, SMALLEST)
        if linear:
            eta = least
        elif self.forcing is not None:
            eta = torch.full_like(size, self.forcing)
        else:
            eta, before = GAMMA * (size / state.size) ** 2, GAMMA * state.forcing**2
            eta = torch.where(before > 0.1, torch.maximum(eta, before), eta)
            eta = torch.where(state.size.isfinite(), eta, FIRST)
        return torch.maximum(eta, least).nan_to_num(LARGEST).clamp(max=LARGEST)


class Given(Preconditioner):
    """What stands in the system in place of Phi, as it is."""

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        assert system.learned is not None
        return system.learned(h, r)


class AtState:
    """A preconditioner at one state of the equation, for the linear system there.

    Args:
        preconditioner: of the equation.
        system: the equation.
        h: the state.
    """

    def __init__(self, preconditioner: Preconditioner, system: System, h: Tensor) -> None:
        self._preconditioner, self._system, self._h = preconditioner, system, h

    def __call__(self, h: Tensor, r: Tensor) -> Tensor:
        return self._preconditioner.of(self._system, self._h, r)

    def select(self, keep: Tensor) -> AtState:
        """The same for the samples ``keep`` only."""
        h = self._system.domain.take(self._h, keep)
        return AtState(self._preconditioner, self._system.select(keep), h)

    def on(self, equation: BoundEquation, carry: Map) -> AtState:
        """Not defined: the preconditioner has grids of its own."""
        raise NotImplementedError("a preconditioner at one state is not carried to another grid")


def _decreasing(
    system: System, h: Tensor, d: Tensor, r: Tensor, size: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """h + t d with the largest t = 1, 1/2, 1/4, .. that makes the residual smaller, for each sample.

    Args:
        system: the equation.
        h: the iterate.
        d: the step.
        r: the residual at h.
        size: its norm, ``(samples,)``.
        gain: the share of it that the linear system takes away with t = 1, ``(samples,)``.

    Returns:
        the point, the residual there, and for which samples there is one, ``(samples,)``; h for the others.
    """
    domain = system.domain
    share, found = torch.ones_like(size), torch.zeros_like(size).bool()
    point, residual = h, r
    for _ in range(HALVINGS + 1):
        trial = h + domain.spread(share, h) * d
        left = system.physics(trial)
        # Strictly: with a singular A the step may be zero.
        falls = domain.norm(left) < (1 - DECREASE * share * gain.clamp(min=0)) * size
        good = ~found & (falls | (size == 0))
        mask = domain.spread(good, h)
        point, residual = torch.where(mask, trial, point), torch.where(mask, left, residual)
        found, share = found | good, share / 2
        if found.all():
            break
    return point, residual, found
