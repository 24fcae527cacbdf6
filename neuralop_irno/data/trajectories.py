"""Fields on points at several times, as whole trajectories and as graphs of pairs of frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.data.point_clouds import PointCloud
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected


class Trajectories(Sized, ABC):
    """Base class: trajectories of a field on points, all at the same times; its length is their number.

    Attributes:
        times: times of the frames, ascending, ``(T,)``.
        files: the files that the frames are read from.
        fields: the names of the channels of a frame; empty if they have none.
    """

    times: Tensor
    files: tuple[Path, ...] = ()
    fields: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} samples, {len(self.times)} frames)"

    @abstractmethod
    def frame(self, sample: int, place: int) -> Tensor:
        """The field of a sample at ``times[place]``, ``(N, V)``."""

    @abstractmethod
    def cloud(self, sample: int) -> PointCloud:
        """The points of a sample."""

    def coefficients(self, sample: int, place: int) -> Tensor | None:
        """The coefficients of a sample at ``times[place]``, ``(N, C)``; None by default."""
        return None

    def trajectory(self, sample: int) -> Tensor:
        """All frames of a sample, ``(T, N, V)``."""
        return torch.stack([self.frame(sample, place) for place in range(len(self.times))])

    def graph(self, sample: int, before: int, after: int) -> Any:
        """A PyTorch Geometric graph of two frames of a sample.

        x holds the earlier field and the coefficients, y the later field; t is the time of x and tau the time
        from x to y.
        """
        x = self.frame(sample, before)
        known = self.coefficients(sample, before)
        graph = _on(self.cloud(sample), x if known is None else torch.cat([x, known], 1))
        graph.y = self.frame(sample, after)
        graph.t = self.times[before : before + 1]
        graph.tau = (self.times[after] - self.times[before])[None]
        return graph

    def solution(self, sample: int, place: int = 0) -> Any:
        """A PyTorch Geometric graph with the coefficients of a sample as x and its field as y."""
        known = self.coefficients(sample, place)
        if known is None:
            raise ValueError(expected("coefficients to start from", None, "FramePairs instead of Solutions"))
        graph = _on(self.cloud(sample), known)
        graph.y = self.frame(sample, place)
        return graph


def _on(cloud: PointCloud, x: Tensor) -> Any:
    """A graph with x on its points. On a torus it has edges, measures and the ``period``, ``(1, d)``."""
    from torch_geometric.data import Data

    graph = Data(x=x, pos=cloud.pos)
    if cloud.period is not None and cloud.neighbourhood is not None:
        graph.edge_index, graph.measure = cloud.neighbourhood
        graph.period = torch.tensor([cloud.period], dtype=cloud.pos.dtype)
    return graph


class PointTrajectories(Trajectories):
    """Trajectories in memory, all on the same points.

    Args:
        u: the fields, ``(S, T, N, V)``.
        cloud: the points.
        times: times of the frames, ``(T,)``.
        fields: the names of the V channels.

    Example:
        >>> u, times = torch.randn(3, 5, 16, 2), torch.linspace(0, 1, 5)
        >>> data = PointTrajectories(u, PointCloud(torch.rand(16, 2)), times)
        >>> pair = data.graph(0, before=1, after=3)
        >>> torch.equal(pair.y, u[0, 3]), pair.t.item(), pair.tau.item()
        (True, 0.25, 0.5)
    """

    def __init__(self, u: Tensor, cloud: PointCloud, times: Tensor, fields: Sequence[str] = ()) -> None:
        if u.dim() != 4 or u.shape[1:3] != (len(times), len(cloud.pos)):
            wanted = f"u of shape (S, {len(times)}, {len(cloud.pos)}, V), by times and points"
            raise ValueError(expected(wanted, tuple(u.shape), "u[:, :len(times)]"))
        self.u, self.times, self.fields = u, times, tuple(fields)
        self._cloud = cloud

    def __len__(self) -> int:
        return len(self.u)

    def frame(self, sample: int, place: int) -> Tensor:
        return self.u[sample, place]

    def cloud(self, sample: int = 0) -> PointCloud:
        return self._cloud

    def trajectory(self, sample: int) -> Tensor:
        return self.u[sample]


class FramePairs(Dataset[Any]):
    """Graphs of all pairs of frames of a sample that are ``leads`` frames apart.

    Args:
        trajectories: the trajectories; graphs are built when indexed.
        leads: frames between x and y.

    Attributes:
        metric: VRMSE, since fields are in physical units and a relative error would depend on their zero.

    Example:
        >>> data = PointTrajectories(torch.randn(2, 5, 9, 1), PointCloud(torch.rand(9, 2)), torch.arange(5.0))
        >>> pairs = FramePairs(data, leads=(1, 2))
        >>> len(pairs), pairs[-1].t.item(), pairs[-1].tau.item()  # 2 samples, 4 + 3 pairs of each
        (14, 2.0, 2.0)
    """

    metric = "vrmse"
    resolution = Resolution(extent="fixed")  # the points of one file lie in one box

    def __init__(self, trajectories: Trajectories, leads: Sequence[int] = (1,)) -> None:
        last = len(trajectories.times) - 1
        if not leads or not all(1 <= lead <= last for lead in leads):
            raise ValueError(expected(f"leads of 1 to {last} frames", list(leads), "leads=[1]"))
        self.trajectories, self.files, self.leads = trajectories, trajectories.files, tuple(leads)
        self.places = [(start, start + lead) for lead in leads for start in range(last + 1 - lead)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} pairs of {self.trajectories})"

    def __len__(self) -> int:
        return len(self.trajectories) * len(self.places)

    @property
    def groups(self) -> Tensor:
        """The trajectory of each pair, ``(pairs,)``."""
        return torch.arange(len(self.trajectories)).repeat_interleave(len(self.places))

    def __getitem__(self, index: int) -> Any:
        sample, place = divmod(range(len(self))[index], len(self.places))
        return self.trajectories.graph(sample, *self.places[place])


class Solutions(Dataset[Any]):
    """Graphs of time-independent problems: coefficients as x, the field as y.

    Args:
        trajectories: samples with coefficients and one time.

    Attributes:
        metric: VRMSE, as for `FramePairs`.
    """

    metric = "vrmse"
    resolution = Resolution(extent="fixed")  # the points of one file lie in one box

    def __init__(self, trajectories: Trajectories) -> None:
        self.trajectories, self.files = trajectories, trajectories.files

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.trajectories})"

    def __len__(self) -> int:
        return len(self.trajectories)

    def __getitem__(self, index: int) -> Any:
        return self.trajectories.solution(range(len(self))[index])
