"""What to do where a refiner's own error estimate says that an answer is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.solution import Solution


@dataclass(frozen=True)
class Doubt:
    """Answers whose error estimate is above the limit.

    Attributes:
        frame: the number of the first frame in question, from 0.
        samples: whose answers they are.
        estimate: the error estimates, ``(samples of the batch,)``.
        history: the frames that went in, of all samples.
        frames: those that came out, of all samples.
    """

    frame: int
    samples: Tensor
    estimate: Tensor
    history: Tensor
    frames: Tensor


OnUntrusted = str | Callable[[Doubt], Tensor | None]
"""``record``, ``stop``, or a function that may return other frames, laid out like `Doubt.frames`: those of a
solver, say, for the samples in doubt. What it returns for the others is not read."""

WORDS = ("record", "stop")


class Trust:
    """Watches the error estimates of a rollout.

    The estimate is `Solution.error_estimate` for a calibrated model, and `Solution.error_bound` for others:
    the distance to the truth, or to the fixed point, of the answer to one call, in the model's units.

    Args:
        limit: the estimate above which an answer is in doubt.
        on_untrusted: see `OnUntrusted`.
    """

    def __init__(self, limit: float, on_untrusted: OnUntrusted) -> None:
        if not limit >= 0:
            raise ValueError(expected("limit >= 0", limit, "limit=0.1"))
        if not callable(on_untrusted) and on_untrusted not in WORDS:
            hint = did_you_mean(str(on_untrusted), WORDS)
            raise ValueError(expected("on_untrusted as a word or a function", repr(on_untrusted), hint))
        self._limit, self._on_untrusted = limit, on_untrusted

    @property
    def stops(self) -> bool:
        """Whether samples in doubt leave the rollout."""
        return self._on_untrusted == "stop"

    def in_doubt(self, solution: Solution) -> tuple[Tensor, Tensor]:
        """The estimates, and the places of those that are above the limit."""
        estimate = solution.error_bound if solution.error_estimate is None else solution.error_estimate
        # An estimate that is not a number is no reason to trust.
        return estimate, (~(estimate <= self._limit)).nonzero()[:, 0]

    def settle(self, doubt: Doubt) -> Tensor | None:
        """Other frames for the samples in doubt, if the user has any."""
        if not callable(self._on_untrusted):
            return None
        frames = self._on_untrusted(doubt)
        if frames is not None and frames.shape != doubt.frames.shape:
            raise ValueError(
                expected(
                    f"frames of shape {tuple(doubt.frames.shape)} from on_untrusted",
                    tuple(frames.shape),
                    "torch.where on doubt.frames",
                )
            )
        return frames
