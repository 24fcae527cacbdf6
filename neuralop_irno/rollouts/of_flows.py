"""Rollouts from the flows of a data set: the window, scaling, clock and further input that the data imply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from neuralop_irno.data.flows import Flow, Flows
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.rollouts.clock import Clock
from neuralop_irno.rollouts.stepper import Stepper
from neuralop_irno.rollouts.window import Window

REGULAR = 1e-3
"""The largest difference between equal steps, in units of the step: times may be in single precision."""


def rollout_options(
    flows: Flows, flow: Flow, rule: str = "out", clock: Clock | None = None
) -> dict[str, Any]:
    """The options of `rollout` with which a model starts from a flow: what the data imply.

    Args:
        flows: those of the data set that the model was trained on.
        flow: one of them, or several side by side.
        rule: of the `Stepper`: what the model predicts.
        clock: by default that of the flow's times; see `clock_of`.

    Example:
        >>> import torch
        >>> from neuralop_irno.data.fields import windows
        >>> from neuralop_irno.data.flow_sources import flows_of
        >>> from neuralop_irno.rollouts.rollout import rollout
        >>> flows = flows_of(windows(torch.randn(3, 9, 16), step=0.1), steps=4)
        >>> run = rollout(lambda u: 0.9 * u, flows[0].first, flows.steps, **rollout_options(flows, flows[0]))
        >>> run.frames.shape, run.times
        (torch.Size([1, 4, 1, 16]), tensor([0.1000, 0.2000, 0.3000, 0.4000], dtype=torch.float64))
    """
    more = {"given": flows.given, "per_sample": ()} if flows.given else {}
    return {
        **more,
        "window": Window(flows.inputs, flows.outputs),
        "stepper": Stepper(rule, None if flows.scaling is None else Scaled(flows.scaling)),
        "clock": clock or clock_of(flow.times),
        "static": flow.static,
        "forcing": flow.forcing,
    }


def clock_of(times: Tensor | None) -> Clock | None:
    """The clock of times at equal distances; None if they are unknown or irregular.

    Args:
        times: of the last given frame and of the frames that follow, ``(B, 1 + T)``.

    Example:
        >>> import torch
        >>> clock_of(torch.tensor([[1.0, 1.5, 2.0]]))
        Clock(start=1.0, step=0.5, restart=1)
        >>> clock_of(torch.tensor([[1.0, 1.5, 3.0]]))
    """
    if times is None:
        return None
    gaps = times.double().diff()
    step = gaps.mean(1)
    if ((gaps - step[:, None]).abs() > REGULAR * step[:, None].abs()).any():
        return None
    start = times[:, 0].double()
    if (start == start[0]).all() and ((step - step[0]).abs() <= REGULAR * step[0].abs()).all():
        return Clock(start[0].item(), step[0].item())
    return Clock(start.to(times.dtype), step.to(times.dtype))


@dataclass(frozen=True)
class Scaled:
    """The scaling of a data set as the normaliser of a `Stepper`."""

    scaling: Scaling

    def transform(self, data: Tensor) -> Tensor:
        """From the units of the files to those of the model."""
        return self.scaling.apply(data)

    def inverse_transform(self, data: Tensor) -> Tensor:
        """The inverse."""
        return self.scaling.undo(data)
