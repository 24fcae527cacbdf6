"""What a solve returns, and the sentence that a user reads for each way that it can end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected


class Outcome(Enum):
    """How the solve of one sample ended. Its value is the sentence for the user."""

    COMPLETED = "took the number of steps that was asked for, with no tolerance to meet"
    CONVERGED = "the residual met the tolerance"
    OUT_OF_STEPS = (
        "the steps or the evaluations ran out first; try more max_steps or max_evaluations, or a looser rtol"
    )
    GROWING = "the residual grew instead of shrinking; try a smaller alpha, or solver='backtracking'"
    STALLED = "the residual stopped shrinking above the tolerance; try another solver or a looser rtol"
    FALSE_FIXED_POINT = (
        "the iteration converged to a point where the equation is not solved; try another base or start"
    )
    NOT_FINITE = "the iterate is not finite; look at the input, or try a smaller alpha"

    @property
    def good(self) -> bool:
        """Whether the answer is what was asked for."""
        return self in (Outcome.COMPLETED, Outcome.CONVERGED)


@dataclass(frozen=True, repr=False)
class Solution:
    """The answer of `IterativeRefiner.solve`, with an account of every sample.

    Attributes:
        value: what the base would have returned, refined.
        outcomes: for each sample, how its solve ended.
        steps: for each sample, the steps taken, ``(samples,)``.
        residuals: for each sample the size of alpha * Phi at every point where it was evaluated: row i has
            ``steps[i]`` numbers.
        contraction: for each sample, the factor q by which the iteration shrank distances at the end; nan
            after less than two steps, ``(samples,)``.
        error_bound: for each sample, an *estimate* of the distance of its answer to the *fixed point*, in the
            domain's norm: q / (1 - q) times the last update, with a margin for the spread of q. It bounds
            the distance on one condition: that the q seen so far is that of the slowest mode. A slow mode
            that the start hardly excites is not seen before the solve ends, and the estimate is too small
            then. It says nothing about the distance from the fixed point to the truth. ``(samples,)``, inf if
            q >= 1.
        bound_holds: for each sample, whether q < 1 and steady: a sign that the condition is met, and no proof
            of it. ``(samples,)``
        error_estimate: for each sample, the distance to the *truth* that was not exceeded in the stated
            share of held-out samples; None for a model that was never calibrated. ``(samples,)``
        best: the iterates with the smallest residuals, laid out like the value.
        predictors: what the error estimate may be made from, by name, each ``(samples,)``.
        evaluations: how often Phi was evaluated, counted in samples.
    """

    value: Any
    outcomes: tuple[Outcome, ...]
    steps: Tensor
    residuals: tuple[Tensor, ...]
    contraction: Tensor
    error_bound: Tensor
    bound_holds: Tensor
    error_estimate: Tensor | None
    best: Any
    predictors: dict[str, Tensor]
    evaluations: int

    def __repr__(self) -> str:
        """The numbers of samples by outcome, their steps, and the evaluations: never whole fields."""
        counts = Counter(outcome.name for outcome in self.outcomes)
        ended = ", ".join(f"{name}: {n}" for name, n in counts.items())
        return f"Solution({{{ended}}}, steps={self.steps.tolist()}, evaluations={self.evaluations})"

    @property
    def good(self) -> Tensor:
        """For each sample, whether its answer is what was asked for, ``(samples,)``."""
        return torch.tensor([outcome.good for outcome in self.outcomes])

    def or_raise(self) -> Self:
        """Itself, if every sample ended well; an error that names the others."""
        if not self.good.all():
            bad = (~self.good).nonzero()[:, 0].tolist()
            raise RuntimeError(f"samples {bad} ended badly. {self}")
        return self

    def __str__(self) -> str:
        counts = Counter(self.outcomes)
        lines = [f"{n} of {len(self.outcomes)} samples: {o.value}" for o, n in counts.items()]
        return "\n".join(lines)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _needs_a_field(what: str) -> str:
    return expected(
        "a loss that reads trajectories",
        f"one that reads {what!r}, as of a field",
        "RefinementLoss, or train_output='field' of the refiner",
    )


@dataclass(frozen=True)
class Trajectory:
    """The supervised iterates of one training pass, which `RefinementLoss` reads.

    Attributes:
        iterates: the states h_k to supervise, each laid out like the answer.
        progress: for each of them where in the iteration it stands, 0 at the first step and 1 at the
            last, per sample; the progressive spectral loss reads it.
        domain: where the iterates live.
        phi: h -> Phi(x, h) for this x; the fixed-point loss evaluates it at the truth. None for a
            plain prediction.
        alpha: the step size that led to the last iterate, a scalar or ``(samples,)``; None where the solver
            has no such number.
        as_field: lays a target out like the iterates.
        as_answer: the way back.
        residual: h -> alpha * Phi(x, h) as the solver computes it, where alpha is None.
    """

    iterates: tuple[Tensor, ...]
    progress: tuple[Tensor, ...]
    domain: Domain
    phi: Callable[[Tensor], Tensor] | None = None
    alpha: Tensor | None = None
    as_field: Callable[[Tensor], Tensor] = _as_it_is
    as_answer: Callable[[Tensor], Any] = _as_it_is
    residual: Callable[[Tensor], Tensor] | None = None

    def __getattr__(self, name: str) -> Any:
        """Teach a loss on fields, to which neuraloperator's Trainer may hand a trajectory."""
        raise AttributeError(_needs_a_field(name))

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> Any:
        """Teach it likewise where it hands the trajectory to a function of torch."""
        raise TypeError(_needs_a_field(function.__name__))

    @property
    def steps_on(self) -> bool:
        """Whether there is a step that could follow; a plain prediction has none."""
        return self.residual is not None or (self.phi is not None and self.alpha is not None)

    def step(self, h: Tensor) -> Tensor:
        """h + alpha Phi(x, h), the plain step from a state, with alpha as a constant."""
        if self.residual is not None:
            return h + self.residual(h)
        if self.phi is None or self.alpha is None:
            raise ValueError(
                expected(
                    "a trajectory of steps", "a plain prediction", "the refiner's own output in training"
                )
            )
        return h + self.domain.spread(self.alpha.detach().to(h), h) * self.phi(h)

    @property
    def last(self) -> Tensor:
        """The last supervised iterate."""
        return self.iterates[-1]
