"""Any block that keeps the shape of its input, iterated until it rests."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuralop_irno.base.operator import at_least_float32, check_finite, signature_of
from neuralop_irno.correction.correction import BoundCorrection, Correction
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.parts import build_solver, other_solver
from neuralop_irno.picard.bounds import PicardSolution
from neuralop_irno.solution import Trajectory
from neuralop_irno.solver.gradient import gradient_rule
from neuralop_irno.solver.picard import Picard
from neuralop_irno.solver.solve import LegRunner, no_steps, solve, trajectory_of
from neuralop_irno.solver.stopping import Limits

OF_GRAPHS = ("edge_index", "batch", "pos")
EDGE_WORDS = ("edge_attr", "edge_weight")
"""Networks of PyTorch Geometric say one or the other."""


class PicardNetwork(nn.Module):
    r"""A block T, iterated with shared weights; at rest it solves :math:`\lambda T(u) + f = u`.

    .. math:: u_{k+1} = a \, u_k + (1 - a) \, (\lambda \, T(u_k) + f) \qquad u_0 = x

    It is called as the block is, with whatever else the block takes: on grids and sequences
    ``network(x)``, on graphs ``network(x, edge_index, edge_attr=..., batch=...)``. Every grid and every
    graph of a batch is iterated on its own account.

    Args:
        block: T, any module whose answer is shaped like its first input.
        smoothing: a, at least 0 and below 1. With k the Lipschitz constant of :math:`\lambda T`, a step
            shrinks distances by :math:`a + (1 - a) k` or better.
        steps: how many to take; with a tolerance, how many at most.
        tol: in evaluation, a sample stops when its step is smaller than this part of its state; None takes
            all steps. Training takes all steps that its gradient rule asks for.
        inject: the free function f: True for x itself, a module for what it makes of x, False for none.
        weight: lambda.
        solver: by name or by config; its step size is 1 - a.
        gradient: how gradients cross the loop in training; see `neuralop_irno.solver.gradient`.

    Shapes:
        - x and the answer: ``(B, *S)`` for any S, or ``(N, C)`` on graphs
        - whatever else the block takes has a row for each sample, on graphs for each node; or it is no tensor

    Example:
        >>> block = nn.Linear(4, 4)
        >>> network = PicardNetwork(block, smoothing=0.5, steps=2)
        >>> x = torch.randn(3, 4)
        >>> once = 0.5 * x + 0.5 * block(x)
        >>> torch.allclose(network(x), 0.5 * once + 0.5 * block(once))
        True
    """

    def __init__(
        self,
        block: nn.Module,
        *,
        smoothing: float = 0.5,
        steps: int = 8,
        tol: float | None = None,
        inject: bool | nn.Module = False,
        weight: float = 1.0,
        solver: Any = "picard",
        gradient: Any = "unrolled",
    ) -> None:
        super().__init__()
        if not isinstance(block, nn.Module):
            raise TypeError(expected("a block that is a module", type(block).__name__, "an nn.Module"))
        if not isinstance(smoothing, (int, float)) or not 0 <= smoothing < 1:
            raise ValueError(expected("smoothing at least 0 and below 1", repr(smoothing), "smoothing=0.5"))
        if not isinstance(inject, (bool, nn.Module)):
            raise TypeError(expected("inject as a bool or a module", repr(inject), "inject=True"))
        self._usual = Limits(steps) if tol is None else Limits(rtol=tol, max_steps=steps)
        self.steps, self.tol, self.smoothing, self.weight = steps, tol, smoothing, weight
        self.block = block
        self.inject = inject
        self.solver = build_solver(solver, 1 - smoothing)
        self.gradient = gradient_rule(gradient)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Where the iteration ends.

        Args:
            x: the state to start from.
            args: what else the block takes by position.
            kwargs: what else it takes by keyword.
        """
        phi, start = self._problem(x, args, kwargs)
        run, taken = LegRunner(phi, self.solver), no_steps(phi, start)
        if self.training and self.steps:
            return self.gradient.for_answers()(run, start, taken, self.steps).value
        if self._usual.tolerance:
            return run.settle(start, taken, self._usual)[0]
        return run(start, self.steps, taken=taken).value

    def trajectory(self, x: Tensor, *args: Any, **kwargs: Any) -> Trajectory:
        """The iterates that carry a gradient, as losses on an iteration read them.

        `ContractionLoss` reads it: ``loss(network.trajectory(x), x)``, and ``trajectory.last`` is the answer.
        """
        phi, start = self._problem(x, args, kwargs)
        leg = self.gradient.for_answers()(
            LegRunner(phi, self.solver), start, no_steps(phi, start), max(self.steps, 1)
        )
        return trajectory_of(leg, self.steps, phi, self.solver, _as_it_is, _as_it_is)

    @torch.no_grad()
    def solve(
        self,
        x: Tensor,
        *args: Any,
        solver: Any = None,
        steps: int | None = None,
        max_steps: int | Tensor | None = None,
        max_evaluations: int | None = None,
        atol: float = 0.0,
        rtol: float | Tensor = 0.0,
        lipschitz: float | None = None,
        throw: bool = False,
        **kwargs: Any,
    ) -> PicardSolution:
        """Where the iteration ends, with an account of how each sample got there, and Banach's bounds.

        Args:
            x: the state to start from.
            args: what else the block takes by position.
            solver: another solver than the network's own. Banach's bounds are those of plain Picard steps:
                with any other they are inf, and ``error_bound`` is what there is.
            steps: take so many, without a tolerance; by default the network's own way to stop.
            max_steps: with a tolerance, how many at most.
            max_evaluations: of the block, counted in samples over the whole batch.
            atol: a sample has converged when its step is smaller than ``atol + rtol |u|``.
            rtol: see atol.
            lipschitz: a bound on the Lipschitz constant of T, where it is known: the bounds hold then.
                Otherwise they rest on the contraction that was observed.
            throw: raise if a sample ended badly, rather than mark it.
            kwargs: what else the block takes by keyword.
        """
        if lipschitz is not None and not lipschitz >= 0:
            raise ValueError(expected("lipschitz >= 0", lipschitz, "lipschitz_bound(block)"))
        limits = Limits(steps, max_steps, max_evaluations, atol, rtol)
        if steps is None and not limits.tolerance:
            limits = self._usual
        phi, start = self._problem(x, args, kwargs)
        chosen = other_solver(solver, self.solver)
        solution = solve(phi, start, chosen, self.steps, limits, _as_it_is)
        factor = None if lipschitz is None else self.factor(lipschitz)
        plain = type(chosen) is Picard
        bounded = PicardSolution.of(solution, factor if plain else torch.inf)
        return bounded.or_raise() if throw else bounded

    def factor(self, lipschitz: float) -> float:
        """By how much a step shrinks distances where T has this Lipschitz constant."""
        return self.smoothing + (1 - self.smoothing) * abs(self.weight) * lipschitz

    def _problem(
        self, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[BoundCorrection, Tensor]:
        """One call, laid out for the iteration: u -> lambda T(u) + f - u, and where it starts."""
        given = self._arguments(x, args, kwargs)
        start = at_least_float32(x)
        check_finite(start, "x")
        domain: Domain = GridDomain.of(start)
        edge_words = [name for name in EDGE_WORDS if given.get(name) is not None]
        if "edge_index" in given or "batch" in given:
            known = {**given, "edge_attr": given[edge_words[0]] if edge_words else None}
            domain = GraphDomain.of(start, known)
        free = self.inject(start) if isinstance(self.inject, nn.Module) else start if self.inject else None
        others = {name: value for name, value in given.items() if name not in (*OF_GRAPHS, *EDGE_WORDS)}
        graph_words = tuple(name for name in given if name in (*OF_GRAPHS, *edge_words))
        call = _Call(free, domain, graph_words, tuple(others), tuple(others.values()))
        return BoundCorrection(_FixedPointMap(self.block, self.weight), call, domain), start

    def _arguments(self, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What the block is given besides its state, by name."""
        parameters = signature_of(self.block).parameters.values()
        named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)][1:]
        if len(args) > len(named):
            got = f"{len(args)} without names"
            raise TypeError(expected(f"at most {len(named)} arguments after x", got, "name=value"))
        known = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        for name in kwargs:
            if not takes_any and name not in known[1:]:
                what = f"an argument of {type(self.block).__name__}"
                raise TypeError(expected(what, repr(name), did_you_mean(name, known[1:])))
        return {**dict(zip(named, args, strict=False)), **kwargs}


class _Call(NamedTuple):
    """What the block is told in one call.

    Attributes:
        free: f, or None.
        domain: where the state lives.
        graph_words: what of the domain it is told, under which names.
        names: of what else it is told.
        values: the same, in this order.
    """

    free: Tensor | None
    domain: Domain
    graph_words: tuple[str, ...]
    names: tuple[str, ...]
    values: tuple[Any, ...]

    def words(self) -> dict[str, Any]:
        """Everything, by name."""
        found = dict(zip(self.names, self.values, strict=True))
        domain = self.domain
        if isinstance(domain, GraphDomain):
            own = {"batch": domain.batch, "pos": domain.pos}
            if "edge_index" in self.graph_words:
                own["edge_index"] = domain.edges.index
                own |= dict.fromkeys(EDGE_WORDS, domain.edges.attr)
            found |= {name: own[name] for name in self.graph_words}
        return found


class _FixedPointMap(Correction):
    r"""What a solver drives to zero: :math:`\lambda T(u) + f - u`.

    Args:
        block: T.
        weight: lambda.
    """

    def __init__(self, block: nn.Module, weight: float) -> None:
        super().__init__()
        self.block, self.weight = block, weight

    def forward(self, x: _Call, h: Tensor) -> Tensor:
        image = self.block(h, **x.words())
        if not isinstance(image, Tensor) or image.shape != h.shape:
            got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            wanted = f"a block whose answer is shaped like its input {tuple(h.shape)}"
            raise ValueError(expected(wanted, got, "an encoder before it and a decoder behind"))
        free = 0 if x.free is None else x.free
        update: Tensor = self.weight * image + free - h
        return update


def _as_it_is(field: Tensor) -> Tensor:
    return field
