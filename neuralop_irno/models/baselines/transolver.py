"""Transolver: attention among a few slices of a set of points, instead of among the points."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from neuralop_irno.errors import check_least, expected


class Transolver(nn.Module):
    r"""Transolver (https://arxiv.org/abs/2402.02366) on any set of points: its order does not count.

    .. math:: h \leftarrow h + A(\text{norm}(h)) \qquad h \leftarrow h + \text{mlp}(\text{norm}(h))

    with the physics attention A of `PhysicsAttention`, from h = mlp([s, x]) at the coordinates s. A refiner
    calls it with points or with graphs of different sizes, which are padded; edges are not used.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        dim: coordinates of each point, which are inputs too.
        width: channels of the layers, a multiple of ``heads``.
        layers: number of layers.
        heads: number of heads, each with its own slices.
        slices: number of slices of each head.
        ratio: channels of the hidden layer of each perceptron, over ``width``.

    Shapes:
        - x: ``(B, n, in_channels)``; pos: ``(B, n, dim)`` or ``(n, dim)``
        - mask: ``(B, n)`` or ``(n,)``, True at points and False at padding
        - returns: ``(B, n, out_channels)``; at padding any finite number

    Example:
        >>> net = Transolver(2, 1, width=16, heads=2, slices=4)
        >>> net(torch.randn(3, 50, 2), torch.rand(3, 50, 2)).shape
        torch.Size([3, 50, 1])
    """

    POINT_ARGUMENTS: ClassVar[dict[str, str]] = {"fields": "x", "pos": "pos", "mask": "mask"}
    """What its arguments are, for `PointOperator`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 64,
        layers: int = 4,
        heads: int = 4,
        slices: int = 32,
        ratio: int = 2,
    ) -> None:
        super().__init__()
        check_least(1, 2, dim=dim, layers=layers, heads=heads, slices=slices, ratio=ratio)
        if width < 1 or width % heads:
            hint = f"width={max(1, width // heads) * heads}"
            raise ValueError(expected(f"a width that {heads} heads divide", width, hint))
        # Not ``dim``: the coordinates of points are not the axes of a grid.
        self.in_channels, self.out_channels, self.coordinates = in_channels, out_channels, dim
        self.lift = _perceptron(dim + in_channels, 2 * width, width)
        self.everywhere = nn.Parameter(torch.rand(width) / width)
        self.blocks = nn.ModuleList(_Block(width, heads, slices, ratio) for _ in range(layers))
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out_channels))

    def forward(self, x: Tensor, pos: Tensor, mask: Tensor | None = None) -> Tensor:
        if pos.shape[-1] != self.coordinates:
            wanted, hint = f"pos with {self.coordinates} coordinates", f"dim={pos.shape[-1]}"
            raise ValueError(expected(wanted, tuple(pos.shape), hint))
        if x.shape[-1] != self.in_channels:
            wanted, hint = f"x with {self.in_channels} channels", f"in_channels={x.shape[-1]}"
            raise ValueError(expected(wanted, tuple(x.shape), hint))
        weight = None if mask is None else mask.expand(x.shape[:2]).to(x.dtype)
        h = self.lift(torch.cat([pos.expand(len(x), -1, -1).to(x.dtype), x], -1)) + self.everywhere
        for block in self.blocks:
            h = block(h, weight)
        return self.last(h)


class PhysicsAttention(nn.Module):
    r"""Points to slices, attention among the slices, and back to the points; for each head

    .. math:: w = \text{softmax}(L h_i / \tau) \qquad z_g = \sum_i w_{ig} f_i / \sum_i w_{ig} \qquad
              y_i = \sum_g w_{ig} \, \text{attention}(z)_g

    with linear maps f and L of h and a learned temperature tau between 0.1 and 5. The slice weights w of a
    point sum to one over the slices g. The cost is linear in the number of points.

    Args:
        width: channels of h.
        heads: number of heads.
        slices: number of slices.

    Shapes:
        - h and the output: ``(B, n, width)``
        - inside: ``(B, n)``, 1 at points and 0 at padding; None if no point is padding

    Example:
        >>> attention = PhysicsAttention(8, heads=2, slices=4)
        >>> weights = attention.slices(torch.randn(1, 5, 8))
        >>> weights.shape, torch.allclose(weights.sum(-1), torch.ones(()))
        (torch.Size([1, 2, 5, 4]), True)
    """

    def __init__(self, width: int, heads: int, slices: int) -> None:
        super().__init__()
        own = width // heads
        self.heads = heads
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), 0.5))
        self.into_slices, self.values = nn.Linear(width, width), nn.Linear(width, width)
        self.slice = nn.Linear(own, slices)
        nn.init.orthogonal_(self.slice.weight)  # so that the slices differ from the start
        self.query, self.key, self.value = (nn.Linear(own, own, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)

    def slices(self, h: Tensor) -> Tensor:
        """The weights of each point in the slices, ``(B, heads, n, slices)``."""
        scores = self.slice(self._by_head(self.into_slices(h)))
        return (scores / self.temperature.clamp(0.1, 5)).softmax(-1)

    def forward(self, h: Tensor, inside: Tensor | None = None) -> Tensor:
        weights = self.slices(h)
        counted = weights if inside is None else weights * inside[:, None, :, None]
        sums = counted.mT @ self._by_head(self.values(h))
        tokens = sums / (counted.sum(2) + 1e-5)[..., None]
        query, key, value = self.query(tokens), self.key(tokens), self.value(tokens)
        attention = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
        return self.out((weights @ (attention @ value)).transpose(1, 2).flatten(2))

    def _by_head(self, h: Tensor) -> Tensor:
        """``(B, n, width)`` as ``(B, heads, n, width / heads)``."""
        return h.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Block(nn.Module):
    """Physics attention and a perceptron at each point, each after a norm and around a skip."""

    def __init__(self, width: int, heads: int, slices: int, ratio: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = PhysicsAttention(width, heads, slices)
        self.pointwise = _perceptron(width, ratio * width, width)

    def forward(self, h: Tensor, inside: Tensor | None) -> Tensor:
        h = h + self.attention(self.first_norm(h), inside)
        return h + self.pointwise(self.second_norm(h))


def _perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, outputs))
