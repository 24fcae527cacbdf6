"""Layers of RIGNO: conditioned multilayer perceptrons and message passing along edges.

Rows are nodes or edges. Samples that share a mesh are stacked along a second axis, ``(rows, B, H)``, and rows
equal for all of them are ``(rows, 1, H)``. Samples on different meshes are concatenated along the rows,
``(rows, H)``, with a vector of the sample index of each row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-6  # as in the published models
SHRUNK_BY_TRUNCATION = 0.87962566103423978
"""The standard deviation of a standard normal truncated at +-2."""


class Condition(NamedTuple):
    """The condition of the norm layers.

    Attributes:
        lead: one number per sample, ``(B, 1)``, or the scalars of `AdaptiveNorm`, ``(B, n)``.
        sample: the sample index of each row; None if the samples are stacked along the second axis.
    """

    lead: Tensor
    sample: Tensor | None = None


class Gathered(NamedTuple):
    """Rows of a tensor to be gathered later: ``values[rows]``."""

    values: Tensor
    rows: Tensor


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer whose weights start from a truncated normal of variance 1 / inputs, with zero bias.

    Example:
        >>> dense(3, 5).bias.abs().max().item()
        0.0
    """
    layer = nn.Linear(inputs, outputs)
    spread = 1 / math.sqrt(inputs) / SHRUNK_BY_TRUNCATION
    nn.init.trunc_normal_(layer.weight, std=spread, a=-2 * spread, b=2 * spread)
    nn.init.zeros_(layer.bias)
    return layer


class ConditionedNorm(nn.Module):
    r"""Scale and shift features by networks s, b of one number c.

    .. math:: x \leftarrow x (1 + c \, s(c)) + c \, b(c)

    At c = 0 it is the identity.

    Args:
        channels: H.
        hidden: the width of both networks.

    Shapes:
        - x: ``(rows, B, H)`` or ``(rows, H)``

    Example:
        >>> norm = ConditionedNorm(4)
        >>> x = torch.randn(7, 2, 4)
        >>> torch.equal(norm(x, Condition(torch.zeros(2, 1))), x)
        True
    """

    def __init__(self, channels: int, hidden: int = 16) -> None:
        super().__init__()
        self.scale = nn.Sequential(nn.Linear(1, hidden), nn.Sigmoid(), nn.Linear(hidden, channels))
        self.shift = nn.Sequential(nn.Linear(1, hidden), nn.Sigmoid(), nn.Linear(hidden, channels))
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.01)

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        scale = 1 + condition.lead * self.scale(condition.lead)
        shift = condition.lead * self.shift(condition.lead)
        if condition.sample is not None:
            scale, shift = scale[condition.sample], shift[condition.sample]
        return torch.addcmul(shift, x, scale)


class AdaptiveNorm(nn.Module):
    r"""Scale and shift features by a network s, b of several numbers c.

    .. math:: x \leftarrow x (1 + s(c)) + b(c)

    It starts as the identity.

    Args:
        channels: H.
        scalars: how many numbers per sample.
        hidden: the width of the network.

    Shapes:
        - x: ``(rows, B, H)`` or ``(rows, H)``
    """

    def __init__(self, channels: int, scalars: int, hidden: int = 16) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(scalars, hidden), nn.Linear(hidden, 2 * channels)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        values = self.last(F.silu(self.first(condition.lead)))
        if condition.sample is not None:
            values = values[condition.sample]
        scale, shift = values.chunk(2, -1)
        return torch.addcmul(shift, x, 1 + scale)


Norm = Callable[[int], nn.Module]
"""Builds a conditioned norm for a number of channels."""


class MLP(nn.Module):
    r"""Two linear layers with SiLU between them, layer norm, and conditioned norm.

    The first layer reads several concatenated inputs, :math:`W [a, b, ..] = W_a a + W_b b + ..`. It is
    applied to each before gathering it along the edges, since there are fewer nodes than edges.

    Args:
        inputs: channels of all inputs together.
        outputs: H.
        conditioned: builds the conditioned norm; None leaves it out.

    Shapes:
        - each input: ``(rows, B or 1, channels)`` or ``(rows, channels)``

    Example:
        >>> mlp = MLP(5, 8)
        >>> edges, nodes = torch.randn(10, 3), torch.randn(4, 2)
        >>> mlp(edges, Gathered(nodes, torch.zeros(10, dtype=torch.long))).shape
        torch.Size([10, 8])
    """

    def __init__(self, inputs: int, outputs: int, conditioned: Norm | None = None) -> None:
        super().__init__()
        self.first = dense(inputs, outputs)
        self.second = dense(outputs, outputs)
        self.norm = nn.LayerNorm(outputs, eps=LAYER_NORM_EPS)
        self.conditioned = None if conditioned is None else conditioned(outputs)

    def forward(self, *inputs: Tensor | Gathered, condition: Condition | None = None) -> Tensor:
        x: Tensor = self.norm(self.second(F.silu(self._first(inputs))))
        if self.conditioned is not None and condition is not None:
            x = self.conditioned(x, condition)
        return x

    def _first(self, inputs: Sequence[Tensor | Gathered]) -> Tensor:
        """The first layer. Gathered inputs come first; the products of the others are added in place."""
        widths = [(part.values if isinstance(part, Gathered) else part).shape[-1] for part in inputs]
        parts = zip(inputs, self.first.weight.split(widths, 1), strict=True)
        bias: Tensor | None = self.first.bias
        total: Tensor | None = None
        for part, weight in sorted(parts, key=lambda pair: isinstance(pair[0], Tensor)):
            if isinstance(part, Gathered):
                answer = F.linear(part.values, weight, bias).index_select(0, part.rows)
            elif total is None or not _alike(total, part, weight):
                answer = F.linear(part, weight, bias)
            else:
                total.flatten(0, -2).addmm_(part.flatten(0, -2), weight.T)
                continue
            total, bias = answer if total is None else total + answer, None
        return torch.as_tensor(total)


def _alike(total: Tensor, part: Tensor, weight: Tensor) -> bool:
    """Whether a product can be added in place: the same rows, and no mixed precision."""
    return part.shape[:-1] == total.shape[:-1] and part.dtype == weight.dtype == total.dtype


class MessagePassing(nn.Module):
    r"""One step of message passing from senders to receivers.

    .. math:: m = M_e([e, h_s, h_r]), \qquad h_r \leftarrow h_r + M_r([h_r, \operatorname{mean} m])

    The mean is over a receiver's incoming edges, and 0 if there are none. Edges that are used again become
    e + m; this is left to the caller, since most edges are used once and they take the most memory.

    Args:
        width: H.
        conditioned: builds the conditioned norms; None leaves them out.

    Shapes:
        - edges, senders, receivers: ``(rows, B or 1, H)`` or ``(rows, H)``
        - index: ``(2, E)``, senders first

    Example:
        >>> step = MessagePassing(8)
        >>> index = torch.tensor([[0, 1, 1], [0, 0, 1]])
        >>> messages, nodes = step(torch.randn(3, 8), torch.randn(2, 8), torch.randn(4, 8), index)
        >>> messages.shape, nodes.shape
        (torch.Size([3, 8]), torch.Size([4, 8]))
    """

    def __init__(self, width: int, conditioned: Norm | None = None) -> None:
        super().__init__()
        self.edges = MLP(3 * width, width, conditioned)
        self.receivers = MLP(2 * width, width, conditioned)

    def forward(
        self,
        edges: Tensor,
        senders: Tensor,
        receivers: Tensor,
        index: Tensor,
        condition: Condition | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The messages and the updated receivers; ``condition`` is that of the receivers."""
        along = condition
        if condition is not None and condition.sample is not None:
            along = Condition(condition.lead, condition.sample[index[1]])
        ends = Gathered(senders, index[0]), Gathered(receivers, index[1])
        messages = self.edges(edges, *ends, condition=along)
        received = mean_at(messages, index[1], len(receivers))
        return messages, receivers + self.receivers(receivers, received, condition=condition)


def mean_at(messages: Tensor, index: Tensor, rows: int) -> Tensor:
    """The mean of the messages that arrive at each row, 0 if there are none.

    Example:
        >>> mean_at(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 2]), 3).squeeze()
        tensor([2., 0., 5.])
    """
    flat = messages.flatten(1)
    total = flat.new_zeros(rows, flat.shape[1]).index_add(0, index, flat)
    count = flat.new_zeros(rows).index_add(0, index, flat.new_ones(len(index))).clamp(min=1)
    return (total / count[:, None]).reshape(rows, *messages.shape[1:])
