"""From a history of frames to the frames that follow it, with one model and the options of a rollout."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.caller import CallAhead, Caller, Times
from neuralop_irno.rollouts.clock import Clock
from neuralop_irno.rollouts.outcome import Account, ActiveSamples, Ending
from neuralop_irno.rollouts.refinement import Carry, Refinement
from neuralop_irno.rollouts.series import Series, stacked
from neuralop_irno.rollouts.stepper import Stepper
from neuralop_irno.rollouts.trust import Trust, UntrustedFrames
from neuralop_irno.rollouts.window import Window


class FramePredictor:
    """From the last frames to the next ones.

    The input channels of a call are the normalised history, the static fields, and the forcing
    of the predicted frames, in this order. A base with an axis of times gets the static fields in each frame.

    Args:
        caller: the model.
        window: frames in and out.
        stepper: from its output to frames.
        clock: for t and tau; None passes no time.
        static: constant fields, on the mesh of the frames.
        forcing: fields for every predicted frame.
        refinement: of each call; None calls the model.
        trust: checks the error estimates.

    Attributes:
        caller: the model, for all samples.
        domain: of the frames of all samples.

    Shapes:
        - histories and frames: ``(B, T, C, *S)`` on grids, ``(N, T, C)`` on graphs, always of all samples
    """

    def __init__(
        self,
        caller: Caller,
        window: Window,
        stepper: Stepper,
        clock: Clock | None,
        static: Tensor | None,
        forcing: Series | None,
        refinement: Refinement | None = None,
        trust: Trust | None = None,
    ) -> None:
        self.window, self.stepper, self.clock = window, stepper, clock
        self.static, self.forcing, self.trust = static, forcing, trust
        self.refinement = refinement
        self._ahead = window.outputs if clock is None else max(window.outputs, clock.block)
        self._calls_per_frame = 1 if clock is None else clock.calls
        self._at_once = self._ahead == window.outputs
        self.caller = self._remaining = caller
        self._in_time = "T" in caller.layout.x.names
        self.domain = caller.domain
        self._check()

    @property
    def block(self) -> int:
        """The number of frames that are predicted from one history."""
        return self._ahead

    def begin(self, steps: int, carry: Carry) -> None:
        """Start a rollout of ``steps`` frames, or continue one."""
        self._calls = -(-steps // self._ahead) * self._calls_per_block
        self._remaining = self.caller
        self.carry = carry
        self.account = Account(self._calls, self.domain.samples) if self.refinement else None
        self.untrusted = torch.zeros(steps, self.domain.samples, dtype=torch.bool) if self.trust else None

    def on(self, caller: Caller) -> None:
        """Continue with the model on another mesh."""
        self.caller = self._remaining = caller
        self.domain = caller.domain

    def frames(self, history: Tensor, first: int, samples: ActiveSamples) -> Iterator[Tensor]:
        """The frames of one block, as they are computed: one after the other, or a bundle at once.

        Args:
            history: the input frames of the model.
            first: the number of the block's first frame.
            samples: the active samples; the others are not computed, and their frames are nan.
        """
        call = first // self._ahead * self._calls_per_block
        if self._at_once:
            for part in range(self._calls_per_frame):
                share = 1 / self._calls_per_frame
                frames = self._advance(history, first, first + part * share, share, call + part, samples)
                if self._calls_per_frame > 1:  # continue from this frame, without samples that blew up
                    samples.leave_broken(frames, first, self.domain)
                    history = frames
            yield frames
            return
        for lead in range(self._ahead):
            yield self._advance(history, first + lead, first, lead + 1, call + lead, samples)

    def inputs(self, history: Tensor, index: int) -> Tensor:
        """The model's input for the frame ``index`` and the others of its bundle."""
        frames = self.stepper.seen(history)
        if self.static is not None and self._in_time:  # a base with an axis of times has them in each frame
            fixed = self.static.unsqueeze(1).expand(-1, self.window.inputs, *self.static.shape[1:])
            frames = torch.cat([frames, fixed.to(frames.dtype)], 2)
        parts = [self.window.pack(frames)]
        if self.static is not None and not self._in_time:
            parts.append(self.static)
        if self.forcing is not None:
            parts.append(self.window.pack(stacked(self.forcing, index, self.window.outputs)))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def leads(self, frames: float, like: Tensor) -> Tensor | None:
        """The time from a history to each predicted frame of a call, shaped to multiply frames.

        Args:
            frames: the number of frames from the history to the first of them.
            like: frames.
        """
        if self.clock is None:
            return None
        ahead = torch.arange(self.window.outputs, device=like.device, dtype=like.dtype) + frames
        ahead = ahead.reshape(1, -1, *[1] * (like.dim() - 2))
        step = torch.as_tensor(self.clock.step, dtype=like.dtype, device=like.device)
        return ahead * (self.domain.spread(step, like) if step.dim() else step)

    def times(self, now: float, lead: float, samples: ActiveSamples | None = None) -> Times:
        """t and tau of a call, for the active samples.

        Args:
            now: frames from the start to the last input frame.
            lead: frames from there to the predicted one.
            samples: the active samples; by default all.
        """
        if self.clock is None:
            return {}
        times = {"t": self.clock.time(now), "tau": lead * self.clock.step}
        if samples is None or samples.all_active:
            return times
        return {
            name: value[samples.active.to(value.device)]
            if isinstance(value, Tensor) and value.dim()
            else value
            for name, value in times.items()
        }

    @property
    def _calls_per_block(self) -> int:
        return self._calls_per_frame if self._at_once else self._ahead

    def _advance(
        self, history: Tensor, index: int, now: float, lead: float, number: int, samples: ActiveSamples
    ) -> Tensor:
        """The frames of one call, for all samples."""
        if not len(samples.active):
            return torch.full_like(history[:, -1:], torch.nan).repeat_interleave(self.window.outputs, 1)
        x = self.inputs(history, index)
        active = samples.active.to(x.device)
        if self._remaining.domain.samples != len(active):  # cut the arguments only after a sample has left
            self._remaining = self.caller.among(active)
        part = x if samples.all_active else self.domain.take(x, active)
        times = self.times(now, lead, samples)
        estimate, doubtful = None, None
        if self.refinement is None:
            answer = self._remaining.answer(part, times)
        else:
            call = CallAhead(self._remaining, part, times)
            answer, estimate, doubtful = self._refined(call, number, samples)
        if not samples.all_active:
            nothing = answer.new_full((len(x), *answer.shape[1:]), torch.nan)
            answer = self.domain.put(nothing, active, answer)
        output = self.window.unpack(answer, history)
        frames = self.stepper.frames(history[:, -1:], output, self.leads(lead, output))
        if estimate is None or doubtful is None or not len(doubtful):
            return frames
        return self._settled(UntrustedFrames(index, doubtful, estimate, history, frames), samples)

    def _refined(
        self, call: CallAhead, number: int, samples: ActiveSamples
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """A refined output; with `Trust` also the error estimates and the samples in doubt."""
        assert self.refinement is not None
        assert self.account is not None
        active = samples.active
        on_device = active.to(call.x.device)
        mine = self.carry if samples.all_active else self.carry.take(self.domain, on_device)
        solution, mine = self.refinement(call, mine, number, self._calls)
        self.carry = mine if samples.all_active else self.carry.put(self.domain, on_device, mine)
        self.account.record(number, active, solution)
        if self.trust is None:
            return solution.value, None, None
        estimate, places = self.trust.in_doubt(solution)
        whole = torch.full((self.domain.samples,), torch.nan)
        whole[active] = estimate.to("cpu", whole.dtype)
        return solution.value, whole, active[places.cpu()]

    def _settled(self, found: UntrustedFrames, samples: ActiveSamples) -> Tensor:
        """Frames after `on_untrusted` has replaced the doubtful ones."""
        assert self.trust is not None
        assert self.untrusted is not None
        self.untrusted[found.frame : found.frame + self.window.outputs, found.samples] = True
        if self.trust.stops:
            samples.leave(found.samples, found.frame, Ending.UNTRUSTED)
            return found.frames
        other = self.trust.settle(found)
        if other is None:
            return found.frames
        mask = torch.zeros(self.domain.samples, device=other.device)
        mask[found.samples.to(other.device)] = 1
        return torch.where(self.domain.spread(mask, other) > 0, other.to(found.frames.dtype), found.frames)

    def _check(self) -> None:
        if "T" in self.caller.layout.x.names + self.caller.layout.answer.names:
            if self.window.order != "time":
                wanted = "a window with order='time' for a base with an axis of times"
                raise ValueError(expected(wanted, repr(self.window.order), "Window(order='time')"))
            if self.forcing is not None:
                wanted = "frames and static fields for a base with an axis of times"
                hint = "a function around the base that adds the forcing"
                raise ValueError(expected(wanted, "forcing", hint))
        alone = self.static is None and self.forcing is None
        if self.caller.on_points and not (alone and self.window.inputs == self.window.outputs == 1):
            got = "several of them, static or forcing"
            raise ValueError(
                expected("one frame (B, N, C) for a base on points", got, "a graph, Data(x=.., pos=..)")
            )
        if self.stepper.rule == "der" and self.clock is None:
            raise ValueError(expected("a clock for rule 'der'", None, "clock=Clock(step=0.1)"))
        if self.clock is not None and self.clock.restart != 1:
            if self.window.outputs > 1:
                wanted = "one way to many frames"
                raise ValueError(expected(wanted, "a bundle and restarts", "Window(outputs=1)"))
            if self.clock.block > 1 and self.stepper.rule != "der" and not self.caller.takes("tau"):
                wanted = "a model that takes tau, for several frames from one"
                raise ValueError(expected(wanted, f"restart={self.clock.block}", "restart=1"))
            if self.clock.restart < 1 and self.window.inputs > 1:
                wanted = "inputs=1 where a frame takes several calls"
                raise ValueError(expected(wanted, self.window.inputs, "restart=1"))
