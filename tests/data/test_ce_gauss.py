"""Flows from Gaussian vortices: the starts, the points, and what is kept on disk."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from neuralop_irno.data.solvers.ce_gauss import gaussian_vorticity, velocity_of, vortices
from neuralop_irno.data.solvers.euler import euler_trajectories, state_of
from neuralop_irno.data.splits import load_splits
from neuralop_irno.models.rigno import RIGNO, Statistics, TimeStepper

TINY: dict[str, Any] = {
    "name": "ce_gauss", "samples": [2, 1, 1], "points": 40, "resolution": 16, "frames": 5, "time": 0.2,
}  # fmt: skip


def along(field: Tensor, axis: int) -> Tensor:
    """The derivative on the periodic unit square, mode by mode."""
    n = field.shape[axis]
    shape = [-1 if place == axis % field.dim() else 1 for place in range(field.dim())]
    wavenumber = 2j * torch.pi * torch.fft.fftfreq(n, 1 / n).reshape(shape)
    return torch.fft.ifft(wavenumber * torch.fft.fft(field, dim=axis), dim=axis).real


def test_the_velocity_turns_as_the_vorticity_says_and_has_no_sources() -> None:
    vorticity = gaussian_vorticity(2, 128, torch.Generator().manual_seed(3))
    u, v = velocity_of(vorticity).unbind(1)
    scale = vorticity.abs().max()
    curl = along(v, -2) - along(u, -1)
    wanted = vorticity - vorticity.mean((1, 2), keepdim=True)
    assert (curl - wanted).abs().max() < 1e-3 * scale
    assert (along(u, -2) + along(v, -1)).abs().max() < 1e-3 * scale
    assert u.mean().abs() < 1e-5


def test_vortices_are_gases_at_rest_but_for_their_turning() -> None:
    start = vortices(3, 32, seed=0)
    assert start.shape == (3, 4, 32, 32)
    assert (start[:, 0] == 0.1).all()
    assert (start[:, 3] == 2.5).all()
    speed = start[:, 1:3].square().sum(1).mean().sqrt().item()
    assert 0.3 < speed < 3
    assert not torch.equal(start[0], start[1])
    assert torch.equal(vortices(3, 32, seed=0), start)


def test_motion_becomes_heat_and_nothing_else_is_lost() -> None:
    start = vortices(1, 32, seed=1)
    frames = euler_trajectories(start, [0.0, 0.5, 1.0])[0]
    states = state_of(frames).mean((2, 3))
    torch.testing.assert_close(states, states[:1].expand_as(states), rtol=1e-4, atol=1e-4)
    motion = (0.5 * frames[:, 0] * frames[:, 1:3].square().sum(1)).mean((1, 2))
    pressure = frames[:, 3].mean((1, 2))
    assert motion[0] > motion[1] > motion[2]
    assert pressure[0] < pressure[1] < pressure[2]


def test_points_are_cells_of_the_solvers_grid_the_same_in_every_flow() -> None:
    splits = load_splits(TINY)
    train, test = (splits[name].trajectories for name in ("train", "test"))
    assert train.u.shape == (2, 5, 40, 4)
    assert test.cloud().pos is train.cloud().pos
    column, row = (train.cloud().pos * 16 - 0.5).round().long().T
    assert len({*zip(column.tolist(), row.tolist(), strict=True)}) == 40
    whole = euler_trajectories(vortices(2, 16, seed=0), train.times.tolist())
    assert torch.equal(train.u, whole[..., column, row].transpose(2, 3))
    assert not torch.equal(splits["test"].trajectories.u, splits["valid"].trajectories.u)
    assert (train.u[..., [0, 3]] > 0).all()


def test_pairs_say_from_when_to_when_and_fit_a_model_in_time() -> None:
    train = load_splits({**TINY, "leads": [1, 3]})["train"]
    u, times = train.trajectories.u, train.trajectories.times
    assert len(train) == 2 * (4 + 2)
    graphs = [train[number] for number in range(len(train))]
    for sample, rest in enumerate((graphs[:6], graphs[6:])):
        for graph, (before, after) in zip(
            rest, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 3), (1, 4)], strict=True
        ):
            assert torch.equal(graph.x, u[sample, before])
            assert torch.equal(graph.y, u[sample, after])
            assert graph.t.item() == times[before]
            assert graph.tau.item() == pytest.approx(float(times[after] - times[before]))
    network = RIGNO(4, 4, periodic=True, domain=(0.0, 1.0), width=8, steps=1, levels=2)
    model = TimeStepper(network, Statistics.of(u, times)).eval()
    batch = Batch.from_data_list(graphs)
    assert batch.period.tolist() == [[1.0, 1.0]] * 12
    answer = model(batch.x, batch.pos, batch.batch, batch.t, batch.tau)
    assert answer.shape == batch.y.shape
    assert answer.isfinite().all()


def test_flows_in_a_folder_are_read_again_and_damaged_ones_solved_again(tmp_path: Path) -> None:
    words = {**TINY, "folder": str(tmp_path / "flows")}
    first = load_splits(words)["train"].trajectories.u
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "flows").iterdir()}
    assert len(files) == 3
    assert torch.equal(load_splits({**words, "leads": [2]})["train"].trajectories.u, first)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    for path in files:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="a whole safetensors file in ce_gauss-.* computed again"):
        assert torch.equal(load_splits(words)["train"].trajectories.u, first)
    assert torch.equal(load_splits(words)["train"].trajectories.u, first)
    load_splits({**words, "seed": 1})
    assert len(list((tmp_path / "flows").iterdir())) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": [2, 1]}, r"three numbers of samples >= 1, got \[2, 1\]; try samples: "),
        ({"points": 300}, r"4 to 256 points of the grid, got 300; try points=512"),
        ({"leads": [5]}, r"leads of 1 to 4 frames, got \[5\]; try leads=\[1\]"),
        ({"leads": []}, r"leads of 1 to 4 frames, got \[\]"),
        ({"point": 40}, r"an option of dataset 'ce_gauss', got 'point'; try 'points'"),
        ({"time": -1.0}, r"time from 0 to"),
    ],
)
def test_options_that_do_not_fit_teach(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        load_splits({**TINY, **change})
