"""Autoregressive evaluation in neuraloperator's own Trainer: the data processor that it needs."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.stepper import Stepper
from neuralop_irno.rollouts.training import unpacked
from neuralop_irno.rollouts.window import Window


class Autoregression(nn.Module):
    """Data processor with which neuraloperator's ``Trainer`` trains on one call and evaluates rollouts.

    Loaders yield x, the known frames, and y, any number of following frames: `TrajectorySegments`, say.
    Training uses the first call of each sample, with the loss in the model's units. With
    ``eval_modes={"test": "autoregression"}`` the model is called on its own frames to the end of y;
    the loss of each call compares frames in their own units with the truth, and the
    Trainer reports the mean. In its other mode, ``single_step``, only the first call is compared.

    Args:
        window: frames in and out of a call.
        stepper: from the model's output to a frame.
        lead: the time between two frames, for the rule ``der``.

    Shapes:
        - x: ``(B, inputs * C, *S)``; y: ``(B, frames * C, *S)``, time before channels
        - static, optional: ``(B, D, *S)``, input of the model after the history

    Example:
        >>> processor = Autoregression(Window(inputs=2)).eval()
        >>> frames = torch.arange(5.0).reshape(1, 5, 1)
        >>> sample = processor.preprocess({"x": frames[:, :2], "y": frames[:, 2:]}, step=0)
        >>> _, sample = processor.postprocess(torch.tensor([[[2.5]]]), sample, step=0)
        >>> sample = processor.preprocess(sample, step=1)
        >>> sample["x"].flatten().tolist(), sample["y"].flatten().tolist()
        ([1.0, 2.5], [3.0])
    """

    _history: Tensor
    _truth: Tensor

    def __init__(
        self, window: Window | None = None, stepper: Stepper | None = None, lead: float | None = None
    ) -> None:
        super().__init__()
        self.window, self.stepper = window or Window(), stepper or Stepper()
        if self.stepper.rule == "der" and lead is None:
            raise ValueError(expected("a lead for rule 'der'", None, "lead=0.1"))
        self._lead = lead
        self.device: Any = "cpu"  # the Trainer compares it with its own

    def to(self, device: Any) -> Self:  # type: ignore[override]
        """Set the device of batches and normalisers."""
        self.device = device
        for normaliser in (self.stepper.normaliser, self.stepper.changes):
            if isinstance(normaliser, nn.Module):
                normaliser.to(device)
        return self

    def preprocess(self, sample: dict[str, Any], step: int | None = None) -> dict[str, Any] | None:
        """The arguments of the model.

        Args:
            sample: a batch from the loader; after the first call of a rollout, what `postprocess` returned.
            step: the number of the call in a rollout; None for a single call.

        Returns:
            None after the end of y: the rollout is over.
        """
        if not step:
            self._begin(sample)
        call = step or 0
        bundle = self.window.outputs
        truth = self._truth[:, call * bundle : (call + 1) * bundle]
        if truth.shape[1] < bundle:
            return None
        last = self._history[:, -1:]
        seen = self.window.pack(self.stepper.seen(self._history))
        parts = [seen] if self._static is None else [seen, self._static]
        # Losses in training are in the model's units; those of an evaluation in the units of the frames.
        if self.training:
            y = self.window.pack(self.stepper.target(last, truth, self._leads(truth)))
        else:
            y = truth.flatten(1, 2)
        return {**self._others, "x": torch.cat(parts, 1), "y": y}

    def postprocess(
        self, out: Any, sample: dict[str, Any], step: int | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The output and y that losses compare.

        Args:
            out: the model's output.
            sample: its arguments.
            step: see `preprocess`.
        """
        if self.training:
            return out, sample
        output = self.window.unpack(out, self._history)
        frames = self.stepper.frames(self._history[:, -1:], output, self._leads(output))
        self._history = self.window.slide(self._history, frames)
        return frames.flatten(1, 2), sample

    def _begin(self, sample: dict[str, Any]) -> None:
        """Split a new batch into history and following frames."""
        here = {k: v.to(self.device) for k, v in sample.items() if isinstance(v, Tensor)}
        x, y = here.pop("x"), here.pop("y")
        channels = x.shape[1] // self.window.inputs
        if x.shape[1] % self.window.inputs or y.shape[1] < self.window.outputs * channels:
            wanted = f"x of {self.window.inputs} frames and y of at least {self.window.outputs}"
            hint = "TrajectorySegments(.., inputs=, frames=), or a Window of this many frames"
            raise ValueError(expected(wanted, f"{x.shape[1]} and {y.shape[1]} channels", hint))
        self._history, self._truth = unpacked(x, channels), unpacked(y, channels)
        self._static = here.pop("static", None)
        self._others = here

    def _leads(self, like: Tensor) -> Tensor | None:
        """The time from the last known frame to each frame of a call, shaped to multiply frames."""
        if self._lead is None:
            return None
        ahead = torch.arange(1, like.shape[1] + 1, device=like.device, dtype=like.dtype)
        return ahead.reshape(1, -1, *[1] * (like.dim() - 2)) * self._lead
