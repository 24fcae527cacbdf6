"""Meshes that move during a rollout: positions, edges, cells and measure of the same nodes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.data.cells import cells_of
from neuralop_irno.domain.elements import lumped_measure
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.rollouts.caller import Caller
from neuralop_irno.rollouts.outcome import ActiveSamples
from neuralop_irno.rollouts.place import XYZ

Move = Callable[[int, Tensor], Tensor | Mapping[str, Tensor]]
"""(number of the frame, frame) -> the positions of the nodes at that frame, or several of `PARTS` by name."""

BY_NODE = ("pos", "measure")
BY_EDGE = ("edge_index", "edge_attr", "edge_weight")
PARTS = (*BY_NODE, *BY_EDGE, "face")
"""The parts of a mesh that may move, by PyTorch Geometric's names."""


class MovingMesh:
    """Calls the function of a moving mesh after every frame.

    Args:
        move: see `Move`. It has to depend on its arguments alone: a continued rollout calls it again.
        caller: the model with the mesh at the start.

    Raises:
        ValueError: frames are not on a graph.
    """

    def __init__(self, move: Move, caller: Caller) -> None:
        if not callable(move):
            hint = "move=lambda index, frame: pos"
            raise TypeError(expected("move as a function", type(move).__name__, hint))
        if not isinstance(caller.domain, GraphDomain):
            raise ValueError(expected("a graph beside move", "a grid", "move=None"))
        cells = _parts_of(caller).get("cells")
        if any(each.points is not None for each in (cells if isinstance(cells, list) else [cells]) if each):
            raise ValueError(
                expected("fields at the nodes of a mesh that moves", "on its cells", "move=None")
            )
        self._move, self._caller = move, caller
        self._names: frozenset[str] | None = None
        self._types: Any = None

    def __call__(self, index: int, frame: Tensor, samples: ActiveSamples) -> tuple[Caller, dict[str, Tensor]]:
        """The model with the mesh of a frame, and the arrays of that mesh for files.

        The nodes of samples that have left are where they were at the start. Nothing depends on the frames
        before, so that a continued rollout has the same meshes.
        """
        found = self._move(index, frame)
        parts = {"pos": found} if isinstance(found, Tensor) else dict(found)
        known = _parts_of(self._caller)
        for name in parts:
            check_choice("a part of a moving mesh", name, PARTS)
            if known.get(name) is None:
                hint = f"graph.{name} = that of the start"
                raise ValueError(expected(f"a graph with {name}, which moves", "none", hint))
            if name == "face" and known.get("cells") is not None:
                wanted, got = "cells that move to be triangles or tetrahedra", "cells of a file"
                raise ValueError(expected(wanted, got, "del graph.cells"))
        names = frozenset(parts)
        self._names = self._names or names
        if names != self._names:
            wanted = f"the parts {sorted(self._names)} in every frame"
            raise ValueError(expected(wanted, f"{sorted(names)} in frame {index}", "all of them each time"))
        parts = {name: self._like(name, each, known[name], frame, samples) for name, each in parts.items()}
        moved = {name: each for name, each in parts.items() if not torch.equal(each, known[name])}
        if "pos" in moved and known.get("measure") is not None and "measure" not in parts:
            moved["measure"] = self._measure({**known, **moved}, known["measure"])
        caller = self._with(frame, moved) if moved else self._caller
        return caller, self._arrays(caller, names)

    def _like(self, name: str, new: Tensor, old: Tensor, frame: Tensor, samples: ActiveSamples) -> Tensor:
        """A part in the precision of the start; of samples that have left, as it was."""
        new = new.detach().to(old)
        if name not in BY_NODE:
            return new
        if new.shape != old.shape:
            wanted = f"{name} of shape {tuple(old.shape)} in every frame"
            raise ValueError(expected(wanted, tuple(new.shape), "the same nodes"))
        if samples.all_active:
            return new
        domain = self._caller.domain
        active = torch.zeros(domain.samples, dtype=torch.bool, device=new.device)
        active[samples.active.to(new.device)] = True
        rows = domain.spread(active, frame)
        return torch.where(rows if new.dim() > 1 else rows[:, 0], new, old)

    def _measure(self, known: Mapping[str, Any], old: Tensor) -> Tensor:
        """The measure of moved nodes, from their cells."""
        if known.get("face") is None:
            hint = "move=lambda index, frame: {'pos': pos, 'measure': measure}"
            raise ValueError(expected("the measure of moved nodes without cells", "pos alone", hint))
        return lumped_measure(known["pos"].double(), known["face"]).to(old)

    def _with(self, frame: Tensor, moved: Mapping[str, Tensor]) -> Caller:
        """The model with other parts of its mesh."""
        graph, given = self._caller.graph, self._caller.given
        mine = {name: each for name, each in moved.items() if name not in given}
        given = {**given, **{name: each for name, each in moved.items() if name in given}}
        if mine:
            graph = _with_parts(graph, self._caller.domain, mine)
        known = {**({} if graph is None else graph.to_dict()), **given}
        return self._caller.on(GraphDomain.of(frame, known, self._caller.domain.samples), graph, given)

    def _arrays(self, caller: Caller, names: frozenset[str]) -> dict[str, Tensor]:
        """The arrays of a mesh under their names in files; only those that move."""
        domain = caller.domain
        held: dict[str, Tensor] = {}
        assert isinstance(domain, GraphDomain)
        if "pos" in names and domain.pos is not None and domain.pos.shape[1] <= len(XYZ):
            held |= dict(zip(XYZ, domain.pos.unbind(1), strict=False))
        if names & {"pos", "measure", "face"} and domain.measure is not None:
            held["measure"] = domain.measure
        if "face" in names:
            cells = cells_of(_parts_of(caller))
            self._types = cells.types if self._types is None else self._types
            if not np.array_equal(self._types, cells.types):
                wanted = f"{len(self._types)} cells of the same types in every frame"
                raise ValueError(expected(wanted, f"{len(cells.types)} others", "as many cells as before"))
            held["face"] = torch.from_numpy(cells.corners)
        return held


def _parts_of(caller: Caller) -> dict[str, Any]:
    """The parts of a model's mesh."""
    return {**({} if caller.graph is None else caller.graph.to_dict()), **caller.given}


def _with_parts(graph: Any, domain: Any, parts: Mapping[str, Tensor]) -> Any:
    """A copy of a graph with other parts; a batch whose edges or cells change is put together again."""
    if set(parts) <= set(BY_NODE) or not hasattr(graph, "to_data_list"):
        other = copy.copy(graph)
        for name, each in parts.items():
            setattr(other, name, each)
        return other
    samples = graph.to_data_list()
    edges = parts.get("edge_index", graph.edge_index)
    for number, sample in enumerate(samples):
        nodes = domain.batch == number
        first = int(nodes.nonzero()[0])
        for name, each in parts.items():
            if name in ("edge_index", "face"):
                sample[name] = each[:, nodes[each[0]]] - first
            else:
                sample[name] = each[nodes if name in BY_NODE else nodes[edges[0]]]
    return type(graph).from_data_list(samples)
