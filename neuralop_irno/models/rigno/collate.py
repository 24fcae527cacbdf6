"""Join several region graphs into one: a batch of meshes of any sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neuralop_irno.models.rigno.region_graph import RegionGraph

SENDERS_AND_RECEIVERS = {"p2r": ("point", "region"), "r2r": ("region", "region"), "r2p": ("region", "point")}


class JoinedGraph(NamedTuple):
    """Concatenated graphs, with the sample index of each point and region.

    If all samples share one graph, it is stored once and ``points`` and ``regions`` are None.
    """

    graph: RegionGraph
    samples: int
    points: Tensor | None = None
    regions: Tensor | None = None


def join(graphs: Sequence[RegionGraph]) -> JoinedGraph:
    """Concatenate graphs into one; a graph that all samples share is stored once.

    Example:
        >>> from neuralop_irno.models.rigno.region_graph import build_region_graph
        >>> graphs = [build_region_graph(torch.rand(n, 2)) for n in (32, 48)]
        >>> both = join(graphs)
        >>> both.graph.point_features.shape, both.points.bincount().tolist()
        (torch.Size([80, 2]), [32, 48])
    """
    first = graphs[0]
    if all(graph is first for graph in graphs):
        return JoinedGraph(first, len(graphs))
    device = first.point_features.device
    sizes = {
        node: torch.tensor([len(getattr(graph, f"{node}_features")) for graph in graphs], device=device)
        for node in ("point", "region")
    }
    columns = {name: [graph.tensors()[name] for graph in graphs] for name in first.tensors()}
    joined = {
        name: torch.cat(parts, 0 if parts[0].is_floating_point() else 1)  # features are rows, edges columns
        for name, parts in columns.items()
    }
    for name, ends in SENDERS_AND_RECEIVERS.items():
        edges = torch.tensor([part.shape[1] for part in columns[name]], device=device)
        starts = torch.stack([sizes[end].cumsum(0) - sizes[end] for end in ends])
        joined[name] = joined[name] + starts.repeat_interleave(edges, 1)
    numbers = torch.arange(len(graphs), device=device)
    return JoinedGraph(
        RegionGraph(**joined),
        len(graphs),
        numbers.repeat_interleave(sizes["point"]),
        numbers.repeat_interleave(sizes["region"]),
    )
