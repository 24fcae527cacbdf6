"""PascalVOC-SP of the Long Range Graph Benchmark: images as graphs of superpixels, each of a class.

The files are those that PyTorch Geometric's ``LRGBDataset`` downloads, one pickle for each split: a list of
tuples (x, edge_attr, edge_index, y) of tensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuralop_irno.data.finite import finite
from neuralop_irno.data.node_classes import NodeClasses, one_hot_at
from neuralop_irno.data.readers.pickled_tensors import read_tuples
from neuralop_irno.data.splits import SPLITS
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS

CLASSES = 21
"""Twenty kinds of things and the background."""

FEATURES, OF_EDGES = 14, 2

FILES = ("train.pickle", "val.pickle", "test.pickle")


@DATASETS.register("pascalvoc_sp")
def pascalvoc_sp(folder: str, weighted: bool = True) -> dict[str, NodeClasses]:
    """The classes of the superpixels of images, from files that were downloaded before.

    To download them, call ``LRGBDataset(folder, "PascalVOC-SP")`` of PyTorch Geometric once. The files are
    pickles; only numbers are read, and no code in them runs. ``folder/pascalvoc-sp/processed`` is not read.

    x and edge_attr are in units of the standard deviation of each channel over the training set. y is
    one-hot, and with ``weighted`` multiplied by 1 - n_c / n, for n_c of the n superpixels of the training set
    are of class c: in the cross-entropy rare classes have more weight than the background.

    Args:
        folder: PyTorch Geometric's root: the files are in ``folder/pascalvoc-sp/raw``.
        weighted: whether classes are weighted in the loss.
    """
    raw = Path(folder) / "pascalvoc-sp" / "raw"
    paths = tuple(raw / file for file in FILES)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        hint = f"torch_geometric.datasets.LRGBDataset({folder!r}, 'PascalVOC-SP'), which downloads them"
        got = f"none for {', '.join(missing)}"
        raise FileNotFoundError(expected(f"the files {', '.join(FILES)} in {raw}", got, hint))
    graphs = {split: _graphs(path) for split, path in zip(SPLITS, paths, strict=True)}
    train = graphs["train"]
    spreads = {name: _spread([graph[name] for graph in train]) for name in ("x", "edge_attr")}
    counts = torch.cat([graph.y for graph in train]).bincount(minlength=CLASSES)
    weights = 1 - counts / counts.sum() if weighted else torch.ones(CLASSES)
    for split in graphs.values():
        for graph in split:
            for name, (mean, std) in spreads.items():
                graph[name] = ((graph[name] - mean) / std).float()
            known = torch.ones_like(graph.y, dtype=torch.bool)
            graph.y = one_hot_at(graph.y, known, CLASSES) * weights
    return {split: NodeClasses(graphs[split], (path,)) for split, path in zip(SPLITS, paths, strict=True)}


def _graphs(path: Path) -> list[Any]:
    """The graphs of a file, with the class of each node as y."""
    from torch_geometric.data import Data

    found = []
    for place, (x, edge_attr, edge_index, y) in enumerate(read_tuples(path, parts=4)):
        where = f"graph {place} in {path.name}"
        _check(x, edge_attr, edge_index, y, where)
        finite(x, f"x of {where}"), finite(edge_attr, f"edge_attr of {where}")
        found.append(
            Data(
                x=torch.from_numpy(x.astype(np.float32)),
                edge_attr=torch.from_numpy(edge_attr.astype(np.float32)),
                edge_index=torch.from_numpy(edge_index.astype(np.int64)),
                y=torch.from_numpy(y.astype(np.int64)),
            )
        )
    return found


def _check(x: NDArray[Any], attr: NDArray[Any], index: NDArray[Any], y: NDArray[Any], where: str) -> None:
    nodes, edges = len(x) if x.ndim else 0, index.shape[-1] if index.ndim else 0
    shapes = [array.shape for array in (x, attr, index, y)]
    if nodes and shapes == [(nodes, FEATURES), (edges, OF_EDGES), (2, edges), (nodes,)]:
        whole = index.dtype.kind in "iu" and y.dtype.kind in "iu"
        if whole and _within(index, nodes) and _within(y, CLASSES):
            return
    wanted = f"x (N, {FEATURES}), edges (E, {OF_EDGES}) and (2, E) between N nodes, and {CLASSES} classes"
    raise ValueError(expected(f"{wanted} in {where}", f"shapes {shapes}", "downloading it again"))


def _within(numbers: NDArray[Any], end: int) -> bool:
    return not numbers.size or bool(0 <= numbers.min() <= numbers.max() < end)


def _spread(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over all rows; 1 for constant channels."""
    rows = torch.cat(parts).double()
    if len(rows) < 2:
        return torch.zeros_like(rows[0]), torch.ones_like(rows[0])
    std = rows.std(0)
    return rows.mean(0), torch.where(std > 0, std, 1.0)
