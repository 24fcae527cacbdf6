"""Trajectories on meshes, and the pairs of frames that are cut from them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import check_least, expected

OF_TRAJECTORIES = ("static", "times", "cells")
"""Attributes of trajectories that the samples of a data set do not have."""

Vectors = tuple[list[tuple[int, ...]], list[tuple[int, ...]]]
"""For x and for y the channels that are the components of a vector, one tuple each."""


class MeshTrajectories(Sequence[Any], ABC):
    """Trajectories on meshes that are read when they are indexed.

    Each is a graph of PyTorch Geometric with the frames as x, ``(N, T, C)``; with their ``times``, ``(T,)``
    in double precision, if they are known; with ``static``, ``(N, S)``, if there are constant channels; and
    with pos, edge_index, measure, and the cells as ``face`` or ``cells``, where they are known.

    Attributes:
        lengths: number of frames of each trajectory.
        vectors: the names of the channels that are the components of a vector, by its name.
    """

    lengths: Sequence[int]
    vectors: Mapping[str, Sequence[str]] = MappingProxyType({})

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]
        return self.part(place, range(self.lengths[place]))

    @abstractmethod
    def part(self, trajectory: int, places: range) -> Any:
        """The graph of a trajectory with some of its frames only."""

    def times(self, trajectory: int) -> Tensor | None:
        """The times of all frames of a trajectory, ``(T,)``; None if they are not known."""
        found: Tensor | None = getattr(self[trajectory], "times", None)
        return found


class HeldTrajectories(MeshTrajectories):
    """Trajectories in memory.

    Args:
        graphs: with x of shape ``(N, T, C)``.
    """

    def __init__(self, graphs: Sequence[Any]) -> None:
        for graph in graphs:
            if graph.x.dim() != 3:
                wanted, got = "trajectories as graphs with x of shape (N, T, C)", tuple(graph.x.shape)
                raise ValueError(expected(wanted, got, "x[..., None] for one channel"))
        self.graphs, self.lengths = list(graphs), [graph.x.shape[1] for graph in graphs]

    def part(self, trajectory: int, places: range) -> Any:
        whole = self.graphs[trajectory]
        graph, frames = copy.copy(whole), torch.tensor(places)
        graph.x = whole.x[:, frames]
        if "times" in whole:
            graph.times = whole.times[frames]
        return graph


class MeshWindows(Dataset[Any]):
    """Pairs cut from trajectories on meshes: x holds some frames, y those that follow.

    x holds frames as channels, the oldest first and all fields of a frame together, then the constant
    channels ``static`` of the trajectory; y holds the frames that follow.

    Args:
        trajectories: see `MeshTrajectories`; or such graphs in memory.
        fields: the names of the C channels of a frame.
        inputs: frames in x.
        outputs: frames in y.
        stride: frames between the starts of two windows.
        files: the files that the frames are read from.
        resolution: what is known of the meshes.

    Attributes:
        vectors: for x and for y the channels that are the components of a vector, one tuple each; those of y
            only, since the fields of x are the same.
        metric: VRMSE, since fields are in physical units and a relative error would depend on their zero.

    Shapes:
        - x: ``(N, inputs * C [+ S])``; y: ``(N, outputs * C)``

    Example:
        >>> from torch_geometric.data import Data
        >>> frames = torch.arange(10.0).reshape(2, 5, 1)  # nodes, time, channels
        >>> graph = Data(x=frames, static=torch.ones(2, 1), times=torch.arange(5.0))
        >>> pairs = MeshWindows([graph], fields=["u"], inputs=2)
        >>> len(pairs), pairs[1].x.tolist(), pairs[1].y.tolist()
        (3, [[1.0, 2.0, 1.0], [6.0, 7.0, 1.0]], [[3.0], [8.0]])
    """

    metric = "vrmse"

    def __init__(
        self,
        trajectories: Sequence[Any],
        fields: Sequence[str],
        inputs: int = 1,
        outputs: int = 1,
        stride: int = 1,
        files: tuple[Path, ...] = (),
        resolution: Resolution | None = None,
    ) -> None:
        check_least(1, 1, inputs=inputs, outputs=outputs, stride=stride)
        self.trajectories = (
            trajectories if isinstance(trajectories, MeshTrajectories) else HeldTrajectories(trajectories)
        )
        self.fields, self.files, self.resolution = tuple(fields), files, resolution or Resolution()
        names = self.trajectories.vectors.values()
        self.vectors: Vectors = ([], [tuple(map(self.fields.index, parts)) for parts in names])
        self.inputs, self.outputs, self.stride = inputs, outputs, stride
        shortest = min(self.trajectories.lengths, default=0)
        if shortest < inputs + outputs:
            wanted = f"trajectories of at least {inputs + outputs} frames"
            raise ValueError(expected(wanted, f"one of {shortest}", "fewer inputs or outputs"))
        # The index of the first pair of each trajectory, and the total number of pairs.
        counts = ((n - inputs - outputs) // stride + 1 for n in self.trajectories.lengths)
        self._first = [0, *accumulate(counts)]

    def __repr__(self) -> str:
        pairs = f"{len(self)} pairs of {len(self.trajectories)} trajectories"
        return f"MeshWindows({pairs}: {self.inputs} to {self.outputs} frames of {', '.join(self.fields)})"

    @property
    def summary(self) -> str:
        """One line on what was read; empty for trajectories in memory."""
        return getattr(self.trajectories, "summary", "")

    def __len__(self) -> int:
        return self._first[-1]

    @property
    def groups(self) -> Tensor:
        """The trajectory of each pair, ``(pairs,)``."""
        first = torch.tensor(self._first)
        return torch.arange(len(first) - 1).repeat_interleave(first.diff())

    def __getitem__(self, index: int) -> Any:
        place = range(len(self))[index]
        trajectory = bisect_right(self._first, place) - 1
        start = (place - self._first[trajectory]) * self.stride
        graph = self.trajectories.part(trajectory, range(start, start + self.inputs + self.outputs))
        sample, static = copy.copy(graph), getattr(graph, "static", None)
        for name in OF_TRAJECTORIES:
            if name in sample:
                delattr(sample, name)
        x = graph.x[:, : self.inputs].flatten(1)
        sample.x = x if static is None else torch.cat([x, static], 1)
        sample.y = graph.x[:, self.inputs :].flatten(1)
        return sample
