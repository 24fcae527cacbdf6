"""DeepONet and MultiONet: a branch network reads the input at sensors, a trunk network reads coordinates."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.domain.grid import axis_points, points_of_axes, resample
from neuralop_irno.errors import check_least, expected


class BranchAndTrunk(nn.Module, ABC):
    """Base class of operators that are sums of functions of position, weighted by the input.

    They are called with fields on a grid, or with values at sensors and with points:

    - ``net(x)``: x is interpolated to the grid of sensors, and the answer is on the grid of x.
    - ``net(x, pos, queries)``: x are values at the sensors, always the same ones in the same order; the
      answer is at ``queries``, or at ``pos``, the sensors, without them. The answer at a point does not
      depend on the other points.

    Coordinates are those of the unit box. On a torus the trunk gets each coordinate as a point on a circle,
    so that its output is periodic.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        dim: spatial dimensions.
        sensors: number of sensors along each axis; ``sensors ** dim`` in all.
        functions: number of functions.
        periodic: whether the domain is a torus.
        scattered: number of sensors where these are no grid; the network then needs points in each call.

    Shapes:
        - x: ``(B, in_channels, *S)``; returns ``(B, out_channels, *S)``
        - or x: ``(B, number of sensors, in_channels)``; pos: ``(B, n, dim)`` or ``(n, dim)``; queries:
          ``(B, q, dim)`` or ``(q, dim)``; returns ``(B, q, out_channels)``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int,
        sensors: int,
        functions: int,
        periodic: bool,
        scattered: int | None,
    ) -> None:
        super().__init__()
        if dim not in (1, 2, 3):
            raise ValueError(expected("dim to be 1, 2 or 3", dim, "dim=2"))
        self.count = sensors**dim if scattered is None else scattered
        check_least(1, 16, sensors=sensors, functions=functions, scattered=self.count)
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.sensors, self.functions, self.periodic = sensors, functions, periodic
        self.scattered = scattered
        self.bias = nn.Parameter(torch.zeros(out_channels))

    @abstractmethod
    def pairs(self, sensed: Tensor, places: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Weights ``(B, out_channels functions)`` and functions ``(.., functions)``, whose sums are averaged.

        Args:
            sensed: x at the sensors, ``(B, in_channels * sensors)``.
            places: input of the trunk, ``(.., inputs)``.
        """

    @property
    def inputs(self) -> tuple[int, int]:
        """Inputs of the branch and of the trunk."""
        return self.in_channels * self.count, (2 if self.periodic else 1) * self.dim

    def forward(self, x: Tensor, pos: Tensor | None = None, queries: Tensor | None = None) -> Tensor:
        points = pos if queries is None else queries
        if points is None:
            if self.scattered is not None:
                wanted = f"points beside the values at {self.scattered} scattered sensors"
                raise ValueError(expected(wanted, "x alone", "net(x, queries=..)"))
            sensed = resample(x, (self.sensors,) * self.dim, (self.periodic,) * self.dim).flatten(1)
            return self._sums(sensed, self.places(x), "bcp,...p->bc...").add(
                self.bias.reshape(-1, *[1] * self.dim)
            )
        if x.dim() != 3 or x.shape[1:] != (self.count, self.in_channels):
            wanted = f"x at {self.count} sensors, (B, {self.count}, {self.in_channels})"
            hint = f"scattered={x.shape[1]}" if x.dim() == 3 else "channels last"
            raise ValueError(expected(wanted, tuple(x.shape), hint))
        if points.shape[-1] != self.dim:
            wanted, hint = f"points with {self.dim} coordinates", f"dim={points.shape[-1]}"
            raise ValueError(expected(wanted, tuple(points.shape), hint))
        points = points.to(x.dtype).expand(len(x), -1, -1)
        return self._sums(x.mT.flatten(1), self._on_circles(points), "bcp,bqp->bqc") + self.bias

    def places(self, x: Tensor) -> Tensor:
        """The trunk's input at every cell, ``(*S, d)`` or, on a torus, ``(*S, 2 d)``."""
        return self._on_circles(points_of_axes([axis_points(n, self.periodic, like=x) for n in x.shape[2:]]))

    def _on_circles(self, place: Tensor) -> Tensor:
        if not self.periodic:
            return place
        angle = 2 * math.pi * place
        return torch.cat([angle.cos(), angle.sin()], -1)

    def _sums(self, sensed: Tensor, places: Tensor, axes: str) -> Tensor:
        sums = [
            torch.einsum(axes, weights.unflatten(1, (self.out_channels, self.functions)), functions)
            for weights, functions in self.pairs(sensed, places)
        ]
        # Without the division by the root, a sum of many terms of size one starts out large.
        return torch.stack(sums).mean(0) / math.sqrt(self.functions)


class DeepONet(BranchAndTrunk):
    r"""DeepONet (https://arxiv.org/abs/1910.03193): a sum of functions of position, weighted by the input.

    .. math:: y_c(s) = \sum_p b_{cp}(x) \, t_p(s) + b_c

    with the branch b and the trunk t, two perceptrons. Calls and shapes as in `BranchAndTrunk`.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        dim: spatial dimensions.
        sensors: number of sensors along each axis.
        functions: number of functions t_p.
        width: channels of the hidden layers.
        depth: number of hidden layers of each network.
        periodic: whether the domain is a torus.
        scattered: number of sensors where these are no grid; the network then needs points in each call.

    Example:
        >>> net = DeepONet(2, 1, sensors=8, width=16)
        >>> net(torch.randn(3, 2, 12, 10)).shape
        torch.Size([3, 1, 12, 10])
        >>> net(torch.randn(3, 64, 2), queries=torch.rand(5, 2)).shape
        torch.Size([3, 5, 1])
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
        scattered: int | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, dim, sensors, functions, periodic, scattered)
        of_branch, of_trunk = self.inputs
        self.branch = _perceptron(of_branch, width, depth, out_channels * functions)
        self.trunk = _perceptron(of_trunk, width, depth, functions)

    def pairs(self, sensed: Tensor, places: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.branch(sensed), F.gelu(self.trunk(places))


class MultiONet(BranchAndTrunk):
    r"""MultiONet (https://arxiv.org/abs/2502.06250): the mean of the products of all pairs of layers.

    .. math:: y_c(s) = \frac{1}{L} \sum_{l=1}^L \sum_p b^l_{cp}(x) \, t^l_p(s) + b_c

    with the outputs b^l and t^l of the layers of branch and trunk; a DeepONet multiplies those of the last
    ones only. The published network averages over its last layers, with a learned factor for each. The layers
    of the branch have ``out_channels * functions`` channels, those of the trunk ``functions``. Calls and
    shapes as in `BranchAndTrunk`.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        dim: spatial dimensions.
        sensors: number of sensors along each axis.
        functions: number of functions of each layer.
        depth: L, the number of layers of each network.
        periodic: whether the domain is a torus.
        scattered: number of sensors where these are no grid; the network then needs points in each call.

    Example:
        >>> net = MultiONet(2, 1, sensors=8, functions=16)
        >>> net(torch.randn(3, 2, 12, 10)).shape
        torch.Size([3, 1, 12, 10])
        >>> net(torch.randn(3, 64, 2), queries=torch.rand(5, 2)).shape
        torch.Size([3, 5, 1])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        sensors: int = 16,
        functions: int = 64,
        depth: int = 4,
        periodic: bool = True,
        scattered: int | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, dim, sensors, functions, periodic, scattered)
        check_least(1, 4, depth=depth)
        of_branch, of_trunk = self.inputs
        self.branch = _layers(of_branch, out_channels * functions, depth)
        self.trunk = _layers(of_trunk, functions, depth)

    def pairs(self, sensed: Tensor, places: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for branch, trunk in zip(self.branch, self.trunk, strict=True):
            sensed, places = F.gelu(branch(sensed)), F.gelu(trunk(places))
            yield sensed, places


def _layers(inputs: int, width: int, depth: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(width if place else inputs, width) for place in range(depth))


def _perceptron(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.GELU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
