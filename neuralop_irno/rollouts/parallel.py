r"""All frames at once: a rollout as one fixed point over its frames, solved by the package's own loop.

.. math:: h_t = F(u_{t-1}) \qquad u_t = S(u_{t-1}, h_t) \qquad t = 1, \ldots, n

F is the model and S the `Stepper`, which costs nothing. A sweep calls the model on all n inputs together, with
the frames of the sweep before. After s sweeps the first s answers are those of the frame-by-frame rollout,
whatever the model; if F contracts, all of them are close much earlier. Under the rules ``res`` and ``der`` a
sweep is Picard's iteration for a differential equation, an integral over the rates of the sweep before (compare
https://arxiv.org/abs/2310.01618).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.annotations import as_whole
from neuralop_irno.build import build_solver
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.caller import Caller, Times
from neuralop_irno.rollouts.outcome import ActiveSamples
from neuralop_irno.rollouts.predictor import FramePredictor
from neuralop_irno.rollouts.refinement import Refine
from neuralop_irno.solution import Outcome, unchanged
from neuralop_irno.solver.drive import run_to_tolerance
from neuralop_irno.solver.picard import Picard
from neuralop_irno.solver.solver import Solver, SolverLike
from neuralop_irno.solver.stopping import Limits

Change = Callable[[int, Tensor], Tensor]
"""An amendment, bound to a rollout: (number of the frame, frame) -> frame."""


@dataclass(frozen=True)
class Parallel:
    """Predict a window of frames together, then the next window.

    Each sample stops by itself when a sweep changes its answers by less than ``rtol`` of their norm. A sample
    whose sweeps fail (they grow, stall, or are too few) is rolled out frame by frame in that window, so that the
    frames are those of the usual rollout: to the tolerance times 1 / (1 - q) where a sweep contracts by q.

    Without ``refinement`` a sweep calls the model, K steps in a refiner. With ``refinement=Refine(rtol=..)``
    refinement and time are iterated together: sweeps of the base first, then sweeps that each take one step
    of the correction in every frame, until all frames are at rest.

    Args:
        frames: of a window, and the most sweeps that it takes without refinement.
        rtol: the tolerance; 0 makes as many sweeps as there are frames.
        solver: over sweeps: ``picard``, ``anderson``, ``aitken``, or a config.

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
        build_solver(self.solver, None)

    @classmethod
    def of(cls, spec: Parallel | int | None, predictor: FramePredictor) -> Parallel | None:
        """The options of an argument ``parallel``, checked against those of the rollout."""
        if spec is None:
            return None
        options = spec if isinstance(spec, Parallel) else cls(spec)
        clock, refinement = predictor.clock, predictor.refinement
        if clock is not None and (clock.block, clock.calls) != (1, 1):
            raise ValueError(expected("restart=1 with parallel", clock.restart, "Clock(start, step)"))
        if predictor.trust is not None:
            raise ValueError(expected("no limit= with parallel", predictor.trust.limit, "limit=None"))
        if refinement is not None:
            fixed_point = isinstance(refinement, Refine) and refinement.rtol > 0 and not refinement.warm_start
            if not fixed_point or not options.rtol:
                hint = "refinement=Refine(rtol=1e-4), or none for the model's own K"
                raise ValueError(expected("a refinement to a fixed point with parallel", refinement, hint))
        return options


class ParallelPredictor:
    """Predicts the frames of a window together.

    Args:
        predictor: from a history to frames, one call after the other.
        changes: of every frame, in order.
        options: see `Parallel`.

    Attributes:
        block: the number of frames of a window.
        sweeps: of each window so far, by sample, ``(samples,)`` each.
    """

    def __init__(self, predictor: FramePredictor, changes: Sequence[Change], options: Parallel) -> None:
        self._predictor, self._changes, self._options = predictor, changes, options
        outputs = predictor.window.outputs
        self.block = -(-options.frames // outputs) * outputs
        self.sweeps: list[Tensor] = []

    def frames(self, history: Tensor, first: int, last: int, samples: ActiveSamples) -> Iterator[Tensor]:
        """The frames of one window, of each call together, before their amendments.

        The generator has to be told the frames as they were amended, by ``send``, to go on.

        Args:
            history: the input frames of the first call.
            first: the number of the first frame.
            last: the number of the frame to end before.
            samples: the active samples.
        """
        predictor = self._predictor
        outputs = predictor.window.outputs
        calls = -(-(last - first) // outputs)
        answers, failed = self._solved(history, first, calls, samples)
        alone = ActiveSamples(predictor.domain.samples, last)
        by_call = _by_call(answers, calls)
        for call, index in enumerate(range(first, first + calls * outputs, outputs)):
            found = self._frames_of(by_call[call], history, index)
            alone.active = failed[torch.isin(failed, samples.active)]
            if len(alone.active):
                (theirs,) = predictor.frames(history, index, alone)
                rows = alone.active.to(found.device)
                domain = predictor.domain
                found = domain.put(found, rows, domain.take(theirs, rows))
            yield found

    def _solved(
        self, history: Tensor, first: int, calls: int, samples: ActiveSamples
    ) -> tuple[Tensor, Tensor]:
        """The answers of all calls, joined on channels, and the samples whose sweeps failed."""
        predictor, options = self._predictor, self._options
        active = samples.active.to(history.device)
        guess = self._first_answer(history, first, samples)
        answers = torch.cat([guess] * calls, 1)
        sweep = _Sweep(self, history, first, calls, answers, samples)
        together = predictor.refinement is not None
        usual = Limits(rtol=options.rtol, max_steps=calls) if options.rtol else Limits(steps=calls)
        stages = [sweep.base, sweep.refined] if together else [sweep.model]
        counted = torch.zeros(predictor.domain.samples, dtype=torch.long)
        for place, rule in enumerate(stages):
            limits = Limits(rtol=options.rtol) if place else usual
            phi = sweep.by(rule)
            start = predictor.domain.take(sweep.answers, active)
            solver: Solver = build_solver(options.solver, None)
            solution = run_to_tolerance(phi, solver, start, calls, limits, unchanged)
            sweep.answers = predictor.domain.put(sweep.answers, active, solution.value)
            counted[samples.active] += solution.steps.cpu()
        self.sweeps.append(counted)
        # As many of Picard's sweeps as there are calls give the answers of the calls one by one.
        whole = isinstance(solver, Picard) and not together
        good = [
            outcome.good or (whole and outcome is Outcome.OUT_OF_STEPS and steps == calls)
            for outcome, steps in zip(solution.outcomes, solution.steps.tolist(), strict=True)
        ]
        return sweep.answers, samples.active[~torch.tensor(good)]

    def _first_answer(self, history: Tensor, first: int, samples: ActiveSamples) -> Tensor:
        """The answer of the first call, of all samples; zero for those that have left."""
        predictor = self._predictor
        active = samples.active.to(history.device)
        caller = predictor.caller if samples.all_active else predictor.caller.among(active)
        x = predictor.domain.take(predictor.inputs(history, first), active)
        answer = self._call(caller, x, predictor.times(first, 1, samples))
        return predictor.domain.put(answer.new_zeros(len(history), *answer.shape[1:]), active, answer)

    def _call(self, caller: Caller, x: Tensor, times: Times) -> Tensor:
        refined = self._predictor.refinement is None
        return caller.answer(x, times) if refined else caller.base_answer(x, times)

    def _frames_of(self, answer: Tensor, history: Tensor, index: int) -> Tensor:
        """The frames of an answer, before their amendments."""
        predictor = self._predictor
        output = predictor.window.unpack(answer, history)
        return predictor.stepper.frames(history[:, -1:], output, predictor.leads(1, output))

    def inputs(self, answers: Tensor, history: Tensor, first: int, calls: int) -> list[Tensor]:
        """The input of every call if the answers of all calls are these."""
        predictor, outputs = self._predictor, self._predictor.window.outputs
        found = []
        for call, answer in enumerate(_by_call(answers, calls)):
            index = first + call * outputs
            found.append(predictor.inputs(history, index))
            frames = self._frames_of(answer, history, index)
            amended = [_amended(frame, index + n, self._changes) for n, frame in enumerate(frames.unbind(1))]
            history = predictor.window.slide(history, torch.stack(amended, 1))
        return found


Rule = Callable[[Caller, Tensor, Times, Tensor], Tensor]
"""The change of all answers in a sweep, from their caller, inputs, times and values."""


class _Sweep:
    """The change of the answers of all calls in one sweep: a correction, as solvers call it."""

    physics = None

    def __init__(
        self,
        parallel: ParallelPredictor,
        history: Tensor,
        first: int,
        calls: int,
        answers: Tensor,
        samples: ActiveSamples,
    ) -> None:
        self._parallel, self._predictor = parallel, parallel._predictor
        self._history, self._first, self._calls = history, first, calls
        self.answers = answers
        self._places = samples.active.to(history.device)
        self._rule: Rule = self._model
        self._copies = self._predictor.caller.repeated(calls)

    @property
    def domain(self) -> Domain:
        """The domain of the samples that are still iterated."""
        return self._caller_of_each.domain


def _amended(frame: Tensor, index: int, changes: Sequence[Change]) -> Tensor:
    for change in changes:
        frame = change(index, frame)
    return frame


def _by_call(answers: Tensor, calls: int) -> Sequence[Tensor]:
    """The answer of each call, from all joined on channels."""
    return answers.chunk(calls, 1)
