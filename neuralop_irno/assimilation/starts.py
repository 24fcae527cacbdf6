"""Perturbed starts of an ensemble."""

from __future__ import annotations

import torch

from neuralop_irno.assimilation.members import check_members
from neuralop_irno.data.flows import Flow, side_by_side
from neuralop_irno.errors import expected


def perturbed(flow: Flow, members: int, noise: float, seed: int = 0) -> Flow:
    """The members of an ensemble of each flow, side by side: white noise is added to the given frames.

    Args:
        flow: one or several.
        members: M, of each flow.
        noise: its standard deviation, in units of that of each field of the start.
        seed: of the noise, which depends only on it and on the place of a flow.

    Example:
        >>> perturbed(Flow(torch.randn(2, 1, 1, 8)), members=3, noise=0.1)
        Flow(start (6, 1, 1, 8), no frames)
    """
    check_members(members)
    if not noise > 0:
        raise ValueError(expected("noise > 0", noise, "noise=0.01"))
    parts = []
    for place, own in enumerate(flow.apart()):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + place)
        together = own.repeated(members)
        shape = together.start.shape  # (M, T, C, *S) or (M N, T, C): fields are along axis 2
        axes = [axis for axis in range(len(shape)) if axis != 2]
        size = noise * together.start.std(axes, correction=0, keepdim=True)
        drawn = torch.randn(shape, generator=generator, dtype=together.start.dtype)
        parts.append(together.started(together.start + size * drawn.to(size.device)))
    return side_by_side(parts)
