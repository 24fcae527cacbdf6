"""Data sets in pickles, in the smallest form of their layouts."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor


def planetoid_files(folder: Path, graph: Any, name: str = "Cora") -> Tensor:
    """The files of a graph as Planetoid lays them out; returns the order of the nodes."""
    train, test = graph.train_mask.nonzero()[:, 0], graph.test_mask.nonzero()[:, 0]
    other = (~(graph.train_mask | graph.test_mask)).nonzero()[:, 0]
    order = torch.cat([train, other, test])
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    x, y = graph.x[order].numpy(), torch.nn.functional.one_hot(graph.y)[order].numpy()
    known, seen = len(train), len(train) + len(other)
    neighbours: dict[int, list[int]] = {i: [] for i in range(len(order))}
    for a, b in place[graph.edge_index].T.tolist():
        neighbours[a].append(b)
    parts = {"x": x[:known], "tx": x[seen:], "allx": x[:seen]}
    content = {key: csr_matrix(part) for key, part in parts.items()}
    content |= {"y": y[:known], "ty": y[seen:], "ally": y[:seen], "graph": neighbours}
    raw, start = folder / name / "raw", f"ind.{name.lower()}"
    raw.mkdir(parents=True)
    for key, part in content.items():
        (raw / f"{start}.{key}").write_bytes(pickle.dumps(part))
    np.savetxt(raw / f"{start}.test.index", np.arange(seen, len(order)), fmt="%d")
    return order


def superpixel_files(folder: Path, nodes: int = 12) -> Path:
    """Three graphs for each split as PyTorch Geometric's LRGBDataset has them before it processes them."""
    raw = folder / "pascalvoc-sp" / "raw"
    raw.mkdir(parents=True)
    draw = torch.Generator().manual_seed(0)
    place = torch.arange(nodes)
    edges = torch.stack([torch.cat([place, place.roll(1)]), torch.cat([place.roll(1), place])])
    for split in ("train", "val", "test"):
        graphs = []
        for _ in range(3):
            y = torch.randint(21, (nodes,), generator=draw)
            x = torch.randn(nodes, 14, generator=draw) + 100 * torch.arange(14)
            graphs.append((x, torch.rand(2 * nodes, 2, generator=draw), edges, y.tolist()))
        (raw / f"{split}.pickle").write_bytes(pickle.dumps(graphs))
    return raw


def cifar_files(folder: Path, images: int = 2) -> Path:
    """Batches as in CIFAR-10's version for Python, with a few images each."""
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        rows = draw.integers(0, 256, (images, 3072), dtype=np.uint8)
        content = {"data": rows, "labels": [3] * images, "batch_label": name, "filenames": ["a.png"] * images}
        (place / name).write_bytes(pickle.dumps(content, protocol=2))
    return place
