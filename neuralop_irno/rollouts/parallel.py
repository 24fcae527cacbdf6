r"""All frames at once: a rollout as one fixed point over its frames, solved by the package's own loop.

.. math:: h_t = F(u_{t-1}) \qquad u_t = S(u_{t-1}, h_t) \qquad t = 1, \ldots, n

F is the model and S the `Stepper`, whose cost is negligible. A sweep calls the model on all n inputs
together, with the frames that follow from the answers of the last sweep. After s sweeps the first s answers
are those of the rollout one frame after the other, whatever the model; if F contracts, all of them are close
much earlier. Under the rules ``res`` and ``der`` a sweep is Picard's iteration for a differential equation:
the integral over the rates of the last sweep (compare https://arxiv.org/abs/2310.01618).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno.annotations import as_whole
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.caller import Caller, Times
from neuralop_irno.rollouts.known import Change, amended
from neuralop_irno.rollouts.outcome import ActiveSamples
from neuralop_irno.rollouts.predictor import FramePredictor
from neuralop_irno.rollouts.refinement import Carry, Refine
from neuralop_irno.solution import Outcome, unchanged
from neuralop_irno.solver.drive import run_to_tolerance
from neuralop_irno.solver.picard import Picard
from neuralop_irno.solver.solver import Phi, SolverLike, solver_from
from neuralop_irno.solver.stopping import Limits


@dataclass(frozen=True)
class Parallel:
    """Predict a window of frames together, then the next window.

    Every sample stops by itself when a sweep changes its answers by less than ``rtol`` of their norm. A
    sample whose sweeps grow, stall or are too few is predicted one frame after the other in that window. The
    frames are therefore those of the usual rollout, up to the tolerance times 1 / (1 - q) where a sweep
    contracts by a factor q.

    A sweep calls the model: K steps in a refiner. With ``refinement=Refine(rtol=..)`` refinement and time
    are iterated together: first sweeps of the base, then sweeps of one correction of every frame, until all
    frames are at rest.

    Args:
        frames: of a window; also the largest number of sweeps, except of corrections.
        rtol: the tolerance; with 0 there are as many sweeps as frames, which have to be Picard's of step size
            1: those of other solvers are not the usual rollout.
        solver: over the sweeps: ``picard``, ``anderson``, ``aitken``, ``broyden`` or a config.

    Example:
        >>> Parallel(16, rtol=1e-4)
        Parallel(frames=16, rtol=0.0001, solver='picard')
    """

    frames: int
    rtol: float = 1e-6
    solver: SolverLike = "picard"

    def __post_init__(self) -> None:
        count = as_whole(self.frames)
        if count is None or count < 1:
            raise ValueError(expected("parallel >= 1", repr(self.frames), "parallel=16"))
        object.__setattr__(self, "frames", count)
        Limits(rtol=self.rtol)
        if not self.rtol and not _exact(solver_from(self.solver), count):
            wanted = "rtol > 0 with a solver other than picard of step size 1"
            raise ValueError(expected(wanted, f"rtol=0 with {self.solver!r}", "rtol=1e-6"))


class ParallelPredictor(FramePredictor):
    """Predicts the frames of a window together.

    Args:
        parallel: the options, or the number of frames alone.
        changes: of every frame, in order. If one couples samples, as an ensemble's filter does, those that
            have stopped are not iterated again, and the tolerance holds for each sample on its own.
        options: of `FramePredictor`.
    """

    def __init__(self, parallel: Parallel | int, changes: Sequence[Change], *options: Any) -> None:
        super().__init__(*options)
        self._parallel = parallel if isinstance(parallel, Parallel) else Parallel(parallel)
        self._changes = changes
        if self.clock is not None and self.clock.restart != 1:
            raise ValueError(expected("restart=1 with parallel", self.clock.restart, "Clock(start, step)"))
        if self.trust is not None:
            raise ValueError(expected("limit=None with parallel", "a limit", "parallel=None"))
        known = self.refinement
        at_rest = isinstance(known, Refine) and known.rtol and not known.warm_start and self._parallel.rtol
        if known is not None and not at_rest:
            hint = "refinement=Refine(rtol=1e-4), or None for the model's own K"
            raise ValueError(expected("a refinement to a tolerance with parallel", known, hint))

    @property
    def block(self) -> int:
        return -(-self._parallel.frames // self.window.outputs) * self.window.outputs

    @property
    def sweeps(self) -> Tensor:
        """The sweeps of every window so far, ``(windows, samples)``."""
        return torch.stack(self._sweeps) if self._sweeps else torch.zeros(0, self.domain.samples).long()

    def begin(self, steps: int, carry: Carry) -> None:
        super().begin(steps, carry)
        self._end = steps
        self._sweeps: list[Tensor] = []

    def frames(self, history: Tensor, first: int, samples: ActiveSamples) -> Iterator[Tensor]:
        outputs = self.window.outputs
        places = range(first, min(first + self.block, self._end), outputs)
        answers, failed = self._solved(history, places, samples)
        alone = ActiveSamples(self.domain.samples, self._end)
        for index, answer in zip(places, answers.chunk(len(places), 1), strict=True):
            frames = self.frames_of(answer, history, index)
            alone.active = failed[torch.isin(failed, samples.active)]
            if len(alone.active):
                (theirs,) = super().frames(history, index, alone)
                rows = alone.active.to(frames.device)
                frames = self.domain.put(frames, rows, self.domain.take(theirs, rows))
            yield frames
            history = self._slide(history, frames, index)

    def window_inputs(self, answers: Tensor, history: Tensor, places: range) -> list[Tensor]:
        """The input of every call of a window.

        Args:
            answers: of all calls, joined on channels.
            history: the input frames of the first call.
            places: the number of the first frame of each call.
        """
        inputs = []
        for index, answer in zip(places, answers.chunk(len(places), 1), strict=True):
            inputs.append(self.inputs(history, index))
            history = self._slide(history, self.frames_of(answer, history, index), index)
        return inputs

    def frames_of(self, answer: Tensor, history: Tensor, index: int) -> Tensor:
        """The frames of an answer, before they are amended."""
        output = self.window.unpack(answer, history)
        return self.stepper.frames(history[:, -1:], output, self.leads(1, output))

    def _slide(self, history: Tensor, frames: Tensor, index: int) -> Tensor:
        """The history after the frames of one call, amended."""
        found = [amended(frame, index + n, self._changes) for n, frame in enumerate(frames.unbind(1))]
        return self.window.slide(history, torch.stack(found, 1))

    def _solved(self, history: Tensor, places: range, samples: ActiveSamples) -> tuple[Tensor, Tensor]:
        """The answers of all calls, joined on channels; and the samples whose sweeps failed."""
        counted = torch.zeros(self.domain.samples, dtype=torch.long)
        self._sweeps.append(counted)
        active, calls = samples.active.to(history.device), len(places)
        if not len(active):
            nothing = torch.full_like(history[:, -1:], torch.nan).repeat_interleave(self.window.outputs, 1)
            return torch.cat([self.window.pack(nothing)] * calls, 1), samples.active
        together = self.refinement is not None
        rtol = self._parallel.rtol
        each = Limits(rtol=rtol, max_steps=calls) if rtol else Limits(steps=calls)
        stages = [(base_sweep, each), (correction_sweep, Limits(rtol=rtol))]
        answers = self._guess(history, places, samples)
        for rule, limits in stages if together else [(model_sweep, each)]:
            sweep = Sweep(rule, self, history, places, answers, active)
            solver, start = solver_from(self._parallel.solver), self.domain.take(answers, active)
            solution = run_to_tolerance(sweep, solver, start, calls, limits, unchanged)
            answers = self.domain.put(answers, active, solution.value)
            counted[samples.active] += solution.steps.cpu()
        # As many of Picard's sweeps as there are calls give the answers of calls one after the other.
        exact = _exact(solver, calls) and not together
        good = [
            outcome.good or (exact and outcome is Outcome.OUT_OF_STEPS and steps == calls)
            for outcome, steps in zip(solution.outcomes, solution.steps.tolist(), strict=True)
        ]
        return answers, samples.active[~torch.tensor(good)]

    def _guess(self, history: Tensor, places: range, samples: ActiveSamples) -> Tensor:
        """The answer of the first call for every call; zero for samples that have left."""
        active = samples.active.to(history.device)
        caller = self.caller if samples.all_active else self.caller.among(active)
        x = self.domain.take(self.inputs(history, places[0]), active)
        rule = model_sweep if self.refinement is None else base_sweep
        answer = rule(caller, x, self.times(places[0], 1, samples), None)
        whole = answer.new_zeros((len(history), *answer.shape[1:]))
        return torch.cat([self.domain.put(whole, active, answer)] * len(places), 1)


def _exact(solver: Any, sweeps: int) -> bool:
    """Whether a number of sweeps gives as many frames of the usual rollout, whatever the model."""
    return type(solver) is Picard and bool((solver.alpha(torch.arange(sweeps)) == 1).all())


Rule = Callable[[Caller, Tensor, Times, Tensor | None], Tensor]
"""From a caller, its input, times and the present answers to the next answers."""


def model_sweep(caller: Caller, x: Tensor, times: Times, answers: Tensor | None) -> Tensor:
    """The model's answers."""
    return caller.answer(x, times)


def base_sweep(caller: Caller, x: Tensor, times: Times, answers: Tensor | None) -> Tensor:
    """The answers of the refiner's base."""
    return caller.base_answer(x, times)


def correction_sweep(caller: Caller, x: Tensor, times: Times, answers: Tensor | None) -> Tensor:
    """The answers after one step of the refiner."""
    return caller.solve(x, times, start=answers, steps=1).value


class Sweep:
    """The change of the answers of a window in one sweep: a correction, as solvers call it.

    Args:
        rule: makes the answers.
        predictor: of the frames.
        history: the input frames of the first call, of all samples.
        places: the number of the first frame of each call.
        answers: of all samples, joined on channels.
        active: the samples that are iterated.
    """

    physics: Phi | None = None

    def __init__(
        self,
        rule: Rule,
        predictor: ParallelPredictor,
        history: Tensor,
        places: range,
        answers: Tensor,
        active: Tensor,
    ) -> None:
        self._rule, self._predictor, self._history = rule, predictor, history
        self._places, self._answers, self._active = places, answers, active
        self._all = predictor.caller.repeated(len(places))
        self._caller, self.domain = self._of_active()

    def __call__(self, h: Tensor, taken: Tensor | None = None) -> Tensor:
        """The change of the answers h, ``(B, calls * C, *S)`` or ``(N, calls * C)``."""
        whole, calls = self._predictor.domain, len(self._places)
        self._answers = whole.put(self._answers, self._active, h)
        inputs = self._predictor.window_inputs(self._answers, self._history, self._places)
        x = torch.cat([whole.take(each, self._active) for each in inputs])
        answers = self._rule(self._caller, x, self._times(h), torch.cat(h.chunk(calls, 1)))
        return torch.cat(answers.chunk(calls), 1) - h

    def select(self, keep: Tensor) -> Self:
        """The same for some of the samples that are iterated."""
        other = copy.copy(self)
        other._active = self._active[keep]
        other._caller, other.domain = other._of_active()
        return other

    def _of_active(self) -> tuple[Caller, Domain]:
        """The model for the copies of the samples that are iterated, and the domain of these samples."""
        whole = self._predictor.domain
        if len(self._active) == whole.samples:
            return self._all, whole
        copies = [self._active + n * whole.samples for n in range(len(self._places))]
        return self._all.among(torch.cat(copies)), whole.select(self._active)

    def _times(self, like: Tensor) -> Times:
        """The times of all calls, a row for each copy of a sample."""
        clock = self._predictor.clock
        if clock is None:
            return {}
        count = len(self._active)

        def row(value: Tensor | float) -> Tensor:
            each = torch.as_tensor(value, dtype=like.dtype, device=like.device)
            return each[self._active] if each.dim() else each.expand(count)

        t = torch.cat([row(clock.time(index)) for index in self._places])
        return {"t": t, "tau": row(clock.step).repeat(len(self._places))}
