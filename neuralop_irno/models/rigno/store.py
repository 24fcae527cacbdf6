"""Cache of region graphs by mesh content, in memory and optionally on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno import cache, checkpoint
from neuralop_irno.models.rigno.region_graph import SENDERS_AND_RECEIVERS, RegionGraph, build_region_graph
from neuralop_irno.recently_used import RecentlyUsed

FORMAT = 1
"""Increment when the graph of the same points changes, so that older files are no longer found."""


class GraphStore:
    """Looks up the graph of a set of points; builds it if it is not cached.

    Args:
        options: options of `build_region_graph`.
        folder: where graphs are kept between processes; by default only in memory. Files are written
            atomically; if a file is damaged or belongs to another mesh, the graph is rebuilt, with a warning.
        remembered: number of graphs kept in memory, the latest ones.

    Example:
        >>> import torch
        >>> store = GraphStore({"periodic": True, "domain": (0.0, 1.0)})
        >>> mesh = torch.rand(64, 2)
        >>> store.graph_of(mesh) is store.graph_of(mesh.clone())
        True
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        folder: str | PathLike[str] | None = None,
        remembered: int = 256,
    ) -> None:
        self.options = dict(options)
        self.folder = None if folder is None else Path(folder)
        self._known = RecentlyUsed[RegionGraph](remembered)

    def graph_of(self, pos: Tensor) -> RegionGraph:
        """The graph of the points ``(N, d)``, on their device."""
        return self.graphs_of(pos, [len(pos)])[0]

    def graphs_of(self, pos: Tensor, sizes: Sequence[int]) -> list[RegionGraph]:
        """The graphs of several concatenated sets of points, of these sizes."""
        # Build in a separate thread: it does not inherit the caller's functorch transform or inference mode.
        # A tensor made in one of these would be cached and be unusable outside.
        with ThreadPoolExecutor(1) as aside:
            return aside.submit(lambda: [self._graph_of(part) for part in pos.split(list(sizes))]).result()

    def _graph_of(self, pos: Tensor) -> RegionGraph:
        key = self._digest(pos), str(pos.device)
        graph = self._known.get(key)
        if graph is None:  # two threads may both build it; this is harmless
            graph = self._load_or_build(key[0], pos).to(pos.device)
            self._known.put(key, graph, 1)
        return graph

    def _load_or_build(self, digest: str, pos: Tensor) -> RegionGraph:
        if self.folder is None:
            return build_region_graph(pos, **self.options)
        path = self.folder / f"{digest}{checkpoint.SUFFIX}"
        owner = {**self.options, "points": digest}
        kept = cache.recall(path, owner)
        if kept is not None and fits(kept, len(pos)):
            # Memory alignment affects the last digit of results; clone for torch's own alignment.
            return RegionGraph(**{name: tensor.clone() for name, tensor in kept.items()})
        graph = build_region_graph(pos, **self.options)
        cache.keep(path, graph.tensors(), owner)
        return graph

    def _digest(self, pos: Tensor) -> str:
        content = pos.detach().float().cpu().contiguous()
        words = json.dumps([FORMAT, list(content.shape), self.options], sort_keys=True)
        return hashlib.sha256(words.encode() + content.numpy().tobytes()).hexdigest()


def fits(tensors: Mapping[str, Tensor], points: int) -> bool:
    """Whether tensors form a valid graph of ``points`` points: names, dtypes, shapes and edge indices.

    Example:
        >>> graph = build_region_graph(torch.rand(32, 2))
        >>> fits(graph.tensors(), 32), fits(graph.tensors(), 31), fits({}, 32)
        (True, False, False)
    """
    if tensors.keys() != {field.name for field in fields(RegionGraph)}:
        return False
    if any(tensor.dim() != 2 for tensor in tensors.values()):
        return False
    nodes = {"point": len(tensors["point_features"]), "region": len(tensors["region_features"])}
    whole = nodes["point"] == points and tensors["r2r_copies"].shape == tensors["r2r"].shape
    for name, ends in SENDERS_AND_RECEIVERS.items():
        edges, features = tensors[name], tensors[f"{name}_features"]
        whole &= edges.dtype == torch.int64 and edges.shape == (2, len(features))
        whole &= all(_within(row, nodes[end]) for row, end in zip(edges, ends, strict=False))
    return whole and all(
        bool(tensor.isfinite().all()) for name, tensor in tensors.items() if name.endswith("_features")
    )


def _within(row: Tensor, count: int) -> bool:
    return row.numel() == 0 or (int(row.min()) >= 0 and int(row.max()) < count)
