"""Flows of every data set with time: started and followed by the frames of its own pairs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from flow_data import FLOWS, of_well
from torch import Tensor
from torch_geometric.data import Data

from neuralop_irno import FieldDataset, GraphDataset, flows_of, side_by_side
from neuralop_irno.data.flows import Flow, Flows
from neuralop_irno.data.mesh_windows import MeshWindows
from neuralop_irno.data.splits import load_splits


def as_pair(flows: Flows, flow: Flow, ahead: int) -> tuple[Tensor, Tensor]:
    """x and y of the call that predicts frame ``ahead`` of a flow, in the units of the model."""
    assert flow.frames is not None
    series = torch.cat([flow.start, flow.frames], 1)
    if flows.scaling is not None:
        series = flows.scaling.apply(series.flatten(1, 2)).unflatten(1, series.shape[1:3])
    seen, after = (
        series[:, ahead : ahead + flows.inputs],
        series[:, ahead + flows.inputs :][:, : flows.outputs],
    )
    more = [flow.static] if flow.static is not None else []
    more += [flow.forcing[:, ahead]] if flow.forcing is not None else []
    return torch.cat([seen.flatten(1, 2), *more], 1), after.flatten(1, 2)


def series_on_meshes() -> MeshWindows:
    """Two series of unequal length on meshes of unequal size."""
    return MeshWindows(
        [
            Data(
                x=torch.randn(nodes, frames, 2),
                static=torch.randn(nodes, 1),
                times=torch.arange(frames, dtype=torch.float64) / 10,
                pos=torch.rand(nodes, 2),
            )
            for nodes, frames in ((5, 6), (7, 4))
        ],
        fields=("u", "v"),
        inputs=2,
    )


@pytest.mark.parametrize("kind", [*FLOWS, "series on meshes"])
def test_a_flow_is_the_pairs_of_its_trajectory_one_after_the_other(kind: str, tmp_path: Path) -> None:
    data: Any = load_splits(FLOWS[kind](tmp_path / "data"))["test"] if kind in FLOWS else series_on_meshes()
    flows = flows_of(data)
    flow = flows[0]
    assert flow.samples == 1
    assert flow.frames is not None
    assert (flow.start.shape[1], flow.frames.shape[1]) == (flows.inputs, flows.steps)
    assert flow.start.shape[2] == len(flows.fields)
    pair, graphs = data[0], flow.graph is not None
    x, y = as_pair(flows, flow, 0)
    torch.testing.assert_close(x, pair["x"] if graphs else pair["x"][None])
    torch.testing.assert_close(y, pair["y"][:, : y.shape[1]] if graphs else pair["y"][None])
    if graphs:
        assert torch.equal(flow.graph.x, flow.start)
        assert torch.equal(flow.graph.pos, pair.pos)
        assert not {"y", "t", "tau"} & set(flow.graph.keys())
    assert (flow.times is None) == (kind in ("zarr", "zarr bundles", "mesh files"))
    if flow.times is not None:
        assert flow.times.shape == (1, 1 + flows.steps)
        assert (flow.times.diff() > 0).all()


def test_further_windows_are_later_calls(tmp_path: Path) -> None:
    for scalars in (False, True):
        data: Any = load_splits(of_well(tmp_path / f"{scalars}", extras=True, scalars=scalars))["test"]
        flows = flows_of(data)
        assert (flows[0].forcing is None, flows[0].static is None) == (not scalars, scalars)
        for ahead in range(flows.steps):
            x, y = as_pair(flows, flows[1], ahead)
            pair = data[len(data) // 2 + ahead]
            torch.testing.assert_close(x[0], pair["x"])
            torch.testing.assert_close(y[0], pair["y"])
    bundled: Any = load_splits(of_well(tmp_path / "more", extras=True, scalars=True, outputs=2))["test"]
    with pytest.raises(
        ValueError, match="do not change in time, for outputs > 1, got others in FrameWindows"
    ):
        _ = flows_of(bundled)[0]


@pytest.mark.parametrize("kind", ["windows", "points", "meshes"])
def test_flows_side_by_side_are_the_flows(kind: str, tmp_path: Path) -> None:
    flows = flows_of(load_splits(FLOWS[kind](tmp_path / "data"))["test"], 2)
    both = side_by_side(flows[:])
    assert both.samples == len(flows) == 2
    assert both.frames is not None
    assert torch.equal(both.frames, torch.cat([flow.frames for flow in flows if flow.frames is not None]))
    if both.graph is not None:
        assert torch.equal(both.first.x, both.start)
        assert both.graph.batch.bincount().tolist() == [len(flow.start) for flow in flows]
    other = both.started(2 * both.start)
    assert torch.equal(other.start, 2 * both.start)
    assert other.graph is None or torch.equal(other.first.x, 2 * both.graph.x)


@pytest.mark.parametrize(
    "data", [FieldDataset(torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)), GraphDataset([]), []]
)
def test_data_without_time_are_refused(data: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^expected data with trajectories in time, such as turbulence, the_well"
    ):
        flows_of(data)


def test_shorter_trajectories_are_left_out() -> None:
    assert [len(flows_of(series_on_meshes(), steps)) for steps in (2, 3, 4)] == [2, 1, 1]


def test_more_frames_than_any_trajectory_has_are_refused(tmp_path: Path) -> None:
    for kind in ("windows", "zarr", "points", "meshes"):
        data = load_splits(FLOWS[kind](tmp_path / kind))["test"]
        longest = flows_of(data).steps
        for steps in (0, longest + 1):
            with pytest.raises(
                ValueError, match=rf"^expected steps from 1 to {longest}, .*, got {steps}; try"
            ):
                flows_of(data, steps)
