"""Which iterates of a training pass are supervised, and how gradients pass through the steps.

=============  ======================================  =====================  ==============================
rule           supervised states                       memory                 Phi evaluations
=============  ======================================  =====================  ==============================
unrolled       h_1 .. h_K                              K steps                K
checkpointed   h_1 .. h_K, the same gradient           one step + K states    2 K
last           the last n                              n steps                K
detached       one per sample, from a random h_k       one step               1 + (K - 1) / 2, mean
from_truth     one per sample, from y itself           one step               1
implicit       the fixed point                         one step               to converge, for h and for u
neumann        the fixed point, n terms of the above   one step               to converge, and n - 1 for u
=============  ======================================  =====================  ==============================

``implicit`` and ``neumann`` are in `neuralop_irno.solver.implicit`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neuralop_irno.draws import integers
from neuralop_irno.errors import expected
from neuralop_irno.printed import PrintedAsCall
from neuralop_irno.registry import GRADIENTS
from neuralop_irno.solver.drive import Iterates, run_steps, run_until
from neuralop_irno.solver.iterate import Step
from neuralop_irno.solver.solver import Phi, Solver, SolverState
from neuralop_irno.solver.stopping import SolveRecorder


class GradientRule(PrintedAsCall, ABC):
    """Takes the steps of a training pass and returns the iterates that carry a gradient.

    Attributes:
        reaches_start: whether the gradient reaches the state that the iteration starts from.
        starts_at_truth: whether training starts the iteration at y instead of the base's answer.
    """

    reaches_start = False
    starts_at_truth = False

    def for_answers(self) -> GradientRule:
        """The rule to use when the caller needs h_K itself, with a gradient."""
        return self

    @abstractmethod
    def __call__(self, phi: Phi, solver: Solver, start: Tensor, taken: Tensor, steps: int) -> Iterates:
        """The supervised iterates.

        Args:
            phi: the correction, bound to x.
            solver: takes the steps.
            start: the state to start from.
            taken: steps already taken by each sample, ``(samples,)``.
            steps: number of steps of the iteration, at least 1.
        """


@GRADIENTS.register("unrolled")
class Unrolled(GradientRule):
    """Backpropagation through every step: the exact gradient of every iterate."""

    reaches_start = True

    def __call__(self, phi: Phi, solver: Solver, start: Tensor, taken: Tensor, steps: int) -> Iterates:
        return run_steps(phi, solver, start, steps, taken=taken)


@GRADIENTS.register("checkpointed")
class Checkpointed(GradientRule):
    """The gradient of `Unrolled`, with each step computed again in the backward pass.

    Paper: https://arxiv.org/abs/1604.06174.
    """

    reaches_start = True

    def __call__(self, phi: Phi, solver: Solver, start: Tensor, taken: Tensor, steps: int) -> Iterates:
        return run_steps(phi, solver, start, steps, taken=taken, around=_checkpoint)


@GRADIENTS.register("last")
class Last(GradientRule):
    """Backpropagation through the last n steps only; earlier steps are constants.

    Args:
        n: number of steps with a gradient.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(expected("at least one step that carries a gradient", f"n={n}", "n=1"))
        self.n = n

    def __call__(self, phi: Phi, solver: Solver, start: Tensor, taken: Tensor, steps: int) -> Iterates:
        before = steps - min(self.n, steps)
        with torch.no_grad():
            first = run_steps(phi, solver, start, before, taken=taken)
        return run_steps(phi, solver, first.value, steps - before, state=first.state)


@GRADIENTS.register("detached")
class Detached(GradientRule):
    """One step per sample from a state h_k that is a constant, with k drawn from 0 .. K-1.

    Each sample draws its own k, so that a batch mixes early and late states: with one k for the whole batch
    the gradients of successive updates vary far more.
    """

    def for_answers(self) -> GradientRule:
        return Last(1)

    def __call__(self, phi: Phi, solver: Solver, start: Tensor, taken: Tensor, steps: int) -> Iterates:
        draws = integers(steps, len(taken)).to(taken.device)
        before = SolveRecorder(phi, start, draws, solver.answer)
        with torch.no_grad():
            run_until(phi, solver, start, before, taken)
        return run_steps(phi, solver, before.value, 1, taken=taken + draws)


@GRADIENTS.register("from_truth")
class FromTruth(GradientRule):
    """One step per sample from the truth, as step k of the iteration, with k drawn from 0 .. K-1.

    For solvers that add noise to their state, as `denoising` does: the correction learns to remove it. Other
    solvers are refused, since at the truth a correction that starts at zero has no error to learn from.
    """

    starts_at_truth = True

    def for_answers(self) -> GradientRule:
        return Last(1)

    def __call__(self, phi: Phi, solver: Solver, start: Tensor, taken: Tensor, steps: int) -> Iterates:
        draws = integers(steps, len(taken)).to(taken.device)
        return run_steps(phi, solver, start, 1, taken=taken + draws)


GradientLike = str | Mapping[str, Any] | GradientRule
"""A gradient rule: its name, its config, or itself."""


def gradient_rule(spec: GradientLike) -> GradientRule:
    """A rule from its name or config (``{"name": "last", "n": 2}``); an object is returned unchanged."""
    rule = GRADIENTS.build(spec)
    if not isinstance(rule, GradientRule):
        raise TypeError(expected("a gradient rule", repr(spec), f"one of {', '.join(GRADIENTS.names())}"))
    return rule


def _checkpoint(step: Step, h: Tensor, state: SolverState) -> tuple[Tensor, SolverState]:
    return checkpoint(step, h, state, use_reentrant=False)
