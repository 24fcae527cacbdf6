"""Actions for frames whose error estimate exceeds a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from neuralop_irno.errors import check_choice, expected
from neuralop_irno.solution import Solution


@dataclass(frozen=True)
class UntrustedFrames:
    """Frames whose error estimate is above the limit.

    Attributes:
        frame: the number of the first of them, from 0.
        samples: in doubt.
        estimate: the error estimates, ``(samples of the batch,)``.
        history: the input frames, of all samples.
        frames: the predicted frames, of all samples.

    Example:
        >>> import torch
        >>> frames = UntrustedFrames(
        ...     frame=3, samples=torch.tensor([1]), estimate=torch.tensor([0.4]),
        ...     history=torch.zeros(1, 1, 4), frames=torch.ones(1, 1, 4),
        ... )
        >>> def coarse(doubtful):  # for `on_untrusted`: half of each doubtful frame
        ...     return 0.5 * doubtful.frames
        >>> coarse(frames).mean()
        tensor(0.5000)
    """

    frame: int
    samples: Tensor
    estimate: Tensor
    history: Tensor
    frames: Tensor


OnUntrusted = str | Callable[[UntrustedFrames], Tensor | None]
"""``record``, ``stop``, or a function that may return other frames, laid out like `UntrustedFrames.frames`:
those of a solver, say, for the samples in doubt. Its values for other samples are not used."""

WORDS = ("record", "stop")


class Trust:
    """Checks the error estimates of a rollout.

    The estimate is `Solution.error_estimate` for a calibrated model, and `Solution.error_bound` for others:
    the distance to the truth, or to the fixed point, in one call, in the model's units.

    Args:
        limit: the estimate above which a frame is in doubt.
        on_untrusted: see `OnUntrusted`.
    """

    def __init__(self, limit: float, on_untrusted: OnUntrusted) -> None:
        if not limit >= 0:
            raise ValueError(expected("limit >= 0", limit, "limit=0.1"))
        if not callable(on_untrusted):
            check_choice("on_untrusted='record', 'stop' or a function", on_untrusted, WORDS)
        self._limit, self._on_untrusted = limit, on_untrusted

    @property
    def stops(self) -> bool:
        """Whether samples in doubt leave the rollout."""
        return self._on_untrusted == "stop"

    def in_doubt(self, solution: Solution) -> tuple[Tensor, Tensor]:
        """The estimates, and the indices of those that are above the limit."""
        estimate = solution.error_bound if solution.error_estimate is None else solution.error_estimate
        # A nan estimate counts as above the limit.
        return estimate, (~(estimate <= self._limit)).nonzero()[:, 0]

    def settle(self, found: UntrustedFrames) -> Tensor | None:
        """The frames of ``on_untrusted`` for the samples in doubt, if any."""
        if not callable(self._on_untrusted):
            return None
        frames = self._on_untrusted(found)
        if frames is not None and frames.shape != found.frames.shape:
            wanted = f"frames of shape {tuple(found.frames.shape)} from on_untrusted"
            raise ValueError(expected(wanted, tuple(frames.shape), "torch.where on doubt.frames"))
        return frames
