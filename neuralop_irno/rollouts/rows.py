"""The arguments of a model that belong to samples, nodes and edges: cut to some samples, or repeated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import check_choice, expected


def some_graphs(graph: Any, domain: Domain, keep: Tensor) -> Any:
    """Some samples of a graph that holds several."""
    if hasattr(graph, "to_data_list"):
        return type(graph).from_data_list([graph[i] for i in keep.tolist()])
    part = domain.select(keep)
    assert isinstance(domain, GraphDomain)
    assert isinstance(part, GraphDomain)
    chosen = graph.subgraph(torch.isin(domain.batch, keep))
    chosen.batch = part.batch
    return chosen


EDGES = ("edge_attr", "edge_weight")
"""Arguments with a row for each edge."""


def some_rows(
    given: Mapping[str, Any], domain: Domain, keep: Tensor, axes: int, per_sample: Collection[str]
) -> dict[str, Any]:
    """The arguments of a model, cut to some samples.

    Cut to the rows of these samples are: arguments named in ``per_sample``; on grids, fields with the axes of
    a frame and a row for each sample; on graphs, ``batch``, ``edge_index``, `EDGES` and tensors with a row
    for each node. Other arguments are passed whole.

    Args:
        given: the arguments.
        domain: where frames live.
        keep: the samples.
        axes: of a frame.
        per_sample: names of arguments with a row for each sample.
    """
    chosen = dict(given)
    for name, value in given.items():
        if name in per_sample or is_field(value, domain, axes):
            chosen[name] = rows(value, keep)
    if not isinstance(domain, GraphDomain):
        return chosen
    part, inside = domain.select(keep), torch.isin(domain.batch, keep)
    for name, value in given.items():
        if name == "batch":
            chosen[name] = part.batch
        elif name == "edge_index":
            chosen[name] = part.edges.index
        elif name in EDGES:
            chosen[name] = value[inside[domain.edges.index].all(0)]
        elif name not in per_sample and is_by_node(value, domain):
            chosen[name] = value[inside.nonzero()[:, 0]]
    return chosen


def check_rows(
    given: Mapping[str, Any], domain: Domain, axes: int, per_sample: Collection[str] | None
) -> frozenset[str]:
    """The names of arguments with a row for each sample.

    Args:
        given: the arguments.
        domain: where frames live.
        axes: of a frame.
        per_sample: the names from the caller, or None.

    Raises:
        ValueError: a name is not among the arguments, or its argument has other rows; or, without
            ``per_sample``, the length of an argument equals the number of samples, perhaps by coincidence.
    """
    samples = domain.samples
    for name in per_sample or ():
        check_choice("per_sample to name arguments in given", name, given)
        if length(given[name]) != samples:
            got = f"{length(given[name])} in '{name}'"
            raise ValueError(expected(f"a row for each of {samples} samples", got, "per_sample without it"))
    if per_sample is not None or samples == 1:
        return frozenset(per_sample or ())
    for name, value in given.items():
        known = name in ("batch", "edge_index", *EDGES) and isinstance(domain, GraphDomain)
        if known or is_field(value, domain, axes) or is_by_node(value, domain):
            continue
        if length(value) == samples:
            wanted = f"per_sample to state whether '{name}' has a row for each sample"
            hint = f"per_sample=['{name}'], or per_sample=[] if all samples share it"
            raise ValueError(expected(wanted, f"{samples} rows and {samples} samples", hint))
    return frozenset()


def length(value: Any) -> int | None:
    """Rows of a tensor, a list or a tuple; None for other things."""
    if isinstance(value, Tensor):
        return len(value) if value.dim() else None
    return len(value) if isinstance(value, list | tuple) else None


def rows(value: Any, keep: Tensor) -> Any:
    """Some rows of a tensor, a list or a tuple."""
    if isinstance(value, Tensor):
        return value[keep.to(value.device)]
    return type(value)(value[i] for i in keep.tolist())


def is_field(value: Any, domain: Domain, axes: int) -> bool:
    """Whether it is a field on a grid with a row for each sample."""
    if isinstance(domain, GraphDomain) or not isinstance(value, Tensor):
        return False
    return value.dim() == axes and len(value) == domain.samples


def is_by_node(value: Any, domain: Domain) -> bool:
    """Whether it has a row for each node of a graph."""
    if not isinstance(domain, GraphDomain) or not isinstance(value, Tensor):
        return False
    return length(value) == len(domain.batch)


def repeated_rows(
    given: Mapping[str, Any], domain: Domain, copies: int, axes: int, per_sample: Collection[str]
) -> dict[str, Any]:
    """The arguments of a model for ``copies`` copies of all samples, one batch after the other.

    What `some_rows` cuts is repeated; node numbers in ``edge_index`` and ``face``, and samples in ``batch``,
    are counted on.

    Args:
        given: the arguments.
        domain: where frames live.
        copies: their number.
        axes: of a frame.
        per_sample: names of arguments with a row for each sample.
    """
    chosen = dict(given)
    graph = isinstance(domain, GraphDomain)
    nodes = len(domain.batch) if isinstance(domain, GraphDomain) else 0
    for name, value in given.items():
        if graph and name in COUNTED and isinstance(value, Tensor):
            size = domain.samples if name == "batch" else nodes
            chosen[name] = torch.cat([value + copy * size for copy in range(copies)], -1)
        elif (
            name in per_sample
            or is_field(value, domain, axes)
            or is_by_node(value, domain)
            or (graph and name in EDGES)
        ):
            tensor = isinstance(value, Tensor)
            chosen[name] = torch.cat([value] * copies) if tensor else type(value)(list(value) * copies)
    return chosen


COUNTED = ("batch", "edge_index", "face")
"""Arguments that hold numbers of nodes or of samples."""
