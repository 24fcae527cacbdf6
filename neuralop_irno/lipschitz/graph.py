"""Upper bound on the norm of an adjacency matrix, for sums over neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SWEEPS = 100


@dataclass(frozen=True)
class Graph:
    """The edges of a graph.

    Attributes:
        edge_index: sources and targets, ``(2, E)``.
        edge_weight: weight of each edge, ``(E,)``; by default 1.
        nodes: number of nodes; by default the largest index in ``edge_index`` plus 1.
        norm: ``euclidean``, or ``sum`` for the sum of the nodes' norms.

    Example:
        >>> import neuralop_irno as irno
        >>> ring = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]), nodes=3)
        >>> irno.constant_of(torch.nn.ReLU(), ring)
        1.0
    """

    edge_index: Tensor
    edge_weight: Tensor | None = None
    nodes: int | None = None
    norm: str = "euclidean"

    @property
    def size(self) -> int:
        """The number of nodes."""
        told = int(self.edge_index.max()) + 1 if self.edge_index.numel() else 1
        return told if self.nodes is None else max(self.nodes, told)

    @property
    def weights(self) -> Tensor:
        """The weight of each edge, ``(E,)``, in double precision."""
        ones = torch.ones(self.edge_index.shape[1], dtype=torch.float64, device=self.edge_index.device)
        return ones if self.edge_weight is None else self.edge_weight.double().flatten()


def adjacency_norm(source: Tensor, target: Tensor, weights: Tensor, nodes: int) -> float:
    r"""Upper bound on the norm of the weighted adjacency matrix, by Collatz and Wielandt:

    .. math:: |A|_2^2 \le \max_i \frac{(|A|^T |A| q)_i}{q_i} \qquad \text{for every } q > 0

    Power iteration moves q towards equality; the bound holds after any number of iterations. Signs of weights
    are ignored, which can only increase the bound.

    Args:
        source: source of each edge, ``(E,)``.
        target: target of each edge, ``(E,)``.
        weights: weight of each edge, ``(E,)``.
        nodes: number of nodes.

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
        # Keep q > 0, also in components with a small norm, since the bound requires it.
        q = (image / image.amax().clamp(min=tiny)).clamp(min=1e-100)
    return float(bound.sqrt())
