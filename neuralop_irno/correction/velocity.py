"""A correction conditioned on time: the velocity of flow matching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from neuralop_irno.correction.correction import DEFAULT_CORRECTION
from neuralop_irno.correction.denoiser import Denoiser
from neuralop_irno.correction.from_module import build_inner
from neuralop_irno.registry import CORRECTIONS


class Velocity(Denoiser):
    r"""Phi(x, h, t): one network for all times, with the time as a further channel of x.

    .. math:: t = k / \text{levels}

    k is the number of evaluations before, as the solver `flow` counts them. Later ones have t = 1.
    Paper: flow matching, https://arxiv.org/abs/2210.02747.

    Args:
        correction: the network, built for the channels of x plus one.
        levels: number of times from 0 to 1.

    Example:
        >>> from neuralop_irno.correction.correction import FunctionCorrection
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> import torch
        >>> x = torch.zeros(3, 1, 2)
        >>> phi = Velocity(FunctionCorrection(lambda x, h: x[:, -1:]), levels=4).bind(x, GridDomain.of(x))
        >>> phi(x, torch.tensor([0, 1, 9]))[..., 0].flatten().tolist()
        [0.0, 0.25, 1.0]
    """

    subject = "time of a velocity"

    def code(self, taken: Tensor, like: Tensor) -> Tensor:
        return (taken.to(like.dtype) / self.levels).clamp(max=1)[:, None]


@CORRECTIONS.register("velocity")
def velocity(
    in_channels: int,
    out_channels: int,
    dim: int | None = None,
    correction: Any = DEFAULT_CORRECTION,
    levels: int = 4,
    padding: str | Sequence[str] | None = None,
) -> Velocity:
    """The correction ``velocity``: `Velocity` around a correction from a config.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions, if the correction has that option.
        correction: the network, name or config.
        levels: number of times from 0 to 1.
        padding: padding of the network, if it has that option and its config does not set it.
    """
    return Velocity(build_inner(correction, in_channels + 1, out_channels, dim, padding), levels)
