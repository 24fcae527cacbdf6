"""Region graphs, built once per mesh: remembered by what the mesh contains, and kept on disk if wanted."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from neuralop_irno import checkpoint
from neuralop_irno.models.rigno.region_graph import RegionGraph, build_region_graph

FORMAT = 1
"""Raised when the graph of the same points would come out different: files of before are not found."""


class GraphStore:
    """Looks up the graph of a set of points, and builds it when it is new.

    Args:
        options: what `build_region_graph` is told besides the points.
        folder: where graphs are kept between processes; nowhere by default. A file is written whole or
            not at all, and one that cannot be read is built again.
        remembered: how many graphs stay in memory, the latest ones.

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
        self.remembered = remembered
        self._known: OrderedDict[tuple[str, str], RegionGraph] = OrderedDict()

    def graph_of(self, pos: Tensor) -> RegionGraph:
        """The graph of the points ``(N, d)``, on their device."""
        return self.graphs_of(pos, [len(pos)])[0]

    def graphs_of(self, pos: Tensor, sizes: Sequence[int]) -> list[RegionGraph]:
        """The graphs of several sets of points, given one below the other."""
        # A thread of its own knows neither the functorch transform nor the inference mode that its caller
        # may be in; a tensor made in one of those would be remembered, and be of no use outside.
        with ThreadPoolExecutor(1) as aside:
            return aside.submit(lambda: [self._graph_of(part) for part in pos.split(list(sizes))]).result()

    def _graph_of(self, pos: Tensor) -> RegionGraph:
        key = self._digest(pos), str(pos.device)
        if key not in self._known:
            self._known[key] = self._load_or_build(key[0], pos).to(pos.device)
            if len(self._known) > self.remembered:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _load_or_build(self, digest: str, pos: Tensor) -> RegionGraph:
        path = None if self.folder is None else self.folder / f"{digest}{checkpoint.SUFFIX}"
        if path is not None and path.is_file():
            try:
                kept, _ = checkpoint.read(path)
                # Where a tensor starts in memory sways the last digit of what is made of it.
                return RegionGraph(**{name: tensor.clone() for name, tensor in kept.items()})
            except (ValueError, TypeError):
                pass  # cut short or of another make: what it should hold is known
        graph = build_region_graph(pos, **self.options)
        if path is not None:
            checkpoint.write(path, graph.tensors(), self.options)
        return graph

    def _digest(self, pos: Tensor) -> str:
        content = pos.detach().float().cpu().contiguous()
        words = json.dumps([FORMAT, list(content.shape), self.options], sort_keys=True)
        return hashlib.sha256(words.encode() + content.numpy().tobytes()).hexdigest()
