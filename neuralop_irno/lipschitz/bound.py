"""Upper bound on the Lipschitz constant of a module, composed from its layers."""

from __future__ import annotations

import math
import sys
from typing import Literal

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.ball import constant_on_ball
from neuralop_irno.lipschitz.constants import constant_of
from neuralop_irno.lipschitz.graph import Graph


@torch.no_grad()
def lipschitz_bound(
    module: nn.Module,
    edge_index: Tensor | None = None,
    edge_weight: Tensor | None = None,
    nodes: int | None = None,
    *,
    radius: float | None = None,
    norm: Literal["euclidean", "sum"] = "euclidean",
) -> float:
    r"""An upper bound L on a module's Lipschitz constant:

    .. math:: |T(u) - T(v)|_2 \le L \, |u - v|_2

    by composition: constants of consecutive layers are multiplied, those of a sum are added. If output and
    input have the same shape, the same holds in the norm of the domain, and ``network.solve(x, lipschitz=L)``
    gives proved error bounds. The constant on the states that a trained network meets is often far smaller.

    Args:
        module: linear layers, convolutions, activations, poolings, and sequences and sums of them. Register
            your own layers with ``@constant_of.register``.
        edge_index: the graph, for graph convolutions; for a batch, the bound holds for each graph.
        edge_weight: weights of its edges.
        nodes: number of nodes, needed if the last ones have no edges.
        radius: r; the bound holds for \|u\|, \|v\| <= r in the Euclidean norm of a sample. Needed for modules
            without a bound on the whole space, such as `LinearAttention`; None for the whole space.
        norm: ``sum`` for graphs only: the sum over nodes of the Euclidean norms of their channels, in place
            of the root of the sum of squares. Rules that you registered have to hold in it.

    Example:
        >>> block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        >>> _ = nn.init.eye_(block[0].weight)
        >>> round(lipschitz_bound(block), 2)
        1.0
    """
    register_loaded_layers()
    if norm not in ("euclidean", "sum"):
        raise ValueError(expected("norm 'euclidean' or 'sum'", repr(norm), "norm='euclidean'"))
    if norm == "sum" and edge_index is None:
        raise ValueError(expected("a graph for the norm 'sum'", "none", "edge_index=edge_index"))
    if radius is not None and not 0 < radius < math.inf:
        raise ValueError(expected("a radius above 0 and finite", radius, "radius=1.0"))
    graph = None if edge_index is None else Graph(edge_index, edge_weight, nodes, norm)
    return constant_of(module, graph) if radius is None else constant_on_ball(module, radius, graph)


def register_loaded_layers() -> None:
    """Register the layers of PyTorch Geometric, if it was imported; otherwise no module can contain one."""
    if "torch_geometric.nn" in sys.modules:
        from neuralop_irno.lipschitz.graph_layers import register_graph_layers

        register_graph_layers()
