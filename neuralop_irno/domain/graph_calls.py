"""How networks on graphs are called: with the parts of a graph by name, or with the whole graph.

=======================================  =====================================================
call                                     arguments, by name
=======================================  =====================================================
PyTorch Geometric's models               ``x``, ``edge_index`` or ``adj_t``, ``edge_attr``, ``batch``, ``pos``
PhysicsNeMo's MeshGraphNet               ``node_features``, ``edge_features``, ``graph``
networks of your own                     ``nodes``, ``edges``, ``graph``; or ``data``, the whole graph
=======================================  =====================================================
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

PARTS_BY_ROLE = {
    "node_features": "x",
    "nodes": "x",
    "edge_features": "edge_attr",
    "edges": "edge_attr",
}
"""Arguments that are a part of a graph under another name than PyTorch Geometric's."""

WHOLE = ("graph", "data")
"""Arguments that are the whole graph."""


def takes_graph(names: Collection[str]) -> bool:
    """Whether the names of a network's arguments are those of a graph.

    Example:
        >>> takes_graph(["x", "edge_index"]), takes_graph(["nodes", "edges", "graph"]), takes_graph(["x"])
        (True, True, False)
    """
    return takes_parts(names) or takes_edges(names)


def takes_edges(names: Collection[str]) -> bool:
    """Whether a network takes edges: ``edge_index``, ``adj_t``, or nodes and edges beside a graph."""
    by_role = "graph" in names and not PARTS_BY_ROLE.keys().isdisjoint(names)
    return by_role or not {"edge_index", "adj_t"}.isdisjoint(names)


def takes_parts(names: Collection[str]) -> bool:
    """Whether a network takes the parts of a graph: ``edge_index``, ``adj_t``, or ``pos`` and ``batch``."""
    return not {"edge_index", "adj_t"}.isdisjoint(names) or {"pos", "batch"} <= set(names)


def graph_arguments(names: Collection[str], parts: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a network from the parts of a graph.

    Args:
        names: of the network's arguments, in order. If it takes no parts, those of `WHOLE`, or else the first
            one, are the whole graph.
        parts: by PyTorch Geometric's names, and whatever else the graph has; None stands for none.

    Example:
        >>> graph_arguments(["x", "edge_index", "edge_attr"], {"x": 1, "edge_index": 2, "edge_attr": None})
        {'x': 1, 'edge_index': 2}
    """
    parts = {name: part for name, part in parts.items() if part is not None}
    whole: set[str] = set()
    if not takes_parts(names):
        whole = set(WHOLE).intersection(names) or set(list(names)[:1])
    found: dict[str, Any] = {}
    for name in names:
        part = PARTS_BY_ROLE.get(name, name)
        if name in whole:
            found[name] = graph_of(parts)
        elif part in parts:
            found[name] = parts[part]
        elif part == "edge_index" and "adj_t" in parts:
            found[name] = parts["adj_t"]
    return found


def has_graph_layers(network: nn.Module) -> bool:
    """Whether a network contains modules of PyTorch Geometric."""
    kinds = {kind for part in network.modules() for kind in type(part).__mro__}
    return any(kind.__module__.startswith("torch_geometric.") for kind in kinds)


def graph_of(parts: Mapping[str, Any]) -> Any:
    """A graph of PyTorch Geometric from its parts; a batch of graphs if ``batch`` is among them."""
    from torch_geometric.data import Batch, Data

    return (Batch if "batch" in parts else Data)(**parts)


def edges_of(adjacency: Tensor) -> tuple[Tensor, Tensor | None]:
    """The edges of a sparse transposed adjacency matrix, ``adj_t``, and their weights; None if all are 1.

    Example:
        >>> adj_t = torch.tensor([[0.0, 0.0], [2.0, 0.0]]).to_sparse()  # from node 0 to node 1
        >>> edges_of(adj_t)
        (tensor([[0],
                [1]]), tensor([2.]))
    """
    entries = adjacency.to_sparse_coo().coalesce()
    weight = entries.values()
    return entries.indices().flip(0), None if bool((weight == 1).all()) else weight


def is_sparse(part: Tensor) -> bool:
    """Whether a part of a graph is a sparse matrix."""
    return part.layout is not torch.strided
