"""Adapter for bases that answer on a finer grid than x."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from neuralop_irno.base.operator import BaseOperator


class SuperResolution(BaseOperator):
    """A base whose x is a coarse image of its answer.

    The base gets x unchanged; the correction gets x interpolated bicubically to the grid of the answer. A
    coarse point is placed at the centre of its fine cells, so that away from the edges the correction gets
    the same x on a crop as on the whole field. `BaseOperator` aligns the end points instead, which stretches
    grids of different sizes differently.

    Shapes:
        - x: ``(B, C, H, W)``; the base's answer: ``(B, C', s H, s W)``

    Example:
        >>> import torch
        >>> base = SuperResolution(torch.nn.Upsample(scale_factor=2, mode="bicubic"))
        >>> problem = base.problem((torch.randn(1, 3, 4, 5),), {})
        >>> torch.equal(problem.x, problem.start)
        True
    """

    def interpolated(self, x: Tensor, shape: Sequence[int], periodic: Sequence[bool] | None) -> Tensor:
        return F.interpolate(x, list(shape), mode="bicubic", align_corners=False)
