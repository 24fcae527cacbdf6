"""How far a module can stretch, from what its layers are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuralop_irno.lipschitz.constants import constant_of
from neuralop_irno.lipschitz.graph import Graph
from neuralop_irno.lipschitz.known import know_other_packages


@torch.no_grad()
def lipschitz_bound(
    module: nn.Module,
    edge_index: Tensor | None = None,
    edge_weight: Tensor | None = None,
    nodes: int | None = None,
) -> float:
    r"""A number that a module's Lipschitz constant does not exceed:

    .. math:: |T(u) - T(v)|_2 \le L \, |u - v|_2

    by composition: constants of layers in a row are multiplied, those of a sum are added. Where the answer
    is shaped like the input the same holds in the norm of the domain, and ``network.solve(x, lipschitz=L)``
    gives bounds that hold. What a trained network does to the states that it meets is often far less.

    Args:
        module: linear layers, convolutions, activations, poolings, and sequences and sums of them. A layer of
            your own is made known with ``@constant_of.register``.
        edge_index: of the graph, where there are graph convolutions; of a batch, the bound holds for each.
        edge_weight: of its edges.
        nodes: how many there are, where the last ones may have no edge.

    Example:
        >>> block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        >>> _ = nn.init.eye_(block[0].weight)
        >>> round(lipschitz_bound(block), 2)
        1.0
    """
    know_other_packages()
    graph = None if edge_index is None else Graph(edge_index, edge_weight, nodes)
    return constant_of(module, graph)
