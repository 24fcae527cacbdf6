"""Bases that answer on a finer grid than x: what the correction sees of x there."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from neuralop_irno.base.operator import BaseOperator


class SuperResolution(BaseOperator):
    """A base whose x is a coarse image of its answer.

    The base gets x as it is; the correction gets it on the grid of the answer, by bicubic interpolation. A
    coarse point stands in the middle of the cells that it was made of, so that nothing away from the edges
    depends on where the edges are: on a crop, the correction sees what it sees on the whole field. Lined up
    by their ends, as `BaseOperator` carries x, grids of different size would be stretched differently.

    Shapes:
        - x: ``(B, C, H, W)``; the base's answer: ``(B, C', s H, s W)``

    Example:
        >>> import torch
        >>> base = SuperResolution(torch.nn.Upsample(scale_factor=2, mode="bicubic"))
        >>> problem = base.problem((torch.randn(1, 3, 4, 5),), {})
        >>> torch.equal(problem.x, problem.start)
        True
    """

    def carried(self, x: Tensor, shape: Sequence[int], periodic: Sequence[bool] | None) -> Tensor:
        return F.interpolate(x, list(shape), mode="bicubic", align_corners=False)
