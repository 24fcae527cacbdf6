"""How far sums over neighbours stretch: the norm of an adjacency matrix, from above."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SWEEPS = 100


@dataclass(frozen=True)
class Graph:
    """Who is joined to whom.

    Attributes:
        edge_index: sources and targets, ``(2, E)``.
        edge_weight: of each edge, ``(E,)``; by default 1.
        nodes: how many there are; by default as many as the edges tell of.
    """

    edge_index: Tensor
    edge_weight: Tensor | None = None
    nodes: int | None = None

    @property
    def size(self) -> int:
        """How many nodes there are."""
        told = int(self.edge_index.max()) + 1 if self.edge_index.numel() else 1
        return told if self.nodes is None else max(self.nodes, told)

    @property
    def weights(self) -> Tensor:
        """One for each edge, ``(E,)``, in double precision."""
        ones = torch.ones(self.edge_index.shape[1], dtype=torch.float64, device=self.edge_index.device)
        return ones if self.edge_weight is None else self.edge_weight.double().flatten()


def adjacency_norm(source: Tensor, target: Tensor, weights: Tensor, nodes: int) -> float:
    r"""The norm of the matrix that sums over edges, from above, by Collatz and Wielandt:

    .. math:: |A|_2^2 \le \max_i \frac{(|A|^T |A| q)_i}{q_i} \qquad \text{for every } q > 0

    Power iteration moves q towards where this is an equality; it holds wherever the iteration is stopped.
    Signs of weights are ignored, which is an upper bound too.

    Args:
        source: of each edge, ``(E,)``.
        target: of each edge, ``(E,)``.
        weights: of each edge, ``(E,)``.
        nodes: how many there are.

    Example:
        >>> star = torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]])
        >>> round(adjacency_norm(star[0], star[1], torch.ones(4), 5), 6)
        2.0
    """
    weights = weights.double().abs()
    q = weights.new_ones(nodes)
    bound, tiny = weights.new_tensor(torch.inf), torch.finfo(q.dtype).tiny
    for _ in range(SWEEPS):
        gathered = weights.new_zeros(nodes).index_add(0, target, weights * q[source])
        image = weights.new_zeros(nodes).index_add(0, source, weights * gathered[target])
        bound = torch.minimum(bound, (image / q).amax())
        # Nodes whose component matters little must not reach zero: any q above zero will do.
        q = (image / image.amax().clamp(min=tiny)).clamp(min=1e-100)
    return float(bound.sqrt())
