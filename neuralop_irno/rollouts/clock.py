"""The physical time of frames, and the lead of each call of the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.errors import expected


@dataclass(frozen=True)
class Clock:
    """Frames at regular times, for models with the time t and the lead tau as arguments.

    By default every frame is predicted from the last one. With
    ``restart=k`` the model is called with the leads tau = step, 2 step, .. k step from one frame, and then
    from the last of them. With ``restart=1/j`` each frame takes j calls of lead step / j.

    Args:
        start: the time of the last given frame, a number or one per sample.
        step: the time between two frames, a number or one per sample.
        restart: frames between two restarts: a whole number, or one over a whole number.

    Example:
        >>> clock = Clock(start=1.0, step=0.5, restart=4)
        >>> clock.time(0), clock.time(4), clock.block, clock.calls
        (1.0, 3.0, 4, 1)
    """

    start: Tensor | float = 0.0
    step: Tensor | float = 1.0
    restart: float = 1

    def __post_init__(self) -> None:
        for name in ("start", "step"):
            value = torch.as_tensor(getattr(self, name))
            if not value.isfinite().all() or (name == "step" and not value.all()):
                wanted = "a finite start" if name == "start" else "a finite step other than 0"
                raise ValueError(expected(wanted, getattr(self, name), f"{name}=0.1"))
        known = self.restart > 0 and min(self.restart % 1, 1 / self.restart % 1) < 1e-9
        if not known:
            wanted = "restart as a whole number or one over it"
            raise ValueError(expected(wanted, self.restart, "restart=4 or restart=0.5"))

    def time(self, frames: float) -> Tensor | float:
        """The time ``frames`` frames after the last given one."""
        return self.start + frames * self.step

    def times(self, steps: int) -> Tensor:
        """The times of the first ``steps`` frames, ``(T,)``, or ``(samples, T)`` if samples differ."""
        count = torch.arange(1, steps + 1, dtype=torch.float64)
        start, step = (
            torch.as_tensor(value, dtype=torch.float64, device="cpu") for value in (self.start, self.step)
        )
        return (
            start[..., None] + step[..., None] * count if start.dim() or step.dim() else start + step * count
        )

    @property
    def block(self) -> int:
        """The number of frames predicted from one frame."""
        return max(1, round(self.restart))

    @property
    def calls(self) -> int:
        """The number of successive calls for one frame."""
        return max(1, round(1 / self.restart))
