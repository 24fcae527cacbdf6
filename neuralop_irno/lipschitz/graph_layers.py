"""Lipschitz bounds of PyTorch Geometric's graph convolutions on a given graph."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import nn

from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.constants import check_unaltered, constant_of
from neuralop_irno.lipschitz.graph import Graph, adjacency_norm
from neuralop_irno.lipschitz.norms import OperatorNorm, operator_norm_of


@cache
def register_graph_layers() -> None:
    """Register the layers of PyTorch Geometric for `lipschitz_bound` and `spectrally_normalised`."""
    from torch_geometric import nn as pyg

    operator_norm_of.register(pyg.Linear, _as_matrix)
    constant_of.register(pyg.GCNConv, _gcn)
    constant_of.register(pyg.GraphConv, _graph_conv)
    constant_of.register(pyg.SAGEConv, _sage)
    constant_of.register(pyg.GINConv, _gin)


def aggregation_norm(conv: Any, graph: Graph | None, own: float = 0.0) -> float:
    r"""The norm of a sum, a mean or a maximum over neighbours, plus ``own`` times each node's own value.

    A difference between maxima is at most the largest difference between neighbours, which gives
    :math:`\max_j \sqrt{\sum_i w_{ij}^2}` over the nodes i that read node j. In the sum of the
    nodes' norms it is :math:`\max_j \sum_i |w_{ij}|` for each of the three.

    Args:
        conv: the convolution.
        graph: the graph.
        own: the weight of the node's own value.
    """
    graph = _known(conv, graph)
    source, target = _ends(conv, graph.edge_index)
    weights, nodes = graph.weights, graph.size
    if conv.aggr == "mean":
        degree = weights.new_zeros(nodes).index_add(0, target, torch.ones_like(weights))
        weights = weights / degree[target]
    if graph.norm == "sum" and conv.aggr in ("add", "sum", "mean", "max", "min"):
        readers = weights.new_zeros(nodes).index_add(0, source, weights.abs())
        return abs(own) + float(readers.amax())
    if conv.aggr in ("add", "sum", "mean"):
        loops = torch.arange(nodes, device=source.device)
        weights = torch.cat([weights, weights.new_full((nodes,), own)])
        return adjacency_norm(torch.cat([source, loops]), torch.cat([target, loops]), weights, nodes)
    if conv.aggr in ("max", "min"):
        readers = weights.new_zeros(nodes).index_add(0, source, weights.square())
        return abs(own) + float(readers.amax().sqrt())
    raise TypeError(expected("an aggregation by sum, mean or maximum", repr(conv.aggr), "aggr='mean'"))


def _gcn(conv: Any, graph: Graph | None) -> float:
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

    graph = _known(conv, graph)
    if conv.normalize:
        given = None if graph.edge_weight is None else graph.weights  # None: smaller self-loops
        options = (graph.size, conv.improved, conv.add_self_loops, conv.flow, torch.float64)
        index, weights = gcn_norm(graph.edge_index, given, *options)
        graph = replace(graph, edge_index=index, edge_weight=weights, nodes=graph.size)
    return aggregation_norm(conv, graph) * constant_of(conv.lin, None)


def _graph_conv(conv: Any, graph: Graph | None) -> float:
    around = aggregation_norm(conv, graph) * constant_of(conv.lin_rel, None)
    return around + constant_of(conv.lin_root, None)


def _sage(conv: Any, graph: Graph | None) -> float:
    if conv.normalize:
        raise ValueError(expected("a SAGEConv without normalisation", "normalize=True", "normalize=False"))
    # SAGEConv ignores edge weights.
    unweighted = replace(_known(conv, graph), edge_weight=None)
    around = aggregation_norm(conv, unweighted) * constant_of(conv.lin_l, None)
    projected = constant_of(conv.lin, None) if conv.project else 1.0
    return around * projected + (constant_of(conv.lin_r, None) if conv.root_weight else 0.0)


def _gin(conv: Any, graph: Graph | None) -> float:
    unweighted = replace(_known(conv, graph), edge_weight=None)
    return aggregation_norm(conv, unweighted, own=1 + float(conv.eps)) * constant_of(conv.nn, graph)


def _known(conv: nn.Module, graph: Graph | None) -> Graph:
    check_unaltered(conv, constant_of.registry)
    if graph is None:
        name = type(conv).__name__
        raise ValueError(expected(f"the graph of a {name}", "none", "edge_index=edge_index"))
    return graph


def _ends(conv: Any, edge_index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources and targets of the messages."""
    first, second = edge_index.unbind()
    return (first, second) if conv.flow == "source_to_target" else (second, first)


def _as_matrix(layer: nn.Module) -> OperatorNorm:
    return OperatorNorm()
