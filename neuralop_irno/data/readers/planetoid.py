"""Cora, CiteSeer and PubMed from the files that PyTorch Geometric downloads, which are pickles.

x, y         features and classes of the nodes for training
allx, ally   of all nodes but those of the test; x and y come first
tx, ty       of the nodes of the test, in the order of test.index
graph        the neighbours of each node
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.data.finite import finite
from neuralop_irno.data.node_classes import NodeClasses, by_mask, drop_in_noise, row_normalised
from neuralop_irno.data.readers.pickled import read_matrix, read_neighbours
from neuralop_irno.errors import expected, one_line
from neuralop_irno.registry import DATASETS

PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
VALIDATION = 500
"""Number of validation nodes; they follow the training nodes."""


def planetoid_files(folder: str, name: str) -> tuple[Path, ...]:
    """The files of a graph, in the order of `PARTS`.

    Raises:
        FileNotFoundError: a file is missing.
    """
    raw = Path(folder) / name / "raw"
    files = tuple(raw / f"ind.{name.lower()}.{part}" for part in PARTS)
    missing = [part for part, path in zip(PARTS, files, strict=True) if not path.is_file()]
    if missing:
        wanted = f"the files ind.{name.lower()}.* in {raw}"
        hint = f"torch_geometric.datasets.Planetoid({folder!r}, {name!r}), which downloads them"
        raise FileNotFoundError(expected(wanted, f"none for {', '.join(missing)}", hint))
    return files


def read_planetoid(folder: str, name: str) -> Any:
    """The same graph as PyTorch Geometric reads from these files, without running code in them.

    Args:
        folder: PyTorch Geometric's root: the files are in ``folder/name/raw``.
        name: name of the graph.

    Returns:
        a graph with x, y, edge_index, train_mask, val_mask and test_mask.

    Raises:
        ValueError: a file is damaged, names a function, or does not fit the others.
    """
    from torch_geometric.data import Data
    from torch_geometric.utils import coalesce, remove_self_loops

    *paths, graph, index = planetoid_files(folder, name)
    matrices = [torch.from_numpy(finite(read_matrix(path), path.name)) for path in paths]
    test = _whole_numbers(index)
    _check(matrices, test, name)
    _, tx, allx, y, ty, ally = matrices
    order = test.sort().values
    first, spread = len(allx), int(order[-1]) - len(allx) + 1
    # Test nodes without neighbours are in no file; their features are zero.
    features, classes = (part.new_zeros(spread, part.shape[1]) for part in (tx, ty))
    features[order - first], classes[order - first] = tx, ty
    x, known = torch.cat([allx, features]), torch.cat([ally, classes]).argmax(1)
    x[test], known[test] = x[order], known[order]
    pairs = torch.from_numpy(read_neighbours(graph))
    if pairs.numel() and not 0 <= int(pairs.min()) <= int(pairs.max()) < len(x):
        got = f"{int(pairs.min())} to {int(pairs.max())}"
        raise ValueError(expected(f"nodes 0 to {len(x) - 1} in {graph.name}", got, "downloading it again"))
    edges = coalesce(remove_self_loops(pairs)[0], num_nodes=len(x), sort_by_row=False)
    masks = [torch.zeros(len(x), dtype=torch.bool) for _ in range(3)]
    masks[0][: len(y)], masks[1][len(y) : len(y) + VALIDATION], masks[2][test] = True, True, True
    return Data(x=x, y=known, edge_index=edges, train_mask=masks[0], val_mask=masks[1], test_mask=masks[2])


def _whole_numbers(path: Path) -> Tensor:
    """Read one integer per line."""
    try:
        numbers = torch.tensor([int(word) for word in path.read_text().split()], dtype=torch.long)
    except (ValueError, RuntimeError, OverflowError) as error:
        wanted = f"whole numbers in {path.name}"
        raise ValueError(expected(wanted, one_line(error), "downloading it again")) from error
    if not len(numbers):
        raise ValueError(expected(f"nodes in {path.name}", "none", "downloading it again"))
    return numbers


def _check(matrices: Sequence[Tensor], test: Tensor, name: str) -> None:
    shapes = [tuple(part.shape) for part in matrices]
    if all(len(shape) == 2 and 0 not in shape for shape in shapes):
        (x, tx, allx), (y, ty, ally) = shapes[:3], shapes[3:]
        rows = (x[0], tx[0], allx[0]) == (y[0], ty[0], ally[0]) and x[0] <= allx[0]
        columns = x[1] == tx[1] == allx[1] and y[1] == ty[1] == ally[1]
        # Test nodes come after all others; a gap in their numbers is a node without neighbours.
        first, last = int(test.min()), int(test.max())
        order = len(test.unique()) == len(test) == tx[0] and first == allx[0] and last < first + 2 * tx[0]
        if rows and columns and order:
            return
    got = f"shapes {shapes}, {len(test)} for the test"
    raise ValueError(expected(f"files of {name} that fit each other", got, "downloading them again"))


@DATASETS.register("planetoid")
def planetoid(folder: str, graph: str = "Cora", noise: float = 0.0) -> dict[str, NodeClasses]:
    """Cora, CiteSeer or PubMed from files that were downloaded before.

    To download them, call ``Planetoid(folder, graph)`` of PyTorch Geometric once. The files are pickles; only
    numbers are read, and no code in them runs. ``folder/graph/processed`` is not read.

    Args:
        folder: PyTorch Geometric's root: the files are in ``folder/graph/raw``.
        graph: name of the graph: Cora, CiteSeer or PubMed.
        noise: the fraction of feature entries raised by one; see `drop_in_noise`.
    """
    found = read_planetoid(folder, graph)
    found.x = drop_in_noise(row_normalised(found.x), noise)
    return by_mask(found, planetoid_files(folder, graph))
