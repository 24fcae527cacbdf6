"""What a solve returns, and the sentence that a user reads for each way that it can end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain


class Outcome(Enum):
    """How the solve of one sample ended. Its value is the sentence for the user."""

    COMPLETED = "took the number of steps that was asked for, with no tolerance to meet"
    CONVERGED = "the last update was smaller than the tolerance"
    OUT_OF_STEPS = "the steps ran out before the tolerance was met; try more max_steps, or a looser rtol"
    GROWING = "the updates grew instead of shrinking; try a smaller alpha or another solver"
    STALLED = "the updates stopped shrinking above the tolerance; try another solver or a looser rtol"
    NOT_FINITE = "the iterate is not finite; look at the input, or try a smaller alpha"

    @property
    def good(self) -> bool:
        """Whether the answer is what was asked for."""
        return self in (Outcome.COMPLETED, Outcome.CONVERGED)


@dataclass(frozen=True)
class Solution:
    """The answer of `IterativeRefiner.solve`, with an account of every sample.

    Attributes:
        value: what the base would have returned, refined.
        outcomes: for each sample, how its solve ended.
        steps: for each sample, the steps taken, ``(samples,)``.
        residuals: for each sample, the size of every update it made: row i has ``steps[i]`` numbers.
        evaluations: how often Phi was evaluated, counted in samples.
    """

    value: Any
    outcomes: tuple[Outcome, ...]
    steps: Tensor
    residuals: tuple[Tensor, ...]
    evaluations: int

    @property
    def good(self) -> Tensor:
        """For each sample, whether its answer is what was asked for, ``(samples,)``."""
        return torch.tensor([outcome.good for outcome in self.outcomes])

    def __str__(self) -> str:
        counts = Counter(self.outcomes)
        lines = [f"{n} of {len(self.outcomes)} samples: {o.value}" for o, n in counts.items()]
        return "\n".join(lines)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


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
        as_field: lays a target out like the iterates.
        as_answer: the way back.
    """

    iterates: tuple[Tensor, ...]
    progress: tuple[Tensor, ...]
    domain: Domain
    phi: Callable[[Tensor], Tensor] | None = None
    as_field: Callable[[Tensor], Tensor] = _as_it_is
    as_answer: Callable[[Tensor], Any] = _as_it_is

    @property
    def last(self) -> Tensor:
        """The last supervised iterate."""
        return self.iterates[-1]
