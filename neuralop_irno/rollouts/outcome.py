"""The result of a rollout: frames, the valid length of each sample, and the refinement of every call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.solution import Outcome, Solution


class Ending(Enum):
    """How the rollout of one sample ended. Its value is the sentence that is printed.

    Example:
        >>> import neuralop_irno as irno
        >>> run = irno.rollout(lambda u: u / 0, torch.ones(1, 1, 2), steps=3)
        >>> run.endings[0].name, run.lasted.tolist()
        ('NOT_FINITE', [0])
    """

    COMPLETED = "took all of its steps"
    NOT_FINITE = (
        "blew up: a frame is not finite; look at the step before, or try a shorter lead or refinement"
    )
    UNTRUSTED = "was stopped where the error estimate passed the limit"
    STOPPED = "was stopped by the function that takes its frames"


class ActiveSamples:
    """The active samples of a rollout, and the endings of the others.

    Args:
        samples: their number.
        steps: of a sample that does not leave early.

    Attributes:
        lasted: the number of valid frames of each sample, ``(samples,)``.
        endings: of each sample.
        active: the samples that have not left.
    """

    def __init__(self, samples: int, steps: int) -> None:
        self.lasted = torch.full((samples,), steps)
        self.endings = [Ending.COMPLETED] * samples
        self.active = torch.arange(samples)

    @property
    def all_active(self) -> bool:
        """Whether all samples are active."""
        return len(self.active) == len(self.lasted)

    def leave_broken(self, frame: Tensor, index: int, domain: Domain) -> None:
        """Remove samples for which a frame is not finite."""
        if frame.detach().sum().isfinite():  # the common case, with one reduction
            return
        broken = (domain.mean((~frame.isfinite()).float()) > 0).nonzero()[:, 0].cpu()
        self.leave(broken[torch.isin(broken, self.active)], index, Ending.NOT_FINITE)

    def leave(self, samples: Tensor, index: int, ending: Ending) -> None:
        """Remove samples whose frame ``index`` is the first invalid one."""
        self.lasted = self.lasted.clone()  # earlier `Step` objects hold the old tensor
        for sample in samples.tolist():
            self.lasted[sample], self.endings[sample] = index, ending
        self.active = self.active[~torch.isin(self.active, samples.cpu())]


class Account:
    """The refinement of each call and sample: a row for each call, a column for each sample.

    Args:
        calls: that the rollout makes.
        samples: of the batch.

    Attributes:
        evaluations: of Phi, ``(calls, samples)``; 0 for a sample that had left.
        residual: the last one, ``(calls, samples)``, nan for a sample that had left, as in the next three.
        contraction: the observed factor q.
        error_bound: of the distance to the fixed point.
        error_estimate: of the distance to the truth in one call, for a calibrated model; nan
            for others.
        outcomes: for each call, how each sample's solve ended; None for a sample that had left.
    """

    def __init__(self, calls: int, samples: int) -> None:
        self.evaluations = torch.zeros(calls, samples, dtype=torch.long)
        self.residual = torch.full((calls, samples), torch.nan, dtype=torch.float32)
        self.contraction, self.error_bound, self.error_estimate = (self.residual.clone() for _ in range(3))
        self.outcomes: list[tuple[Outcome | None, ...]] = [(None,) * samples] * calls

    def record(self, call: int, active: Tensor, solution: Solution) -> None:
        """Store the solution of the active samples."""
        self.evaluations[call, active] = solution.steps.cpu()
        last = [row[-1] if len(row) else row.new_tensor(torch.nan) for row in solution.residuals]
        self.residual[call, active] = torch.stack(last).to("cpu", torch.float32)
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
    """The result of `rollout`.

    Attributes:
        frames: the predicted ones, ``(B, T, C, *S)`` or ``(N, T, C)``; None if they went to a file or a
            function. The frame in which a sample blew up is kept; later ones are nan.
        times: of the frames, ``(T,)``, or ``(samples, T)`` if the clock differs by sample; None
            without a clock.
        endings: for each sample, how its rollout ended.
        lasted: for each sample, the number of its valid frames, ``(samples,)``.
        untrusted: for each frame and sample, whether the error estimate was above the limit,
            ``(T, samples)``; None without a limit.
        account: of the calls that this rollout made itself; None without refinement=.
        sweeps: with parallel=, of every window that this rollout predicted itself, for each sample,
            ``(windows, samples)``; else None.

    Example:
        >>> import neuralop_irno as irno
        >>> run = irno.rollout(lambda u: 0.5 * u, torch.ones(2, 1, 4), steps=3)
        >>> run.frames.shape, run.frames[0, :, 0, 0]
        (torch.Size([2, 3, 1, 4]), tensor([0.5000, 0.2500, 0.1250]))
        >>> run.lasted
        tensor([3, 3])
    """

    frames: Tensor | None
    times: Tensor | None
    endings: tuple[Ending, ...]
    lasted: Tensor
    untrusted: Tensor | None
    account: Account | None
    sweeps: Tensor | None = None

    def __repr__(self) -> str:
        complete = self.endings.count(Ending.COMPLETED)
        kept = "frames elsewhere" if self.frames is None else f"frames {tuple(self.frames.shape)}"
        return f"Rollout({complete} of {len(self.endings)} samples complete, {kept})"

    def __str__(self) -> str:
        whole = Counter(self.endings)
        lines = []
        for ending, count in whole.items():
            last = [n for n, e in zip(self.lasted.tolist(), self.endings, strict=True) if e is ending]
            frames = f"{min(last)}" if min(last) == max(last) else f"{min(last)} to {max(last)}"
            lines.append(f"{count} of {len(self.endings)} samples, {frames} frames: {ending.value}")
        return "\n".join(lines)
