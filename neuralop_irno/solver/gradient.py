"""Which iterates of a training pass are supervised, and how gradients pass through the steps.

=============  ======================================  =====================  ==============================
rule           supervised states                       memory                 Phi evaluations
=============  ======================================  =====================  ==============================
unrolled       h_1 .. h_K                              K steps                K
checkpointed   h_1 .. h_K, the same gradient           one step + K states    2 K
last           the last n                              n steps                K
detached       one per sample, from a random h_k       one step               1 + (K - 1) / 2, mean
from_truth     one per sample, from y itself           one step               1
from_path      one per sample, between h_0 and y       one step               1
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

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.noise import fresh
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

    def begin(
        self, start: Tensor, truth: Tensor, domain: Domain, solver: Solver, steps: int
    ) -> tuple[Tensor, Tensor | None]:
        """The state where training begins, and the steps taken to it, if one step from it is supervised.

        Args:
            start: the base's answer.
            truth: y, laid out like it.
            domain: their domain.
            solver: takes the steps.
            steps: number of steps of the iteration, at least 1.
        """
        return (truth if self.starts_at_truth else start), None

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


@GRADIENTS.register("from_path")
class FromPath(FromTruth):
    r"""One step per sample from a state on the line from the base's answer, plus noise, to the truth.

    .. math:: z_t = (1 - t) (h_0 + \sigma \epsilon) + t y, \qquad t = k / K

    It is step k of the iteration, with k drawn from 0 .. K-1. With the solver `flow` and the loss
    ``denoising`` this is flow matching: the loss is the mean square error of the velocity
    :math:`y - h_0 - \sigma \epsilon`. Paper: https://arxiv.org/abs/2210.02747.

    Args:
        noise: sigma, in units of the fields. Answers start at h_0 without noise.
    """

    starts_at_truth = False

    def __init__(self, noise: float = 0.0) -> None:
        if not noise >= 0:
            raise ValueError(expected("noise >= 0", noise, "noise=0.1"))
        self.noise = noise

    def begin(
        self, start: Tensor, truth: Tensor, domain: Domain, solver: Solver, steps: int
    ) -> tuple[Tensor, Tensor | None]:
        draws = integers(steps, domain.samples).to(start.device)
        share = domain.spread(solver.progress(draws, steps).to(start.dtype), start)
        first = start + self.noise * fresh(domain, start) if self.noise else start
        return first + share * (truth - first), draws


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
