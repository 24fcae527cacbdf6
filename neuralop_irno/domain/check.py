"""Checks of the parts of a batch of graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.errors import expected

PARTS = ("batch", "pos", "measure", "edge_index", "edge_attr", "edge_weight", "face", "period")


def check_graphs(nodes: int, samples: int, known: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError if the parts of a batch of graphs do not fit each other.

    Isolated nodes, several components, self loops, directed edges, repeated edges and coincident points pass,
    and so does a batch without graphs. A graph without nodes has no mean, and is refused.

    Args:
        nodes: number of nodes, N.
        samples: number of graphs.
        known: the parts, under the names that `GraphDomain.of` reads; must contain ``batch``.

    Example:
        >>> batch, edge_index = torch.zeros(2, dtype=torch.long), torch.tensor([[0, 1], [1, 2]])
        >>> check_graphs(2, 1, {"batch": batch, "edge_index": edge_index})
        Traceback (most recent call last):
        ValueError: expected edge_index within 0 to 1, got 0 to 2; try numbers of rows of x
    """
    parts = {name: known[name] for name in PARTS if known.get(name) is not None}
    for name, part in parts.items():
        if not isinstance(part, Tensor):
            kind = type(part).__name__
            raise TypeError(expected(f"{name} as a tensor", kind, f"torch.as_tensor({name})"))
    if torch.compiler.is_compiling():  # sizes are known, values are not
        for name in {"batch", "pos", "measure"} & parts.keys():
            _require(
                parts[name].shape[0] == nodes, f"{name} with a row for each node", "others", "those of x"
            )
        for name in {"edge_attr", "edge_weight"} & parts.keys() if "edge_index" in parts else ():
            fits = parts[name].shape[0] == parts["edge_index"].shape[1]
            _require(fits, f"{name} with a row for each edge", "others", "those of edge_index")
        return
    batch = parts["batch"]
    _require(not batch.is_meta, "graphs with values", "tensors on the device meta", "a CPU or GPU device")
    _check_batch(batch, nodes, samples)
    if "pos" in parts:
        _check_pos(parts["pos"], nodes)
    if "pos" in parts and "period" in parts:
        _check_period(parts["period"], parts["pos"].shape[1], samples)
    if "measure" in parts:
        _check_measure(parts["measure"], batch, samples)
    for name, corners in (("edge_index", 2), ("face", None)):
        if name in parts:
            _check_joined(name, parts[name], batch, corners)
    for name in ("edge_attr", "edge_weight"):
        if {"edge_index", name} <= parts.keys():
            edges, rows = parts["edge_index"].shape[1], parts[name].shape[0] if parts[name].dim() else 0
            _require(rows == edges, f"{name} with {edges} rows", rows, "a row for each edge")


def _check_batch(batch: Tensor, nodes: int, samples: int) -> None:
    shape = tuple(batch.shape)
    _require(shape == (nodes,), f"batch of shape ({nodes},)", shape, "a number for each node")
    _check_numbers("batch", batch, samples, "the graph of each node")
    empty = (batch.bincount(minlength=samples) == 0).nonzero()[:, 0].tolist()
    _require(not empty, "at least one node in every graph", f"none in graphs {empty}", "leaving them out")


def _check_pos(pos: Tensor, nodes: int) -> None:
    shape = tuple(pos.shape)
    _require(pos.dim() == 2 and len(pos) == nodes, f"pos of shape ({nodes}, d)", shape, "a row for each node")
    real = pos.is_floating_point() and pos.dtype.itemsize > 1
    _require(real, "pos in floating point", pos.dtype, "pos.float()")
    _require(bool(pos.isfinite().all()), "finite positions", "NaN or infinity in pos", "removing those nodes")


def _check_period(period: Tensor, dim: int, samples: int) -> None:
    shape = tuple(period.shape)
    fits = shape in ((dim,), (1, dim), (samples, dim))
    _require(fits, f"period of shape ({samples}, {dim})", shape, "the side of the box along each axis")
    _require(bool((period > 0).all()), "periods > 0", "others", "period=None for an open domain")


def _check_measure(measure: Tensor, batch: Tensor, samples: int) -> None:
    shape = tuple(measure.shape)
    _require(
        measure.shape == batch.shape, f"measure of shape ({len(batch)},)", shape, "a number for each node"
    )
    others = int((~((measure >= 0) & measure.isfinite())).sum())
    _require(not others, "measure >= 0 and finite", f"{others} others", "areas or volumes, or measure=None")
    total = measure.new_zeros(samples).index_add(0, batch, measure)
    empty = (total == 0).nonzero()[:, 0].tolist()
    _require(not empty, "a measure above 0 in every graph", f"none in graphs {empty}", "measure=None")


def _check_joined(name: str, index: Tensor, batch: Tensor, rows: int | None) -> None:
    """Check edges or cells: node numbers, with all nodes of a column in one graph."""
    shape = tuple(index.shape)
    shaped = index.dim() == 2 and rows in (None, len(index))
    _require(shaped, f"{name} of shape ({rows or 'corners'}, number)", shape, f"{name}.T")
    _check_numbers(name, index, len(batch), "numbers of rows of x")
    graphs = batch[index]
    across = int((graphs != graphs[:1]).any(0).sum())
    _require(
        not across, f"{name} within graphs", f"{across} from graph to graph", "joining them into one graph"
    )


def _check_numbers(name: str, numbers: Tensor, end: int, hint: str) -> None:
    """Check that a tensor holds whole numbers from 0 to below ``end``."""
    whole = numbers.dtype in (torch.int64, torch.int32)
    _require(whole, f"{name} in whole numbers", numbers.dtype, f"{name}.long()")
    if numbers.numel():
        low, high = int(numbers.min()), int(numbers.max())
        within = f"{name} within 0 to {max(end - 1, 0)}"
        _require(low >= 0 and high < end, within, f"{low} to {high}", hint)


def _require(holds: bool, wanted: str, got: object, hint: str) -> None:
    if not holds:
        raise ValueError(expected(wanted, got, hint))
