"""The results of solving and training: `Solution`, its outcomes, and `Trajectory`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.quantiles import quantile


class Outcome(Enum):
    """How the solve of one sample ended. Its value is the text for the user.

    Example:
        >>> import neuralop_irno as irno
        >>> correction = irno.FunctionCorrection(lambda x, h: h - x)
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction).eval()
        >>> solution = model.solve(torch.ones(1, 1, 2), rtol=1e-3, max_steps=50)  # of the wrong sign
        >>> solution.outcomes[0].name, solution.outcomes[0].good
        ('GROWING', False)
    """

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
    INDEFINITE = "the equation is not positive definite along a direction of the search; try solver='fgmres'"
    NOT_FINITE = "the iterate is not finite; look at the input, or try a smaller alpha"

    @property
    def good(self) -> bool:
        """Whether the sample converged or completed its steps."""
        return self in (Outcome.COMPLETED, Outcome.CONVERGED)


@dataclass(frozen=True, repr=False)
class Solution:
    """The result of `IterativeRefiner.solve`.

    Attributes:
        value: the refined answer, as the refiner itself returns it: a field in the layout of the base's
            answer, or the container of the field with all its other parts.
        outcomes: the outcome of each sample.
        steps: steps taken by each sample, ``(samples,)``.
        residuals: for each sample the norms of alpha * Phi; row i has ``steps[i]`` numbers.
        contraction: for each sample, the measured factor q by which the last steps shrank distances; nan
            after fewer than two steps, ``(samples,)``.
        error_bound: for each sample, an *estimate* of the distance from its answer to the *fixed point*, in
            the domain's norm: q / (1 - q) times the last update, with a margin for the spread of q. It bounds
            the distance if the measured q is that of the slowest mode. It is too small if a slow mode that is
            small in the start has not shown before the solve ends. It does not include the distance from the
            fixed point to the truth. ``(samples,)``, inf if q >= 1.
            After a solver of an equation it is a proved bound on the distance to the *solution of the
            equation*: |r| / c, with the constant c that the equation states (`LinearEquation.stability`);
            inf if it states none.
        bound_holds: for each sample, whether q < 1 and steady: a sign, but no proof, that the condition is
            met. ``(samples,)``
        bound_proved: for each sample, whether ``error_bound`` is proved, up to rounding: by a stated
            constant of the equation, or by a contraction factor known from the weights (`PicardNetwork.solve`
            with ``lipschitz``). Where it is False, all numbers about errors are estimates. ``(samples,)``
        error_estimate: for each sample, an estimate of the distance to the *truth* with the coverage of the
            model's calibration, in the units of the iteration, as ``error_bound``; None for a model without
            calibration. After a solver of an equation it is an estimate of the distance to the solution of
            the equation, in the units of the data: the proved bound where there is one; otherwise |r| / s for
            a linear equation, with s the smallest |A v| / |v| that the steps have shown. It can be too small,
            and is nan where no step was taken. ``(samples,)``
        best: the iterates with the smallest residuals, laid out like the value.
        predictors: the predictors of the error estimate, by name, each ``(samples,)``.
        evaluations: number of evaluations of Phi, counted in samples; of solvers of equations, that of
            applications of the preconditioner.
        error_band: at each point and channel, the half-width of a band around the value, in which the truth
            is on a stated share of the region with a stated probability: see `Bands`. Laid out like the field
            in the value, in its units; nan where the answer is not refined (outside of a mask). None for a
            model without bands.
        equation_residual: for each sample |r(x, h)| / |r(x, 0)| of the equation at the answer, computed from
            it, ``(samples,)``; None where a solver of equations was not used. The answer is then in double
            precision, ``residuals`` are norms of r, and ``contraction`` and ``error_bound`` are not known.
        replaced: for each sample the number of steps in which the preconditioner's proposal was zero, not
            finite or pointed away from r, so that r itself was taken, ``(samples,)``; None as before.

    Example:
        >>> import neuralop_irno as irno
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction, steps=4).eval()
        >>> solution = model.solve(torch.ones(2, 1, 4), rtol=1e-2, max_steps=50)
        >>> solution
        Solution(2 samples: 2 converged, median 7 steps)
        >>> solution.value.shape, solution.contraction
        (torch.Size([2, 1, 4]), tensor([0.5000, 0.5000]))
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
    error_band: Tensor | None = field(default=None, kw_only=True)
    equation_residual: Tensor | None = field(default=None, kw_only=True)
    replaced: Tensor | None = field(default=None, kw_only=True)
    bound_proved: Tensor = field(default_factory=lambda: torch.zeros(()).bool(), kw_only=True)

    def __post_init__(self) -> None:
        if not self.bound_proved.dim():
            object.__setattr__(self, "bound_proved", self.bound_proved.expand(self.steps.shape))

    def __repr__(self) -> str:
        """The numbers of samples by outcome, and their median steps, without fields."""
        counts = Counter(outcome.name.lower().replace("_", " ") for outcome in self.outcomes)
        ended = ", ".join(f"{count} {name}" for name, count in counts.items())
        samples = f"{len(self.outcomes)} sample{'s' if len(self.outcomes) != 1 else ''}"
        middle = f", median {quantile(self.steps, 0.5).item():g} steps" if len(self.steps) else ""
        return f"Solution({samples}: {ended or 'none'}{middle})"

    @property
    def good(self) -> Tensor:
        """For each sample, whether it converged or completed its steps, ``(samples,)``."""
        return torch.tensor([outcome.good for outcome in self.outcomes])

    def or_raise(self) -> Self:
        """The solution itself; raises RuntimeError, with the samples, if any is not `good`."""
        if not self.good.all():
            bad = (~self.good).nonzero()[:, 0].tolist()
            raise RuntimeError(f"samples {bad} ended badly. {self}")
        return self

    def __str__(self) -> str:
        counts = Counter(self.outcomes)
        lines = [f"{n} of {len(self.outcomes)} samples: {o.value}" for o, n in counts.items()]
        if self.replaced is not None and self.replaced.any():
            share = f"{int(self.replaced.sum())} of {int(self.steps.sum())} steps"
            lines.append(f"{share} without the preconditioner, whose proposal was not usable")
        if self.equation_residual is not None:
            lines.append("double precision, by the residual of the equation")
        return "\n".join(lines)


def unchanged(field: Tensor) -> Tensor:
    """The field itself: the layout of a state that is the answer as it stands."""
    return field


def _needs_a_field(what: str) -> str:
    return expected(
        "a loss that reads trajectories",
        f"one that reads {what!r}, as of a field",
        "RefinementLoss, or train_output='field' of the refiner",
    )


@dataclass(frozen=True)
class Trajectory:
    """The supervised iterates of one training pass, for `RefinementLoss`.

    Attributes:
        iterates: the states h_k to supervise, each laid out like the answer.
        progress: the position of each iterate in the iteration, per sample, from 0 at the first step to 1 at
            the last, for the progressive spectral loss.
        domain: the domain of the iterates.
        phi: h -> Phi(x, h) for this x, which the fixed-point loss evaluates at the truth. None for a plain
            prediction.
        alpha: the step size of the last step, a scalar or ``(samples,)``; None if the solver has none.
        as_field: converts a target to the layout of the iterates.
        as_answer: the inverse of ``as_field``.
        residual: h -> alpha * Phi(x, h) as the solver computes it, if alpha is None.
        physics: h -> the residual of the equation; None for a model without one.

    Example:
        >>> import neuralop_irno as irno
        >>> correction = irno.FunctionCorrection(lambda x, h: 0.5 * (x - h))
        >>> model = irno.IterativeRefiner(torch.zeros_like, correction)
        >>> x = torch.ones(1, 1, 4)
        >>> trajectory = model.train()(x, y=x)
        >>> len(trajectory.iterates), trajectory.last.shape  # detached: one supervised step
        (1, torch.Size([1, 1, 4]))
        >>> trajectory.phi(x).abs().max()  # the correction at the truth
        tensor(0.)
    """

    iterates: tuple[Tensor, ...]
    progress: tuple[Tensor, ...]
    domain: Domain
    phi: Callable[[Tensor], Tensor] | None = None
    alpha: Tensor | None = None
    as_field: Callable[[Tensor], Tensor] = unchanged
    as_answer: Callable[[Tensor], Any] = unchanged
    residual: Callable[[Tensor], Tensor] | None = None
    physics: Callable[[Tensor], Tensor] | None = None

    def __getattr__(self, name: str) -> Any:
        """Raise an error with a hint, for losses on fields that get a trajectory from a Trainer."""
        raise AttributeError(_needs_a_field(name))

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> Any:
        """Raise an error with a hint if a trajectory is passed to a function of torch."""
        raise TypeError(_needs_a_field(function.__name__))

    @property
    def steps_on(self) -> bool:
        """Whether `step` is available; it is not for a plain prediction."""
        return self.residual is not None or (self.phi is not None and self.alpha is not None)

    def step(self, h: Tensor) -> Tensor:
        """The plain step h + alpha Phi(x, h), with alpha as a constant."""
        if self.residual is not None:
            return h + self.residual(h)
        if self.phi is None or self.alpha is None:
            raise ValueError(
                expected(
                    "a trajectory of steps", "a plain prediction", "the output of the refiner in training"
                )
            )
        return h + self.domain.spread(self.alpha.detach().to(h), h) * self.phi(h)

    @property
    def last(self) -> Tensor:
        """The last supervised iterate."""
        return self.iterates[-1]
