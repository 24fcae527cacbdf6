"""From a model's output to frames: the rules out, res and der, and normalisers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.time_step import advance, check_rule, target_output


class Normaliser(Protocol):
    """A scaling of frames, fitted once: neuraloperator's, or anything with these two methods."""

    def transform(self, data: Tensor) -> Tensor:
        """Normalise ``(B, C, *S)`` or ``(N, C)``."""

    def inverse_transform(self, data: Tensor) -> Tensor:
        """The inverse."""


@dataclass(frozen=True)
class Stepper:
    r"""The next frame u' from the last one u and the model's output s.

    ==========  =================================
    ``out``     :math:`u' = s`
    ``res``     :math:`u' = u + s`
    ``der``     :math:`u' = u + \tau s`
    ==========  =================================

    The model's input frames are normalised. Its output has the same scale, or that of ``changes`` for
    increments (``res``) and rates (``der``). Frames outside of the model are in physical units. If one output
    has several frames, u is the last input frame for each.

    Args:
        rule: ``out``, ``res`` or ``der``.
        normaliser: of frames.
        changes: of the model's output under ``res`` and ``der``.

    Shapes:
        - frames and outputs: ``(B, T, C, *S)`` or ``(N, T, C)``

    Example:
        >>> u, output = torch.full((1, 1, 1, 4), 2.0), torch.ones(1, 2, 1, 4)
        >>> Stepper("der").frames(u, output, lead=torch.tensor([0.5, 1.0])[:, None, None])[0, :, 0, 0]
        tensor([2.5000, 3.0000])
    """

    rule: str = "out"
    normaliser: Normaliser | None = None
    changes: Normaliser | None = None

    def __post_init__(self) -> None:
        if check_rule(self.rule) == "out" and self.changes is not None:
            raise ValueError(expected("rule 'res' or 'der' beside changes", "'out'", "normaliser= alone"))

    def check(self, frame: Tensor) -> None:
        """Refuse normalisers that were fitted to other fields."""
        for name in ("normaliser", "changes"):
            normaliser = getattr(self, name)
            if normaliser is None:
                continue
            try:
                got = tuple(normaliser.transform(frame).shape)
            except RuntimeError as error:
                got = tuple(str(error).splitlines()[:1])
            if got != tuple(frame.shape):
                wanted = f"{name}= for frames {tuple(frame.shape)}"
                hint = "one that was fitted to the same channels"
                raise ValueError(expected(wanted, f"one that returns {got}", hint))

    def seen(self, frames: Tensor) -> Tensor:
        """Normalise frames for the model."""
        return frames if self.normaliser is None else framewise(self.normaliser.transform, frames)

    def frames(self, last: Tensor, output: Tensor, lead: Tensor | float | None = None) -> Tensor:
        """The frames of an output.

        Args:
            last: the last input frame, with a time axis of length 1.
            output: the model's output.
            lead: the time from there to each frame, shaped to multiply frames.
        """
        if self.changes is not None:
            return advance(self.rule, last, framewise(self.changes.inverse_transform, output), lead)
        # Under "out" the last frame is not used.
        before = last if self.rule == "out" else self.seen(last)
        after = advance(self.rule, before, output, lead)
        return after if self.normaliser is None else framewise(self.normaliser.inverse_transform, after)

    def target(self, last: Tensor, after: Tensor, lead: Tensor | float | None = None) -> Tensor:
        """The output that gives these frames: the target of training."""
        if self.changes is not None:
            return framewise(self.changes.transform, target_output(self.rule, last, after, lead))
        before = last if self.rule == "out" else self.seen(last)
        return target_output(self.rule, before, self.seen(after), lead)


def framewise(function: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """Apply a function of one frame to each of several."""
    if frames.shape[1] == 1:
        return function(frames[:, 0]).unsqueeze(1)
    return torch.stack([function(frame) for frame in frames.unbind(1)], 1)
