"""One call of a model, with its input, time and further arguments, for all samples or for some."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.base.layout import AS_IT_STANDS
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.points import PointOperator
from neuralop_irno.base.pyg import repeated_graph
from neuralop_irno.base.signatures import unwrapped
from neuralop_irno.base.tuples import refuse_tuple
from neuralop_irno.domain.check import PARTS
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.rollouts.rows import repeated_rows, some_graphs, some_rows
from neuralop_irno.solution import Solution, Trajectory
from neuralop_irno.solver.krylov import EquationSolver

Times = Mapping[str, Tensor | float]


class Caller:
    """A model with its arguments besides the input and the time.

    Args:
        model: an `IterativeRefiner`, any other module, or a callable.
        domain: where the frames live.
        graph: of PyTorch Geometric; its x is replaced by the input.
        given: further arguments, by name.
        autocast: the precision to compute in; by default nothing is changed.
        axes: of a frame.
        per_sample: names of arguments with a row for each sample; see `some_rows`.
        frames: the numbers of frames in x and in the answer of a call. Fields here have them joined on
            channels, ``(B, T * C, *S)`` on grids; they are laid out as the base has them for each call.
    """

    def __init__(
        self,
        model: Any,
        domain: Domain,
        graph: Any = None,
        given: Mapping[str, Any] | None = None,
        autocast: torch.dtype | None = None,
        axes: int = 2,
        per_sample: Collection[str] = (),
        frames: tuple[int, int] = (1, 1),
    ) -> None:
        if not callable(model):
            raise TypeError(expected("a model that can be called", type(model).__name__, "an nn.Module"))
        self.model, self.domain, self.graph, self.given = model, domain, graph, dict(given or {})
        self._autocast, self._axes, self._per_sample = autocast, axes, per_sample
        inner = unwrapped(model) if isinstance(model, torch.nn.Module) else model
        self.refiner = inner if isinstance(inner, IterativeRefiner) else None
        # Not frozen: weights and mode of the model are not changed.
        self._call = model if self.refiner else wrap_operator(model, frozen=False)
        self._base: BaseOperator = self.refiner.base if self.refiner else self._call
        refuse_tuple(self._base, "a rollout, whose frames are answers and inputs")
        self.layout = AS_IT_STANDS if self._base.layout.plain else self._base.layout
        self._frames = frames
        # Frames (B, N, C) of a network on points, called by its own names.
        self.on_points = isinstance(self._base, PointOperator) and axes == 3
        self._input = (
            self._base.fields[0] if isinstance(self._base, PointOperator) and self.on_points else "x"
        )
        if self.refiner is None:
            self._refuse_unread()

    def _refuse_unread(self) -> None:
        """Refuse arguments that neither the model nor the domain reads; a refiner does so itself."""
        parts = PARTS if isinstance(self.domain, GraphDomain) else ()
        for name in self._base.unknown((), self.given):
            if name not in parts:
                hint = did_you_mean(name, self._base.names() - {"x"})
                raise TypeError(expected("arguments in given that the model reads", repr(name), hint))

    def answer(self, x: Tensor, times: Times) -> Tensor:
        """The model's output."""
        return self._field(self._call, x, times)

    def base_answer(self, x: Tensor, times: Times) -> Tensor:
        """The output of the refiner's base."""
        return self._field(self._refiner().base, x, times)

    def solve(self, x: Tensor, times: Times, start: Tensor | None = None, **options: Any) -> Solution:
        """The refiner's solution; see `IterativeRefiner.solve`. Its value is a field."""
        if start is not None:
            options["start"] = self._laid_out(start)
        solution: Solution = self._called(self._refiner().solve, x, times, **options)
        return replace(solution, value=self.field_of(solution.value), best=self.field_of(solution.best))

    def supervised(
        self, x: Tensor, times: Times, y: Tensor, start: Tensor | None = None, **options: Any
    ) -> Trajectory:
        """The refiner's trajectory in training: the iterates that y supervises."""
        if start is not None:
            options["start"] = self._laid_out(start)
        trajectory: Trajectory = self._called(self._call, x, times, y=self._laid_out(y), **options)
        return trajectory

    def iterates(self, x: Tensor, times: Times) -> list[Tensor]:
        """The iterates h_0, h_1, .. h_K."""
        return [self.field_of(answer) for answer in self._called(self._refiner().iterates, x, times)]

    def field_of(self, answer: Any) -> Tensor:
        """The field of an answer."""
        return self.layout.answer.fold(self._base.field_of(answer))

    def _laid_out(self, field: Tensor) -> Tensor:
        """A field in the layout of the base's answer."""
        return self.layout.answer.unfold(field, self._frames[1])

    def among(self, keep: Tensor) -> Caller:
        """The same for the samples ``keep`` alone."""
        other = copy.copy(self)
        other.domain = self.domain.select(keep)
        if self.graph is not None:
            other.graph = some_graphs(self.graph, self.domain, keep)
        other.given = some_rows(self.given, self.domain, keep, self._axes, self._per_sample)
        return other

    def repeated(self, copies: int) -> Caller:
        """The same for ``copies`` copies of all samples, one batch after the other."""
        other = copy.copy(self)
        assert isinstance(self.domain, GridDomain | GraphDomain)
        other.domain = self.domain.repeated(copies)
        if self.graph is not None:
            other.graph = repeated_graph(self.graph, copies)
        other.given = repeated_rows(self.given, self.domain, copies, self._axes, self._per_sample)
        if copies > 1 and self.graph is None and isinstance(other.domain, GraphDomain):
            batch = {"batch": other.domain.batch}
            unknown = (self.refiner or self._base).unknown((), {**self.given, **batch})
            other.given |= {} if "batch" in unknown else batch
        return other

    def on(self, domain: Domain, graph: Any, given: Mapping[str, Any]) -> Caller:
        """The same on another mesh."""
        other = copy.copy(self)
        other.domain, other.graph, other.given = domain, graph, dict(given)
        return other

    def takes(self, name: str, value: Any = 1.0) -> bool:
        """Whether the model has an argument of this name."""
        return not (self.refiner or self._base).unknown((), {name: value})

    def _field(self, call: BaseOperator | IterativeRefiner, x: Tensor, times: Times) -> Tensor:
        answer = self._called(call, x, times)
        # A function of the base's answer has been applied to the answer of a refiner.
        field = self._base.split(answer)[0] if call is self._base else self._base.field_of(answer)
        return self.layout.answer.fold(field).to(x.dtype)

    def _called(self, call: Callable[..., Any], x: Tensor, times: Times, **options: Any) -> Any:
        # A clock provides t and tau; a model may take only one of them.
        timing = {name: time for name, time in times.items() if self.takes(name, time)}
        args: tuple[Any, ...] = ()
        x = self.layout.x.unfold(x, self._frames[0])
        named = {self._input: x, **self.given, **timing}
        if self.graph is not None:
            graph = copy.copy(self.graph)
            graph.x = x
            args, named = (graph,), {**self.given, **timing}
        with torch.autocast(x.device.type, self._autocast) if self._autocast else nullcontext():
            return call(*args, **named, **options)

    def _refiner(self) -> IterativeRefiner:
        if self.refiner is None:
            got = type(self.model).__name__
            raise TypeError(expected("an IterativeRefiner to refine with", got, "refinement=None"))
        return self.refiner


def solves_equation(model: Any) -> bool:
    """Whether a model's calls solve an equation, which reads and returns fields in double precision."""
    return isinstance(model, IterativeRefiner) and isinstance(model.solver, EquationSolver)


@dataclass(frozen=True)
class CallAhead:
    """One call before it is made: the interface of refinements."""

    caller: Caller
    x: Tensor
    times: Times

    @property
    def domain(self) -> Domain:
        """The domain of the samples of this call."""
        return self.caller.domain

    def base_answer(self) -> Tensor:
        """The base's output."""
        return self.caller.base_answer(self.x, self.times)

    def solve(self, **options: Any) -> Solution:
        """See `IterativeRefiner.solve`."""
        return self.caller.solve(self.x, self.times, **options)
