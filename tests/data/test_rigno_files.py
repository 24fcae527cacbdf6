"""RIGNO's files in their layouts, written here and read lazily; what is not one says why."""

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from layouts import add_blocks
from torch_geometric.data import Batch

from neuralop_irno.data.readers.published import PUBLISHED, Facts
from neuralop_irno.data.readers.rigno_files import RignoFile
from neuralop_irno.data.splits import load_splits
from neuralop_irno.data.trajectories import FramePairs, Solutions
from neuralop_irno.metrics import METRICS, own_metric, relative_l1
from neuralop_irno.models.rigno import RIGNO, Statistics, TimeStepper

RNG = np.random.default_rng(0)
Arrays = dict[str, Any]


def numbers(*shape: int) -> Any:
    return RNG.random(shape, dtype=np.float32)


def written(path: Path, arrays: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def test_fields_on_shared_points(tmp_path: Path) -> None:
    arrays = {"u": numbers(4, 21, 30, 5), "x": numbers(1, 1, 30, 2)}  # as CE-Gauss has it, energy last
    data = RignoFile(written(tmp_path / "CE-Gauss.nc", arrays))
    assert len(data) == 4
    torch.testing.assert_close(data.times, torch.linspace(0, 1, 21))
    assert np.array_equal(data.frame(2, 7), arrays["u"][2, 7, :, :4])
    assert np.array_equal(data.trajectory(3), arrays["u"][3, :, :, :4])
    assert data.coefficients(0, 0) is None
    cloud = data.cloud(0)
    assert np.array_equal(cloud.pos, arrays["x"][0, 0])
    assert data.cloud(3) is cloud  # and so is its triangulation
    assert cloud.period == (1.0, 1.0)
    graph = data.graph(1, before=4, after=10)
    assert np.array_equal(graph.x, arrays["u"][1, 4, :, :4])
    assert np.array_equal(graph.y, arrays["u"][1, 10, :, :4])
    assert graph.t.item() == pytest.approx(0.2)
    assert graph.tau.item() == pytest.approx(0.3)
    assert graph.measure.sum().item() == pytest.approx(1, rel=1e-5)


def test_a_part_of_a_file_is_seen_as_if_it_were_all(tmp_path: Path) -> None:
    arrays = {"u": numbers(6, 21, 30, 5), "x": numbers(1, 1, 30, 2)}
    path = written(tmp_path / "CE-Gauss.nc", arrays)
    data = RignoFile(path, samples=range(2, 5), frames=range(0, 15, 2))
    assert len(data) == 3
    torch.testing.assert_close(data.times, 0.1 * torch.arange(8))
    assert np.array_equal(data.trajectory(1), arrays["u"][3, 0:15:2, :, :4])
    assert np.array_equal(data.frame(2, 3), arrays["u"][4, 6, :, :4])
    pairs = FramePairs(data, leads=range(1, 8))
    assert len(pairs) == 3 * 28  # all pairs of eight frames
    assert np.array_equal(pairs[28].y, arrays["u"][3, 2, :, :4])


def test_points_and_coefficients_of_each_samples_own(tmp_path: Path) -> None:
    arrays = {"u": numbers(3, 1, 25, 5), "x": numbers(3, 1, 25, 2), "c": numbers(3, 1, 25, 1)}
    data = RignoFile(written(tmp_path / "AF.nc", arrays))
    assert data.times.tolist() == [0.0]
    graph = Solutions(data)[2]
    assert np.array_equal(graph.x, arrays["c"][2, 0])
    assert np.array_equal(graph.y, arrays["u"][2, 0, :, :1])  # of five variables the density
    assert np.array_equal(graph.pos, arrays["x"][2, 0])
    assert "edge_index" not in graph  # where an open domain ends, and what holes it has, no file says


@pytest.mark.parametrize("times", [1, 6])
def test_coefficients_once_or_at_every_time_stand_beside_the_field(times: int, tmp_path: Path) -> None:
    arrays = {"u": numbers(2, 6, 9, 1), "x": numbers(1, 1, 9, 2), "c": numbers(2, times, 9, 2)}
    graph = RignoFile(written(tmp_path / "Wave-Layer.nc", arrays)).graph(1, 3, 5)
    known = arrays["c"][1, min(3, times - 1)]
    assert np.array_equal(graph.x, np.concatenate([arrays["u"][1, 3], known], 1))
    assert np.array_equal(graph.y, arrays["u"][1, 5])


@pytest.mark.parametrize(("name", "array", "variables"), [("CE-RP", "data", 4), ("NS-SL", "velocity", 2)])
def test_a_grid_is_read_row_by_row(name: str, array: str, variables: int, tmp_path: Path) -> None:
    u = numbers(2, 5, variables + 1, 4, 6)
    data = RignoFile(written(tmp_path / f"{name}.nc", {array: u}))
    pos, frame = data.cloud(0).pos, data.frame(1, 3)
    assert data.trajectory(1).shape == (5, 24, variables)
    for row, column in ((0, 0), (0, 5), (3, 2)):
        point = row * 6 + column
        assert pos[point].tolist() == pytest.approx([column / 6, row / 4])
        assert frame[point].tolist() == u[1, 3, :variables, row, column].tolist()


def test_a_grid_of_one_variable_with_and_without_time(tmp_path: Path) -> None:
    u, c = numbers(2, 5, 3, 4), numbers(2, 3, 4)
    data = RignoFile(written(tmp_path / "Wave-Layer.nc", {"solution": u, "c": c}))
    graph = data.graph(1, 2, 4)
    assert np.array_equal(graph.x, np.stack([u[1, 2].ravel(), c[1].ravel()], 1))
    assert np.array_equal(graph.y[:, 0], u[1, 4].ravel())
    assert data.cloud(0).pos[-1].tolist() == [1.0, 1.0]  # an open grid reaches its corners
    data = RignoFile(written(tmp_path / "Poisson-Gauss.nc", {"solution": u[:, 0], "source": c}))
    graph = data.solution(1)
    assert np.array_equal(graph.x[:, 0], c[1].ravel())
    assert np.array_equal(graph.y[:, 0], u[1, 0].ravel())


def test_nothing_is_read_that_is_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "CE-Gauss.nc"
    with h5py.File(path, "w") as file:  # 700 MB when it is unpacked
        add_blocks(file, "u", (100, 21, 16384, 5), (1, 1, 16384, 5), 0.5)
        file["x"] = numbers(1, 1, 16384, 2)
    tracemalloc.start()
    data = RignoFile(path)
    assert (data.frame(99, 20) == 0.5).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 16384 * 5 * 4


def test_a_reader_can_be_handed_to_another_process(tmp_path: Path) -> None:
    arrays = {"u": numbers(2, 5, 9, 4), "x": numbers(1, 1, 9, 2)}
    data = FramePairs(RignoFile(written(tmp_path / "CE-Gauss.nc", arrays)))
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[3].y, data[3].y)
    loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=2, collate_fn=Batch.from_data_list)
    whole = torch.cat([batch.y for batch in loader])
    assert torch.equal(whole, torch.cat([graph.y for graph in (data[i] for i in range(len(data)))]))


def test_splits_are_the_first_the_next_and_the_last_samples(tmp_path: Path) -> None:
    arrays = {"u": numbers(9, 21, 40, 5), "x": numbers(1, 1, 40, 2)}
    path = written(tmp_path / "mine.nc", arrays)
    splits = load_splits({
        "name": "rigno_file", "path": str(path), "like": "CE-Gauss", "samples": [3, 2, 2], "stride": 2,
        "last": 14, "leads": [1, 2],
    })  # fmt: skip
    assert {name: list(split.trajectories.samples) for name, split in splits.items()} == {
        "train": [0, 1, 2], "valid": [3, 4], "test": [7, 8],
    }  # fmt: skip
    train = splits["train"].trajectories
    assert len(splits["train"]) == 3 * (7 + 6)
    u = torch.stack([train.trajectory(sample) for sample in range(3)])
    network = RIGNO(4, 4, periodic=True, domain=(0.0, 1.0), width=8, steps=1, levels=2)
    model = TimeStepper(network, Statistics.of(u, train.times, train.facts.span)).eval()
    batch = Batch.from_data_list([splits["test"][i] for i in (0, 5, 20)])
    assert model(batch.x, batch.pos, batch.batch, batch.t, batch.tau).shape == batch.y.shape


@pytest.mark.parametrize(("name", "kind"), [("CE-Gauss", FramePairs), ("AF", Solutions)])
def test_the_metric_of_raw_fields_is_that_of_normalised_ones(name: str, kind: Any, tmp_path: Path) -> None:
    """RIGNO's errors are of normalised fields. Its relative error of raw ones would be another number."""
    facts = PUBLISHED[name]
    mean, std = (torch.tensor(values)[:, None] for values in (facts.mean, facts.std))
    u = mean + std * torch.randn(3, 2, len(facts.mean), 30)
    arrays = {"u": u.mT.numpy()[:, : 1 if facts.span is None else 2], "x": numbers(1, 1, 30, 2)}
    path = written(tmp_path / f"{name}.nc", {**arrays, "c": numbers(3, 1, 30, 1)})
    data = kind(RignoFile(path))
    truth = torch.stack([data[sample].y.T for sample in range(3)])
    answer = truth + 0.3 * std * torch.randn_like(truth)
    own = METRICS.lookup(own_metric(data))
    normalised = ((answer - mean) / std, (truth - mean) / std)
    torch.testing.assert_close(own(answer, truth), own(*normalised), rtol=1e-4, atol=0)
    offset = (mean / std)[:, 0] > 2  # of densities and pressures
    assert offset.any()
    assert (relative_l1(answer, truth) < 0.5 * relative_l1(*normalised))[:, offset].all()


def test_what_is_known_of_the_published_sets_is_of_one_size() -> None:
    for facts in PUBLISHED.values():
        assert len(facts.groups) == len(facts.mean) == len(facts.std)
        assert len(facts.low) == len(facts.high)
        assert all(std > 0 for std in facts.std)
        assert sorted({*facts.groups}) == list(range(max(facts.groups) + 1))


POINTS = {"u": numbers(2, 5, 9, 4), "x": numbers(1, 1, 9, 2)}
THREE = {**POINTS, "u": numbers(2, 5, 9, 3)}
FEWER = {**POINTS, "x": numbers(1, 1, 8, 2)}


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("CE-Gauss", {"v": POINTS["u"]}, r"u and x, or one of velocity, data, solution, in .*, got \['v'\]"),
        ("CE-Gauss", {"u": POINTS["u"]}, r"u and x, or one of .*, got \['u'\]"),
        ("CE-Gauss", THREE, r"u \(samples, T, N, 4 or more\) in CE-Gauss.nc, got \(2, 5, 9, 3\)"),
        ("CE-Gauss", {**POINTS, "u": POINTS["u"][0]}, r"u \(samples, T, N, 4 or more\)"),
        ("CE-Gauss", FEWER, r"x \(1 or 2, 1, 9, 2\) in CE-Gauss.nc, got \(1, 1, 8, 2\)"),
        ("CE-Gauss", {**POINTS, "x": POINTS["x"][0]}, r"x \(1 or 2, 1, 9, 2\)"),
        ("CE-Gauss", {**POINTS, "c": numbers(2, 3, 9, 1)}, r"c \(2, 1 or 5, 9, C\) in .*, got \(2, 3, 9, 1"),
        ("CE-RP", {"data": numbers(2, 5, 3, 4, 4)}, r"data \(samples, .* H, W\) with 4 variables or more"),
        ("Poisson-Gauss", {"solution": numbers(2, 4, 4), "source": numbers(2, 4, 5)}, r"source \(2, 4, 4\)"),
        ("CE_Gauss", POINTS, r"a file named like a published set, got 'CE_Gauss.nc'; try facts=.*'CE-Gauss'"),
    ],
)  # fmt: skip
def test_other_layouts_teach(name: str, arrays: Arrays, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        RignoFile(written(tmp_path / f"{name}.nc", arrays))


def test_what_is_no_file_or_no_hdf5_teaches(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^expected a data file, got no file at .*; try the path of a .nc file"
    ):
        RignoFile(tmp_path / "CE-Gauss.nc")
    whole = written(tmp_path / "CE-Gauss.nc", POINTS).read_bytes()
    for content in (b"", b"these are no fields", whole[: len(whole) // 2]):
        (tmp_path / "CE-Gauss.nc").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"^expected HDF5 in CE-Gauss.nc, got .+; try downloading it again"
        ):
            RignoFile(tmp_path / "CE-Gauss.nc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": [2, 2, 2]}, r"at most 5 samples in all, got \[2, 2, 2\]; try fewer"),
        ({"samples": 3}, r".* as Sequence\[int\], got 3"),
        ({"like": "CE-Gaus"}, r"a published data set, got 'CE-Gaus'; try 'CE-Gauss'"),
        ({"stride": 0}, r"stride >= 1, got 0; try stride=2"),
        ({"last": 5}, r"ascending frames from 0 to 4, got range\(0, 6\); try frames=range\(5\)"),
        ({"leads": [5]}, r"leads of 1 to 4 frames, got \[5\]"),
    ],
)
def test_options_that_do_not_fit_teach(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "CE-Gauss.nc", {**POINTS, "u": numbers(5, 5, 9, 4)})
    with pytest.raises((TypeError, ValueError), match=f"^expected {message}"):
        load_splits({"name": "rigno_file", "path": str(path), "samples": [2, 1, 1], **change})


def test_coefficients_have_to_be_there_to_start_from(tmp_path: Path) -> None:
    timeless = Facts((0,), (0.0,), (1.0,), span=None)
    path = written(tmp_path / "mine.nc", {"u": numbers(2, 1, 9, 1), "x": numbers(1, 1, 9, 2)})
    with pytest.raises(ValueError, match=r"^expected coefficients to start from, got None; try FramePairs"):
        Solutions(RignoFile(path, timeless))[0]
