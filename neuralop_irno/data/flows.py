"""Trajectories as rollouts need them: the frames to start from, what else a model reads, and the truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.errors import expected

MOST = 20
"""The frames of a flow if no number is given, and its data have as many."""

OF_PAIRS = ("y", "t", "tau", "static", "times")
"""Entries of graphs that belong to a pair of frames, or to a whole trajectory."""


@dataclass(frozen=True)
class Flow:
    """One trajectory, or several side by side, in the units of the data's files.

    Attributes:
        start: the given frames, the oldest first.
        static: further input channels that are constant in time; None if there are none.
        forcing: further input channels, one set for each predicted frame; None if there are none.
        frames: the frames that follow; None if they are not known.
        times: of the last given frame and of the frames that follow; None if they are not known.
        graph: of PyTorch Geometric, a batch whose x is ``start``; None on grids.

    Shapes:
        - start: ``(B, inputs, C, *S)`` or ``(N, inputs, C)``
        - static: ``(B, K, *S)`` or ``(N, K)``; forcing: ``(B, T, K, *S)`` or ``(N, T, K)``
        - frames: ``(B, T, C, *S)`` or ``(N, T, C)``; times: ``(B, 1 + T)``

    Example:
        >>> flow = Flow(start=torch.zeros(1, 1, 2, 8), frames=torch.zeros(1, 5, 2, 8))
        >>> flow.start.shape, flow.frames.shape
        (torch.Size([1, 1, 2, 8]), torch.Size([1, 5, 2, 8]))
    """

    start: Tensor
    static: Tensor | None = None
    forcing: Tensor | None = None
    frames: Tensor | None = None
    times: Tensor | None = None
    graph: Any = None

    def __repr__(self) -> str:
        shape = "no frames" if self.frames is None else f"frames {tuple(self.frames.shape)}"
        return f"Flow(start {tuple(self.start.shape)}, {shape})"

    @property
    def samples(self) -> int:
        """The number of trajectories."""
        return len(self.start) if self.graph is None else self.graph.num_graphs

    @property
    def first(self) -> Any:
        """The argument ``start`` of `irno.rollout`: the graph, or the given frames."""
        return self.start if self.graph is None else self.graph

    def started(self, start: Tensor) -> Flow:
        """The same flow from other given frames."""
        if self.graph is None:
            return replace(self, start=start)
        graph = self.graph.clone()
        graph.x = start
        return replace(self, start=start, graph=graph)

    def to(self, device: torch.device | str) -> Flow:
        """The inputs of a model on a device; frames and times stay where they are."""
        moved = [
            part if part is None else part.to(device) for part in (self.static, self.forcing, self.graph)
        ]
        return Flow(self.start.to(device), moved[0], moved[1], self.frames, self.times, moved[2])

    def repeated(self, count: int) -> Flow:
        """Each trajectory this many times, side by side."""
        return side_by_side([flow for flow in self.apart() for _ in range(count)])

    def apart(self) -> list[Flow]:
        """Each trajectory alone."""
        if self.samples == 1:
            return [self]
        count = self.samples
        if self.graph is None:
            graphs: list[Any] = [None] * count
            sizes = [1] * count
        else:
            from torch_geometric.data import Batch

            parts = self.graph.to_data_list()
            graphs = [Batch.from_data_list([part]) for part in parts]
            sizes = [part.num_nodes for part in parts]

        def cut(whole: Tensor | None, rows: list[int]) -> Sequence[Any]:
            return [None] * count if whole is None else whole.split(rows)

        fields = [cut(whole, sizes) for whole in (self.start, self.static, self.forcing, self.frames)]
        times = cut(self.times, [1] * count)
        return [Flow(*own) for own in zip(*fields, times, graphs, strict=True)]


def side_by_side(flows: Sequence[Flow]) -> Flow:
    """Several flows as one; meshes may differ in size.

    Example:
        >>> side_by_side([Flow(torch.zeros(1, 2, 1, 8)), Flow(torch.zeros(1, 2, 1, 8))])
        Flow(start (2, 2, 1, 8), no frames)
    """

    def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
        known = [part for part in parts if part is not None]
        return torch.cat(known) if len(known) == len(flows) else None

    graph = None
    if flows[0].graph is not None:
        from torch_geometric.data import Batch

        graph = Batch.from_data_list([part for flow in flows for part in flow.graph.to_data_list()])
    return Flow(
        torch.cat([flow.start for flow in flows]),
        joined([flow.static for flow in flows]),
        joined([flow.forcing for flow in flows]),
        joined([flow.frames for flow in flows]),
        joined([flow.times for flow in flows]),
        graph,
    )


def on_graph(
    graph: Any,
    start: Tensor,
    static: Tensor | None = None,
    forcing: Tensor | None = None,
    frames: Tensor | None = None,
    times: Tensor | None = None,
) -> Flow:
    """A flow on the mesh of a graph, without what belongs to a pair or to a whole trajectory.

    Args:
        graph: of one sample.
        start: see `Flow`, as for the others.
        static: constant channels.
        forcing: channels that depend on time.
        frames: those that follow.
        times: of the frames.
    """
    from torch_geometric.data import Batch

    alone = graph.clone()
    for name in OF_PAIRS:
        if name in alone:
            del alone[name]
    alone.x = start
    return Flow(start, static, forcing, frames, times, Batch.from_data_list([alone]))


class Flows(Sequence[Flow], ABC):
    """The trajectories of a data set that have ``steps`` frames after their start.

    Args:
        fields: the names of the channels of a frame.
        inputs: the given frames of each flow.
        outputs: frames that a model of this data predicts in a call.
        lengths: for each trajectory, the frames after its start.
        steps: frames of each flow; by default those of the longest trajectory, at most 20.

    Attributes:
        scaling: from the units of flows to those that models of this data take and return; None if they are
            equal. ``static`` and ``forcing`` are in the latter.
        steps: frames of each flow.
        units: of fields, by name, where the files state them.
        vectors: the fields that are the components of a vector, by its name.
        coordinates: along the axes of a grid, by name, in their order; empty if they are not known.
        attributes: of ``time`` and of the coordinates, by name, as CF has them.
        given: what all samples have besides x and y: the ``measure`` of the cells of a grid, and ``sphere``.
    """

    def __init__(
        self,
        fields: Sequence[str],
        inputs: int,
        outputs: int,
        lengths: Sequence[int],
        steps: int | None,
        scaling: Any = None,
    ) -> None:
        self.fields, self.inputs, self.outputs = tuple(fields), inputs, outputs
        longest = max(lengths)
        self.steps = min(longest, MOST) if steps is None else steps
        if not 1 <= self.steps <= longest:
            wanted = f"steps from 1 to {longest}, the frames that follow the start of a flow"
            raise ValueError(
                expected(wanted, self.steps, "fewer steps, another split, or starts from a file")
            )
        self._long = [place for place, length in enumerate(lengths) if length >= self.steps]
        same = scaling is None or (not any(scaling.mean) and all(std == 1 for std in scaling.std))
        self.scaling = None if same else scaling
        self.units: Mapping[str, str] = {}
        self.vectors: Mapping[str, Sequence[str]] = {}
        self.coordinates: Mapping[str, Any] = {}
        self.attributes: Mapping[str, Mapping[str, Any]] = {}
        self.given: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"Flows({len(self)} of {self.steps} frames of {', '.join(self.fields)})"

    def __len__(self) -> int:
        return len(self._long)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        return self._flow(self._long[range(len(self))[index]])

    def __iter__(self) -> Iterator[Flow]:
        return (self[place] for place in range(len(self)))

    def times(self) -> Tensor | None:
        """The times of the first trajectory's frames, from the last given one, ``(T,)``; None if not known.

        These are all that the data state, which may be more than `steps`.
        """
        times: Tensor | None = self[0].times
        return None if times is None else times[0]

    @abstractmethod
    def _flow(self, trajectory: int) -> Flow:
        """A trajectory, read now."""
