"""Windows of trajectories on meshes: the same pairs as on grids, on graphs of any sizes."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from neuralop_irno.data.frames import Frames, FrameWindows
from neuralop_irno.data.mesh_windows import MeshWindows
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.rollouts.segments import TrajectorySegments


def trajectory(nodes: int, frames: int, channels: int = 2, **more: Any) -> Data:
    x = torch.randn(nodes, frames, channels)
    edges = torch.tensor([range(nodes - 1), range(1, nodes)])
    return Data(x=x, pos=torch.rand(nodes, 2), edge_index=edges, times=torch.arange(float(frames)), **more)


class OnOneMesh(Frames):
    fields, padding, metric, scaling = ("u", "v"), ("zero",), "vrmse", Scaling.none(2)

    def __init__(self, graphs: list[Data]) -> None:
        self.graphs, self.lengths = graphs, [graph.x.shape[1] for graph in graphs]

    def read(self, trajectory: int, places: range) -> Tensor:
        return self.graphs[trajectory].x[:, torch.tensor(places)].movedim(0, 2)


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_pairs_are_those_of_the_same_frames_on_a_grid(inputs: int, outputs: int, stride: int) -> None:
    graphs = [trajectory(5, 7), trajectory(5, 5)]
    found = MeshWindows(graphs, ["u", "v"], inputs, outputs, stride)
    known = FrameWindows(OnOneMesh(graphs), inputs, outputs, stride)
    assert len(found) == len(known)
    assert torch.equal(found.groups, known.groups)
    for graph, pair in zip((found[i] for i in range(len(found))), known, strict=False):
        assert torch.equal(graph.x.T, pair["x"])
        assert torch.equal(graph.y.T, pair["y"])
    segments = TrajectorySegments(graphs, inputs, outputs, stride)
    assert all(torch.equal(found[i].x, segments[i].x) for i in range(len(segments)))


def test_meshes_of_any_sizes_with_constant_channels() -> None:
    graphs = [trajectory(n, 4, static=torch.full((n, 1), float(n))) for n in (3, 6)]
    found = MeshWindows(graphs, ["u", "v"], outputs=2)
    assert [found[i].num_nodes for i in range(len(found))] == [3, 3, 6, 6]
    for sample in (found[0], found[-1]):
        assert torch.equal(sample.x[:, 2], torch.full((sample.num_nodes,), float(sample.num_nodes)))
        assert sorted(sample.keys()) == ["edge_index", "pos", "x", "y"]
    assert torch.equal(found.trajectories[-1].x, graphs[1].x)
    assert found.trajectories[0].times.tolist() == [0, 1, 2, 3]
    assert repr(found) == "MeshWindows(4 pairs of 2 trajectories: 1 to 2 frames of u, v)"


def test_windows_that_do_not_fit_teach() -> None:
    with pytest.raises(ValueError, match=r"^expected trajectories of at least 5 frames, got one of 4; try"):
        MeshWindows([trajectory(3, 6), trajectory(3, 4)], ["u", "v"], 2, 3)
    with pytest.raises(ValueError, match=r"^expected stride >= 1, got 0"):
        MeshWindows([trajectory(3, 6)], ["u", "v"], stride=0)
    with pytest.raises(ValueError, match=r"^expected trajectories as graphs with x of shape \(N, T, C\)"):
        MeshWindows([Data(x=torch.ones(3, 2))], ["u"])
