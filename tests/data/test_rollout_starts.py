"""``irno rollout --start``: rollouts from one's own files, without a truth."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import meshio
import numpy as np
import pytest
import torch
import xarray
from flow_data import FLOWS
from rollout_runs import RunOf, loaded, runs_in
from test_cli import Capsys, contents, refused

from irno_cli.main import main
from neuralop_irno import HDF5, Zarr, flows_of, rollout, rollout_options
from neuralop_irno.data.readers.starts import starts_of
from neuralop_irno.data.splits import load_splits
from neuralop_irno.rollouts import Refine, Window
from neuralop_irno.rollouts.files import file_of


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    return runs_in(tmp_path_factory)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_starts_from_arrays_need_no_truth(suffix: str, run_of: RunOf, tmp_path: Path, capsys: Capsys) -> None:
    folder, start, to = run_of("zarr"), tmp_path / f"x{suffix}", tmp_path / "run.zarr"
    x = np.random.default_rng(0).standard_normal((3, 4, 8, 8)).astype(np.float32)  # two frames of u and v
    if suffix == ".h5":
        with h5py.File(start, "w") as file:
            file["x"] = x
    else:
        np.savez(start, x=x, y=x)
    before = contents(folder)
    words = ["rollout", str(folder), "--start", str(start), "--to", str(to), "--steps", "3"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [str(to)], "endings": ["completed"] * 3}
    assert contents(folder) == before
    model, flows = loaded(folder)
    options = {"window": Window(2), "stepper": rollout_options(flows, flows[0])["stepper"]}
    frames = rollout(
        model, torch.from_numpy(x).unflatten(1, (2, 2)), 3, **options, refinement=Refine(2)
    ).frames
    assert torch.equal(Zarr(to).read().frames, frames)
    assert "expected a new file, got run.zarr, which exists" in refused(capsys, *words, code=1)
    assert main([*words, "--existing", "continue"]) == 0
    assert "3 of 3 samples, 3 frames: took all of its steps" in capsys.readouterr().out


def test_a_series_of_named_variables_starts_from_its_last_frames(
    run_of: RunOf, tmp_path: Path, capsys: Capsys
) -> None:
    folder, to = run_of("own files"), tmp_path / "run.zarr"
    source = FLOWS["own files"](tmp_path / "data")["train"]
    words = ["rollout", str(folder), "--start", str(source), "--to", str(to), "--steps", "3", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["endings"] == ["completed"] * 5
    found = xarray.open_zarr(to)
    np.testing.assert_allclose(found["time"], 12.5 + 0.5 * np.arange(1, 4))
    assert found["u"].attrs["units"] == "m s-1"
    stored = file_of(to).read().frames
    _, flows = loaded(folder)
    assert stored.shape == (5, 3, *flows[0].start.shape[2:])
    # The last two frames are those from which the last frame of the longest flow of the data is four ahead.
    series = flows_of(load_splits(FLOWS["own files"](tmp_path / "again"))["test"])[0]
    known = torch.cat([series.start, series.frames], 1)
    options = {**rollout_options(flows, series), "clock": None}
    frames = rollout(loaded(folder)[0], known[:, -2:], 3, **options, refinement=Refine(2)).frames
    torch.testing.assert_close(stored[3:4], frames)


def test_starts_from_a_folder_of_meshes(run_of: RunOf, tmp_path: Path, capsys: Capsys) -> None:
    folder, source = run_of("meshes"), tmp_path / "meshes"
    source.mkdir()
    _, flows = loaded(folder)
    for place, flow in enumerate(flows):
        graph = flow.graph
        pos = torch.nn.functional.pad(graph.pos, (0, 1)).numpy()
        fields = {"displacement": flow.start[:, 0, 0].numpy(), "wall": flow.static[:, 0].numpy()}
        meshio.Mesh(pos, [("triangle", graph.face.T.numpy())], fields).write(source / f"{place}.vtu")
    words = ["rollout", str(folder), "--start", str(source), "--to", str(tmp_path / "run.h5"), "--steps", "4"]
    assert main([*words, "--fields", "displacement,wall", "--batch-size", "1"]) == 0
    assert "run-0.h5" in capsys.readouterr().out
    for place, flow in enumerate(flows):
        stored = HDF5(tmp_path / f"run-{place}.h5").read()
        assert stored.frames.shape == (flow.start.shape[0], 4, 1)
        torch.testing.assert_close(stored.times, 0.15 * torch.arange(1.0, 5.0).double())


def test_a_series_on_meshes_starts_from_its_last_frames(
    run_of: RunOf, tmp_path: Path, capsys: Capsys
) -> None:
    folder, to = run_of("mesh files"), tmp_path / "run.vtkhdf"
    source = FLOWS["mesh files"](tmp_path / "data")["train"][2]
    assert main(["rollout", str(folder), "--start", source, "--to", str(to), "--steps", "2"]) == 0
    model, flows = loaded(folder)
    last = flows[0].frames[:, -2:]
    start, options = flows[0].started(last), rollout_options(flows, flows[0])
    frames = rollout(model, start.first, 2, **options, refinement=Refine(2)).frames
    torch.testing.assert_close(file_of(to).read().frames, frames)


def test_starts_of_another_form_are_refused(run_of: RunOf, tmp_path: Path, capsys: Capsys) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3, 8, 8)))
    np.savez(tmp_path / "more.npz", x=np.zeros((2, 4, 8, 8)), tau=np.zeros(2))
    for name, message in {
        "x.npz": "expected x of 4 channels or more in x.npz, 2 frames of u, v, got 3; try all",
        "more.npz": "expected x (n, channels, *S) alone in more.npz, got {'x': (2, 4, 8, 8), 'tau'",
    }.items():
        words = ["--start", tmp_path / name, "--to", tmp_path / "run.h5"]
        assert message in refused(capsys, "rollout", run_of("zarr"), *words)
        assert not (tmp_path / "run.h5").exists()


def turned(folder: Path, times: list[float]) -> Mapping[str, Any]:
    """Own files whose frames have other times."""
    data = FLOWS["own files"](folder)
    whole = xarray.load_dataset(data["train"], engine="scipy").assign_coords(time=times)
    whole.to_netcdf(data["train"], engine="scipy", format="NETCDF3_64BIT")
    return data


def test_a_step_of_irregular_times_has_to_be_stated(tmp_path: Path) -> None:
    data = turned(tmp_path / "data", [0, 1, 2, 3, 5, 6])
    flows, source = flows_of(load_splits(data)["test"], 1), data["train"]
    with pytest.raises(
        ValueError, match=r"^expected frames at equal distances in time in the data of the model"
    ):
        starts_of(source, flows, 3, data=data)
    stated = starts_of(source, flows, 3, data=data, step=0.5)
    assert stated[0].times.tolist() == [[6.0, 6.5, 7.0, 7.5]]


def test_a_file_of_other_distances_than_in_training_is_refused(
    run_of: RunOf, tmp_path: Path, capsys: Capsys
) -> None:
    source = turned(tmp_path / "data", [0, 1, 2, 3, 4, 5])["train"]
    words = ["rollout", run_of("own files"), "--start", source, "--to", tmp_path / "run.h5", "--steps", "2"]
    message = "expected frames at distances of 0.5 in time in own.nc, as in training, got 1; try --step 1 if"
    assert message in refused(capsys, *words)
    assert main([str(word) for word in (*words, "--step", 1, "--json")]) == 0
    assert file_of(tmp_path / "run.h5").read().times.tolist() == [6.0, 7.0]
