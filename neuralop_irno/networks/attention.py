"""Attention as an integral operator, discretised by a quadrature rule over the tokens' positions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.errors import check_least, expected
from neuralop_irno.networks.tokens import Nodes


class AttentionIntegral(nn.Module):
    r"""Softmax attention between functions on a box, by quadrature.

    .. math:: (A u)(s) = \int p(s, r) \, V u(r) \, dr, \qquad
              p(s, r) = \frac{e^{\kappa(s, r)}}{\int e^{\kappa(s, r')} \, dr'}, \quad
              \kappa(s, r) = \frac{1}{\sqrt m} \langle R_s Q u(s), R_r K u(r) \rangle

    Nodes are weighted by the quadrature rule, so that the result changes with the grid only by the rule's
    error. R rotates pairs of channels by the phases of waves at a position (rotary embedding, see
    https://arxiv.org/abs/2104.09864), so that :math:`\kappa` depends on relative positions only, on a torus
    on periodic ones. Each head is one such integral.

    Args:
        width: channels of u.
        heads: number of integrals among which the channels are divided.
        local: learn the sharpness of each head, a factor of :math:`\kappa` that begins at 1, and leave the
            node s itself out of the integral (locality self-attention, https://arxiv.org/abs/2112.13492).

    Shapes:
        - u and the result: ``(B, N, width)`` for N nodes; at least two with ``local``

    Example:
        >>> from neuralop_irno.networks.tokens import patch_nodes
        >>> integral = AttentionIntegral(8, heads=2)
        >>> u = torch.randn(3, 5, 8)
        >>> integral(u, patch_nodes([5], [1], [False], u)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, width: int, heads: int = 4, local: bool = False) -> None:
        super().__init__()
        if heads < 1 or width < 1:
            raise ValueError(expected("heads and width >= 1", f"{heads} and {width}", "heads=4, width=64"))
        self.heads = heads
        inside = 2 * heads * math.ceil(width / (2 * heads))  # an even number of channels per head
        self.project = nn.Linear(width, 3 * inside, bias=False)
        self.join = nn.Linear(inside, width)
        self.sharpness = nn.Parameter(torch.zeros(heads)) if local else None

    def forward(self, u: Tensor, nodes: Nodes) -> Tensor:
        query, key, value = self.project(u).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        angles = nodes.angles(query.shape[-1] // 2)
        bias = None if nodes.measure is None else nodes.measure.log().to(query.dtype)[None, None, None]
        if self.sharpness is not None:
            query = query * self.sharpness.exp()[:, None, None]
            bias = _without_itself(u, bias)
        mean = F.scaled_dot_product_attention(_turned(query, angles), _turned(key, angles), value, bias)
        return self.join(mean.transpose(1, 2).flatten(2))


def _without_itself(u: Tensor, bias: Tensor | None) -> Tensor:
    """The bias with which every node leaves itself out."""
    nodes = u.shape[1]
    if nodes < 2:
        raise ValueError(expected("at least 2 tokens for local attention", nodes, "a smaller patch"))
    own = u.new_zeros(nodes, nodes).fill_diagonal_(-math.inf)
    return own if bias is None else own + bias


def _turned(vectors: Tensor, angles: Tensor) -> Tensor:
    """Rotate each pair of channels by its angle."""
    first, second = vectors.chunk(2, -1)
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


class Layer(nn.Module):
    """A transformer layer: an integral over all positions, then the same perceptron at each of them.

    With several branches the layer has as many integrals, whose sum is added to u, and as many perceptrons
    (https://arxiv.org/abs/2203.09795).

    Args:
        width: channels.
        heads: number of heads of the integral.
        local: see `AttentionIntegral`.
        branches: integrals and perceptrons side by side.

    Shapes:
        - u and the result: ``(B, N, width)``
    """

    def __init__(self, width: int, heads: int, local: bool = False, branches: int = 1) -> None:
        super().__init__()
        check_least(1, 1, branches=branches)
        self.integral = AttentionIntegral(width, heads, local)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.beside = nn.ModuleList(Layer(width, heads, local) for _ in range(branches - 1))

    def forward(self, u: Tensor, nodes: Nodes) -> Tensor:
        for own in (self._integral, self._perceptron):
            u = u + own(u, nodes)
        return u

    def _integral(self, u: Tensor, nodes: Nodes) -> Tensor:
        own: Tensor = self.integral(self.first(u), nodes)
        return own + sum(layer._integral(u, nodes) for layer in self._others())

    def _perceptron(self, u: Tensor, nodes: Nodes) -> Tensor:
        own: Tensor = self.perceptron(self.second(u))
        return own + sum(layer._perceptron(u, nodes) for layer in self._others())

    def _others(self) -> list[Layer]:
        return [layer for layer in self.beside if isinstance(layer, Layer)]


class IntegralOperator(nn.Module):
    """The operator T(u) = layers(u) - u of a stack of transformer layers.

    Then :math:`u = T(u) + f` is an integral equation of the second kind, and its first Picard step from f is
    the ordinary transformer.

    Args:
        width: channels.
        heads: number of heads of every layer.
        layers: number of layers, each with its own weights.
        skip: return layers(u), the ordinary transformer, instead.
        local: see `AttentionIntegral`.
        branches: see `Layer`.

    Shapes:
        - u and the result: ``(B, N, width)``
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int = 1,
        skip: bool = False,
        local: bool = False,
        branches: int = 1,
    ) -> None:
        super().__init__()
        check_least(1, 1, layers=layers)
        self.layers = nn.ModuleList(Layer(width, heads, local, branches) for _ in range(layers))
        self.skip = skip

    def forward(self, u: Tensor, nodes: Nodes) -> Tensor:
        deep = u
        for layer in self.layers:
            deep = layer(deep, nodes)
        return deep if self.skip else deep - u
