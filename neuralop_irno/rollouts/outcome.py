"""What a rollout returns: frames, how long each sample lasted, and what every call's refinement knew."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.solution import Outcome, Solution


class Ending(Enum):
    """How the rollout of one sample ended. Its value is the sentence for the user."""

    COMPLETED = "took all of its steps"
    NOT_FINITE = (
        "blew up: a frame is not finite; look at the step before, or try a shorter lead or refinement"
    )
    UNTRUSTED = "was stopped where the error estimate passed the limit"
    STOPPED = "was stopped by the function that takes its frames"


class Roster:
    """Who is still in a rollout, and how the others left it.

    Args:
        samples: how many there are.
        steps: that a sample takes if nothing happens.

    Attributes:
        lasted: frames of each sample that can be used, ``(samples,)``.
        endings: of each sample.
        active: the samples that are still in.
    """

    def __init__(self, samples: int, steps: int) -> None:
        self.lasted = torch.full((samples,), steps)
        self.endings = [Ending.COMPLETED] * samples
        self.active = torch.arange(samples)

    @property
    def all_in(self) -> bool:
        """Whether nobody has left."""
        return len(self.active) == len(self.lasted)

    def leave_broken(self, frame: Tensor, index: int, domain: Domain) -> None:
        """Take note of samples for which a frame is not finite."""
        if frame.detach().sum().isfinite():  # one number says that all is well, as it nearly always is
            return
        broken = (domain.mean((~frame.isfinite()).float()) > 0).nonzero()[:, 0].cpu()
        self.leave(broken[torch.isin(broken, self.active)], index, Ending.NOT_FINITE)

    def leave(self, samples: Tensor, index: int, ending: Ending) -> None:
        """Take note of samples whose frame ``index`` is the first that cannot be used."""
        self.lasted = self.lasted.clone()  # steps that were handed out keep theirs
        for sample in samples.tolist():
            self.lasted[sample], self.endings[sample] = index, ending
        self.active = self.active[~torch.isin(self.active, samples.cpu())]


class Account:
    """What refinement knew, call by call: a row for each call, a column for each sample.

    Args:
        calls: that the rollout makes.
        samples: of the batch.

    Attributes:
        evaluations: of Phi, ``(calls, samples)``; 0 for a sample that had left.
        residual: the last one, ``(calls, samples)``, nan for a sample that had left, as in the next three.
        contraction: the factor q by which the iteration shrank distances.
        error_bound: on the distance to the fixed point.
        error_estimate: on the distance to the truth of one call's answer, for a calibrated model; nan
            for others.
        outcomes: for each call, how each sample's solve ended; None for a sample that had left.
    """

    def __init__(self, calls: int, samples: int) -> None:
        self.evaluations = torch.zeros(calls, samples, dtype=torch.long)
        self.residual = torch.full((calls, samples), torch.nan)
        self.contraction, self.error_bound, self.error_estimate = (self.residual.clone() for _ in range(3))
        self.outcomes: list[tuple[Outcome | None, ...]] = [(None,) * samples] * calls

    def record(self, call: int, active: Tensor, solution: Solution) -> None:
        """Take note of a solve of the active samples."""
        self.evaluations[call, active] = solution.steps.cpu()
        self.residual[call, active] = solution.predictors["residual"].to("cpu", torch.float32)
        self.contraction[call, active] = solution.contraction.to("cpu", torch.float32)
        self.error_bound[call, active] = solution.error_bound.to("cpu", torch.float32)
        if solution.error_estimate is not None:
            self.error_estimate[call, active] = solution.error_estimate.to("cpu", torch.float32)
        row = list(self.outcomes[call])
        for sample, outcome in zip(active.tolist(), solution.outcomes, strict=True):
            row[sample] = outcome
        self.outcomes[call] = tuple(row)


@dataclass(frozen=True)
class Rollout:
    """The answer of `rollout`, with an account of every sample.

    Attributes:
        frames: the predicted ones, ``(B, T, C, *S)`` or ``(N, T, C)``; None where they went elsewhere. The
            frame in which a sample blew up is what came out; those after it are nan.
        times: when they are, ``(T,)``, or ``(samples, T)`` where samples have clocks of their own; None
            without a clock.
        endings: for each sample, how its rollout ended.
        lasted: for each sample, how many of its frames can be used, ``(samples,)``.
        untrusted: for each frame and sample, whether the error estimate was above the limit,
            ``(T, samples)``; None without a limit.
        account: of the calls that this rollout made itself; None without refinement=.
    """

    frames: Tensor | None
    times: Tensor | None
    endings: tuple[Ending, ...]
    lasted: Tensor
    untrusted: Tensor | None
    account: Account | None

    def __str__(self) -> str:
        whole = Counter(self.endings)
        lines = []
        for ending, count in whole.items():
            last = [n for n, e in zip(self.lasted.tolist(), self.endings, strict=True) if e is ending]
            frames = f"{min(last)}" if min(last) == max(last) else f"{min(last)} to {max(last)}"
            lines.append(f"{count} of {len(self.endings)} samples, {frames} frames: {ending.value}")
        return "\n".join(lines)
