"""DeepONet on grids: a branch network reads the input at sensors, a trunk network reads coordinates."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.domain.grid import axis_points, points_of_axes, resample
from neuralop_irno.errors import expected


class DeepONet(nn.Module):
    r"""DeepONet (https://arxiv.org/abs/1910.03193): a sum of functions of position, weighted by the input.

    .. math:: y_c(s) = \sum_p b_{cp}(x) \, t_p(s) + b_c

    The branch b reads x interpolated to a grid of sensors; the trunk t is evaluated at the cells of x's own
    grid. On a torus t gets each coordinate as a point on a circle, so that its output is periodic.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        dim: spatial dimensions.
        sensors: number of sensors along each axis.
        functions: number of functions t_p.
        width: channels of the hidden layers.
        depth: number of hidden layers of each network.
        periodic: whether the domain is a torus.

    Shapes:
        - x: ``(B, in_channels, *S)``
        - returns: ``(B, out_channels, *S)``

    Example:
        >>> DeepONet(2, 1, sensors=8, width=16)(torch.randn(3, 2, 12, 10)).shape
        torch.Size([3, 1, 12, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        sensors: int = 16,
        functions: int = 64,
        width: int = 128,
        depth: int = 3,
        periodic: bool = True,
    ) -> None:
        super().__init__()
        if dim not in (1, 2, 3):
            raise ValueError(expected("dim to be 1, 2 or 3", dim, "dim=2"))
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.sensors, self.functions, self.periodic = sensors, functions, periodic
        self.branch = _perceptron(in_channels * sensors**dim, width, depth, out_channels * functions)
        self.trunk = _perceptron(2 * dim if periodic else dim, width, depth, functions)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        sensed = resample(x, (self.sensors,) * self.dim, (self.periodic,) * self.dim)
        weights = self.branch(sensed.flatten(1)).unflatten(1, (self.out_channels, self.functions))
        functions = F.gelu(self.trunk(self.places(x)))
        # Without this division, a sum of many terms of size one starts out large.
        answer = torch.einsum("bcp,...p->bc...", weights, functions) / math.sqrt(self.functions)
        return answer + self.bias.reshape(-1, *[1] * self.dim)

    def places(self, x: Tensor) -> Tensor:
        """The trunk's input at every cell, ``(*S, d)`` or, on a torus, ``(*S, 2 d)``."""
        place = points_of_axes([axis_points(n, self.periodic, like=x) for n in x.shape[2:]])
        if not self.periodic:
            return place
        angle = 2 * math.pi * place
        return torch.cat([angle.cos(), angle.sin()], -1)


def _perceptron(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.GELU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
