r"""Training on rollouts: a wrapper with the interface of a model from x to y.

    x   the frames that are known          (B, inputs * C, *S)   or (N, inputs * C)
    y   the frames that follow             (B, frames * C, *S)   or (N, frames * C)

with time before channels on the channel axis, as in `Window.pack`. In training it returns
a `Trajectory` with time on channels too: iterate k has the k-th iterates of all supervised calls,
and Phi is evaluated for every call at its own input. The mean over channels in every loss is thus the mean
over calls, and `RefinementLoss` supervises the refinement of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neuralop_irno.base.sizes import on_its_grid
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import domain_of
from neuralop_irno.domain.noise import fresh
from neuralop_irno.draws import integers, kept
from neuralop_irno.errors import expected
from neuralop_irno.rollouts.caller import Caller
from neuralop_irno.rollouts.clock import Clock
from neuralop_irno.rollouts.curriculum import RolloutTraining
from neuralop_irno.rollouts.outcome import ActiveSamples
from neuralop_irno.rollouts.predictor import FramePredictor
from neuralop_irno.rollouts.rollout import rollout
from neuralop_irno.rollouts.rows import length
from neuralop_irno.rollouts.series import Series, on_mesh
from neuralop_irno.rollouts.stepper import Stepper
from neuralop_irno.rollouts.window import Window
from neuralop_irno.solution import Trajectory


class RolloutModel(nn.Module):
    """A model that is trained on its own rollouts.

    In training, with y, it returns a `Trajectory` for any loss of this package, in the model's
    (normalised) units. Otherwise it returns the frames of `rollout`, ``(B, frames * C,
    *S)``, as many as the plan has at its end.

    The gradient rule of a refiner applies inside each call. With
    ``detached``, the default over a frozen base, no gradient passes from call to call: every call starts from
    frames without gradient. Each sample then draws one k, at which all of its calls are supervised.

    Args:
        model: an `IterativeRefiner` or any other module; it is trained in place.
        plan: the numbers of calls and the gradients; by default four supervised calls.
        window: frames in and out of a call.
        stepper: from the model's output to a frame.
        clock: for a model that takes t or tau; its restart has to be 1.

    Shapes:
        - x: ``(B, inputs * C, *S)`` or ``(N, inputs * C)``
        - y and the result: ``(B, frames * C, *S)`` or ``(N, frames * C)``
        - static: ``(B, D, *S)`` or ``(N, D)``; forcing: ``(B, frames, D, *S)`` or ``(N, frames, D)``

    Example:
        >>> from neuralop_irno.losses.refinement import RefinementLoss
        >>> model = RolloutModel(nn.Conv1d(1, 1, 3, padding=1), RolloutTraining(steps=3, free=1))
        >>> frames = torch.randn(8, 5, 16)  # one field: a known frame, and four that follow
        >>> x, y = frames[:, :1], frames[:, 1:]
        >>> RefinementLoss()(model(x, y), y).backward()
        >>> model.eval()(x).shape
        torch.Size([8, 4, 16])
    """

    updates: Tensor

    def __init__(
        self,
        model: nn.Module,
        plan: RolloutTraining | None = None,
        window: Window | None = None,
        stepper: Stepper | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.plan = plan or RolloutTraining()
        self.window, self.stepper, self.clock = window or Window(), stepper or Stepper(), clock
        if clock is not None and clock.restart != 1:
            raise ValueError(expected("restart=1 in training", clock.restart, "Clock(restart=1)"))
        # The number of batches so far, for the curriculum; in the state dict, so resumption keeps it.
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        static: Tensor | None = None,
        forcing: Tensor | None = None,
        t: Tensor | None = None,
        **given: Any,
    ) -> Any:
        """A `Trajectory` in training with y; otherwise the predicted frames.

        Args:
            x: the known frames.
            y: the frames that follow. Read only in training, so that they cannot leak into a prediction.
            static: further input fields.
            forcing: further input fields for every predicted frame.
            t: for a model that takes the time, that of each sample's last known frame, in place of the
                clock's start.
            given: further arguments of the model, by name: the edges of graphs, say.
        """
        if x.shape[1] % self.window.inputs:
            got = f"{x.shape[1]} channels for {self.window.inputs} frames"
            raise ValueError(expected("x of whole frames, side by side on channels", got, "static= beside x"))
        history = unpacked(x, x.shape[1] // self.window.inputs)
        # In a collated batch every argument has a row for each sample.
        domain = domain_of(history[:, -1], on_its_grid(self.model, given))
        cut = [name for name, value in given.items() if length(value) == domain.samples]
        clock = self.clock if self.clock is None or t is None else replace(self.clock, start=t.flatten())
        if y is None or not self.training:
            frames = rollout(
                self.model,
                history,
                self.plan.calls * self.window.outputs,
                window=self.window,
                stepper=self.stepper,
                clock=clock,
                static=static,
                forcing=forcing,
                given=given,
                per_sample=cut,
                grad=True,
            ).frames
            assert frames is not None
            return frames.flatten(1, 2)
        calls = self.plan.calls_at(int(self.updates))
        self.updates += 1
        last = history[:, -1]
        a_call = (self.window.inputs, self.window.outputs)
        caller = Caller(self.model, domain, given=given, axes=last.dim(), per_sample=cut, frames=a_call)
        drive = None
        if forcing is not None:
            drive = Series("forcing", forcing, last, calls * self.window.outputs)
        fixed = None if static is None else on_mesh("static fields", static, last)
        predictor = FramePredictor(caller, self.window, self.stepper, clock, fixed, drive)
        return self._trained(predictor, history, self._following(y, last, calls), calls)

    def _following(self, y: Tensor, last: Tensor, calls: int) -> Tensor:
        """The true frames of ``calls`` calls, with a time axis."""
        channels, needed = last.shape[1], calls * self.window.outputs
        if y.dim() != last.dim() or y.shape[1] % channels or y.shape[1] < needed * channels:
            wanted = f"y of {needed} frames with {channels} channels, side by side on channels"
            raise ValueError(expected(wanted, tuple(y.shape), "longer stretches of the trajectories"))
        return unpacked(y, channels)[:, :needed]

    def _trained(self, predictor: FramePredictor, history: Tensor, after: Tensor, calls: int) -> Trajectory:
        plan, bundle = self.plan, self.window.outputs
        if plan.noise:
            history = noised(history, after[:, 0], plan.noise, predictor.domain)
        samples = ActiveSamples(predictor.domain.samples, calls * bundle)
        with torch.no_grad():
            for call in range(plan.free):
                frames = next(predictor.frames(history, call * bundle, samples))
                history = self.window.slide(history, frames)
        supervise = Supervision(predictor)
        made: list[SupervisedCall] = []
        for call in range(plan.free, calls):
            if plan.truncate is not None and not len(made) % plan.truncate:
                history = history.detach()
            truth = after[:, call * bundle : (call + 1) * bundle]
            if plan.gradient == "checkpointed":
                history, one = checkpoint(
                    supervise, history, truth, call * bundle, use_reentrant=False, context_fn=kept
                )
            else:
                history, one = supervise(history, truth, call * bundle)
            made.append(one)

        def as_answers(y: Tensor) -> Tensor:
            """The targets of the supervised calls."""
            frames = self._following(y, history[:, -1], calls)[:, plan.free * bundle :]
            targets = zip(made, frames.split(bundle, 1), strict=True)
            return torch.cat(
                [one.trajectory.as_field(supervise.target(one.last, truth)) for one, truth in targets], 1
            )

        return joined([one.trajectory for one in made], as_answers)


@dataclass(frozen=True)
class SupervisedCall:
    """One supervised call: the last input frame, and the model's output."""

    last: Tensor
    trajectory: Trajectory


class Supervision:
    """Calls a model in training: from a history to the next one and to a supervised call.

    Args:
        predictor: the model with the options of its calls.
    """

    def __init__(self, predictor: FramePredictor) -> None:
        self.predictor, self.window, self.stepper = predictor, predictor.window, predictor.stepper
        self.refiner = predictor.caller.refiner
        if self.refiner is None:
            return
        if self.refiner.train_output != "trajectory" or not isinstance(self.refiner.config["steps"], int):
            wanted = "a refiner that returns trajectories of one length"
            got = f"train_output={self.refiner.train_output!r}, steps={self.refiner.config['steps']}"
            raise ValueError(expected(wanted, got, "train_output='trajectory', steps=4"))
        self._drawn = integers(max(self.refiner.steps, 1), predictor.domain.samples)

    def __call__(self, history: Tensor, truth: Tensor, index: int) -> tuple[Tensor, SupervisedCall]:
        """The history after a call, and the supervised call.

        Args:
            history: the input frames.
            truth: the frames that follow, as many as a call predicts.
            index: the number of the first of them.
        """
        last = history[:, -1:]
        trajectory, answer = self._answer(history, self.target(last, truth), index)
        output = self.window.unpack(answer, history)
        frames = self.stepper.frames(last, output, self.predictor.leads(1, output))
        return self.window.slide(history, frames), SupervisedCall(last, trajectory)

    def target(self, last: Tensor, truth: Tensor) -> Tensor:
        """The target of the model's output."""
        return self.window.pack(self.stepper.target(last, truth, self.predictor.leads(1, truth)))

    def _answer(self, history: Tensor, target: Tensor, index: int) -> tuple[Trajectory, Tensor]:
        predictor, caller, refiner = self.predictor, self.predictor.caller, self.refiner
        x, times = predictor.inputs(history, index), predictor.times(index, 1)
        if refiner is None:
            answer = caller.answer(x, times)
            whole = torch.ones(predictor.domain.samples, device=x.device)
            return Trajectory((answer,), (whole,), predictor.domain), answer
        if refiner.gradient.for_answers() is refiner.gradient:  # its last iterate is the output
            trajectory = caller.supervised(x, times, target)
            return trajectory, caller.field_of(trajectory.as_answer(trajectory.last))
        iterates = caller.iterates(x, times)
        drawn = self._drawn.to(x.device)
        start = iterates[0]
        for k in range(1, refiner.steps):
            start = torch.where(predictor.domain.spread(drawn == k, start), iterates[k], start)
        return caller.supervised(x, times, target, start=start, taken=drawn), iterates[-1]


def unpacked(frames: Tensor, channels: int) -> Tensor:
    """Frames joined on channels, separated along a time axis: ``(B, T, C, *S)`` or ``(N, T, C)``."""
    return frames.unflatten(1, (-1, channels))


def noised(history: Tensor, following: Tensor, noise: float, domain: Domain) -> Tensor:
    """Frames with noise in units of the change to the frame that follows, channel by channel."""
    change = following - history[:, -1]
    sizes = [domain.spread(domain.norm(part), part) for part in change.split(1, 1)]
    return history + noise * torch.cat(sizes, 1).unsqueeze(1) * fresh(domain, history)


def joined(calls: Sequence[Trajectory], as_field: Any) -> Trajectory:
    """The trajectories of several calls as one, joined on channels.

    If they have different numbers of steps (under implicit rules), the mean is used.
    """
    last = calls[-1]

    def each(functions: Sequence[Callable[[Tensor], Tensor] | None]) -> Callable[[Tensor], Tensor] | None:
        """Each function on its own part of the channels."""
        known = [function for function in functions if function is not None]

        def joint(h: Tensor) -> Tensor:
            return torch.cat([one(part) for one, part in zip(known, h.chunk(len(known), 1), strict=True)], 1)

        return joint if known else None

    return Trajectory(
        tuple(torch.cat(parts, 1) for parts in zip(*(call.iterates for call in calls), strict=True)),
        tuple(torch.stack(parts).mean(0) for parts in zip(*(call.progress for call in calls), strict=True)),
        last.domain,
        each([call.phi for call in calls]),
        last.alpha,
        as_field,
        residual=each([call.residual for call in calls]),
    )
