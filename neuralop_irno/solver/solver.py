"""The interface of solvers: `Solver`, its `SolverState`, and the bound correction `Phi` that it calls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import at_key, expected
from neuralop_irno.printed import PrintedAsCall
from neuralop_irno.registry import SOLVERS, given_by_name


class Physics(Protocol):
    """h -> the residual of an equation, for one x."""

    def __call__(self, h: Tensor) -> Tensor:
        """The residual, laid out like h."""

    def select(self, keep: Tensor) -> Physics:
        """The residual of the samples ``keep`` only."""


class Phi(Protocol):
    """A correction bound to one x, as a solver calls it."""

    domain: Domain

    @property
    def physics(self) -> Physics | None:
        """h -> the residual of the equation that h should solve; None if there is none."""

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        """Phi(x, h), laid out like h; ``taken`` are the steps already taken by each sample."""

    def select(self, keep: Tensor) -> Phi:
        """The bound correction of the samples ``keep`` only."""


@dataclass(frozen=True)
class SolverState:
    """What a solver carries from step to step.

    Attributes:
        taken: steps taken by each sample, ``(samples,)``. A step is one evaluation of Phi.
        at: the point of the last evaluation of Phi, laid out like h.
        residual: alpha * Phi at that point, the change of a plain damped step. It is zero at a fixed point
            and nowhere else, for every solver.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken"})
    """The attributes with one row per sample. The others are fields, tuples of fields, and states."""

    taken: Tensor
    at: Tensor
    residual: Tensor

    def select(self, domain: Domain, keep: Tensor) -> Self:
        """The state of the samples ``keep`` only."""

        def part(name: str, value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(part(name, entry) for entry in value)
            if isinstance(value, SolverState):
                return value.select(domain, keep)
            return value[keep] if name in self.PER_SAMPLE else domain.take(value, keep)

        return replace(self, **{f.name: part(f.name, getattr(self, f.name)) for f in fields(self)})

    def evaluated(self, samples: int) -> int:
        """Evaluations of Phi in the last step of this many samples."""
        return samples

    def forget(self, domain: Domain, whose: Tensor, at: Tensor, residual: Tensor) -> Self:
        """The state with some samples restarted at another point, without memory of earlier steps.

        Args:
            domain: the domain of the batch.
            whose: the samples to restart, as a mask ``(samples,)``.
            at: the points to restart from.
            residual: alpha * Phi at these points.
        """
        mask = domain.spread(whose, at)
        return replace(
            self, at=torch.where(mask, at, self.at), residual=torch.where(mask, residual, self.residual)
        )


class Solver(PrintedAsCall, nn.Module):
    """A fixed-point iteration, defined by `init` and `step`. All solvers share the loop, `iterate`.

    Attributes:
        adds_noise: whether a step adds noise to the state, as the gradient rule ``from_truth`` needs.

    Example:
        >>> import neuralop_irno as irno
        >>> class Half(Solver):  # h <- h + Phi(x, h) / 2
        ...     def init(self, h, taken):
        ...         return SolverState(taken, h, torch.zeros_like(h))
        ...
        ...     def step(self, phi, h, state):
        ...         update = 0.5 * phi(h, state.taken)
        ...         return h + update, SolverState(state.taken + 1, h, update)
        >>> correction = irno.FunctionCorrection(lambda x, h: x - h)
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction, solver=Half(), steps=3)
        >>> model.eval()(torch.ones(1, 1, 2))
        tensor([[[0.8750, 0.8750]]])
    """

    adds_noise = False

    @abstractmethod
    def init(self, h: Tensor, taken: Tensor) -> SolverState:
        """The state before the first step; ``taken`` is the number of steps that led to h."""

    @abstractmethod
    def step(self, phi: Phi, h: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step, with one evaluation of Phi: the next iterate and state. Arguments are not modified."""

    def answer(self, h: Tensor, state: Any) -> Tensor:
        """The value to return if the iteration ends here; by default h."""
        return h

    def progress(self, taken: Tensor, steps: int) -> Tensor:
        """How far each sample is after ``taken`` of so many steps, from 0 to 1, ``(samples,)``."""
        return taken / steps

    def step_size(self, taken: Tensor) -> Tensor | None:
        """alpha of each sample after ``taken`` steps, ``(samples,)``.

        None, the default, means that the solver has no step size. Losses and diagnostics then take
        alpha * Phi from the ``residual`` of its states; see `neuralop_irno.solver.plain_step`.
        """
        return None

    def step_size_for(self, h: Tensor, taken: Tensor) -> Tensor | None:
        """alpha of each sample for a field of the precision of h; by default that of `step_size`."""
        return self.step_size(taken)


SolverLike = str | Mapping[str, Any] | Solver
"""A solver: its name, its config, or itself."""


def solver_from(spec: SolverLike, key: str | None = "solver") -> Solver:
    """A solver from its name or config; an object is returned unchanged.

    Args:
        spec: the name, the config or the object.
        key: the key of the config that has it, for errors; None for an argument of a call.
    """
    with at_key(key) if key else nullcontext():
        built = SOLVERS.part(spec).build() if given_by_name(spec) else spec
        if not isinstance(built, Solver):
            hint = f"one of {', '.join(SOLVERS.names())}"
            raise TypeError(expected("a solver", type(built).__name__, hint))
    return built
