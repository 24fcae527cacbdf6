"""How gradients cross the loop. A rule is handed the loop as a function; it never imports it.

=============  ======================================  =====================  ======================
rule           supervised states                       memory                 Phi evaluations
=============  ======================================  =====================  ======================
unrolled       h_1 .. h_K                              K steps                K
checkpointed   h_1 .. h_K, the same gradient           one step + K states    2 K
last           the last n                              n steps                K
detached       one per sample, from a drawn h_k        one step               1 + (K - 1) / 2, mean
=============  ======================================  =====================  ======================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neuralop_irno.errors import expected
from neuralop_irno.registry import GRADIENTS
from neuralop_irno.solver.solver import SolverState

Step = Callable[[Tensor, SolverState], tuple[Tensor, SolverState]]


@dataclass(frozen=True)
class Leg:
    """A stretch of the iteration.

    Attributes:
        value: the state where it ended.
        state: the solver's state there.
        iterates: every state on the way, the last included.
        taken: for each of them, the steps that each sample had behind it, ``(samples,)``.
    """

    value: Tensor
    state: SolverState
    iterates: tuple[Tensor, ...]
    taken: tuple[Tensor, ...]


class Run(Protocol):
    """The loop, as a gradient rule is handed it."""

    def __call__(
        self,
        start: Tensor,
        steps: int | Tensor,
        *,
        state: SolverState | None = None,
        taken: Tensor | None = None,
        around: Callable[[Step, Tensor, SolverState], tuple[Tensor, SolverState]] | None = None,
    ) -> Leg:
        """Iterate from a state; ``steps`` may differ from sample to sample.

        Args:
            start: the state to start from.
            steps: a number, or ``(samples,)``; samples that are done cost nothing more.
            state: the solver's state, to go on where another leg ended.
            taken: the steps that each sample has behind it, for a fresh solver state.
            around: wraps every single step.
        """


class GradientRule(ABC):
    """Runs the loop for training and says which iterates carry a gradient."""

    def for_answers(self) -> GradientRule:
        """The rule to use where the caller wants h_K itself, with a gradient."""
        return self

    @abstractmethod
    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        """The supervised stretch of an iteration of ``steps`` steps from ``start``.

        Args:
            run: the loop.
            start: the state to start from.
            taken: the steps that each sample has behind it already, ``(samples,)``.
            steps: how many steps the iteration has, at least 1.
        """


@GRADIENTS.register("unrolled")
class Unrolled(GradientRule):
    """Back through every step: the exact gradient of every iterate."""

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        return run(start, steps, taken=taken)


@GRADIENTS.register("checkpointed")
class Checkpointed(GradientRule):
    """The gradient of `Unrolled`, with each step computed again on the way back."""

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        return run(start, steps, taken=taken, around=_checkpoint)


@GRADIENTS.register("last")
class Last(GradientRule):
    """Back through the last n steps only; the ones before them are constants.

    Args:
        n: how many.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(expected("at least one step that carries a gradient", f"n={n}", "n=1"))
        self.n = n

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        before = steps - min(self.n, steps)
        with torch.no_grad():
            first = run(start, before, taken=taken)
        return run(first.value, steps - before, state=first.state)


@GRADIENTS.register("detached")
class Detached(GradientRule):
    """One step per sample, from a state h_k that is a constant, with k drawn from 0 .. K-1.

    Each sample draws its own k, so that a batch mixes early and late states: one k for the whole
    batch makes the gradients of successive updates differ far more.
    """

    def for_answers(self) -> GradientRule:
        return Last(1)

    def __call__(self, run: Run, start: Tensor, taken: Tensor, steps: int) -> Leg:
        draws = torch.randint(steps, taken.shape).to(taken.device)
        with torch.no_grad():
            before = run(start, draws, taken=taken)
        return run(before.value, 1, taken=taken + draws)


def gradient_rule(spec: Any) -> GradientRule:
    """A rule by name, by mapping (``{"name": "last", "n": 2}``), or the object itself."""
    if not isinstance(spec, (str, Mapping, GradientRule)):
        raise TypeError(expected("a gradient rule", repr(spec), f"one of {', '.join(GRADIENTS.names())}"))
    rule: GradientRule = GRADIENTS.build(spec)
    return rule


def _checkpoint(step: Step, h: Tensor, state: SolverState) -> tuple[Tensor, SolverState]:
    result: tuple[Tensor, SolverState] = checkpoint(step, h, state, use_reentrant=False)
    return result
