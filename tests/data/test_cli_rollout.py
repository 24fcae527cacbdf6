"""``irno rollout`` as a user runs it, on data with time of every kind: frames, scores and errors."""

import csv
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
import xarray
from flow_data import FLOWS
from test_cli import Capsys, contents, refused
from torch import Tensor

from irno_cli.main import main
from neuralop_irno import HDF5, Zarr, flows_of, moments, relative_l2, rollout, side_by_side, vrmse
from neuralop_irno.assimilation.starts import perturbed
from neuralop_irno.config import experiment
from neuralop_irno.data.splits import load_splits
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.rollouts import Adaptive, Clock, Ending, Refine, Step, Window
from neuralop_irno.rollouts.files import file_of
from neuralop_irno.rollouts.of_flows import rollout_options
from neuralop_irno.rollouts.sink import Until
from neuralop_irno.training.folder import MODEL
from neuralop_irno.training.run import CONFIG
from neuralop_irno.yaml_files import written

FNO = {"model_arch": "fno", "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}
UNET = {"name": "unet", "width": 4, "depth": 1}
ON_GRIDS = {"base": FNO, "correction": UNET, "steps": 2}
RIGNO = {"model_arch": "rigno", "width": 4, "steps": 1}
ON_POINTS = {"base": RIGNO, "correction": {"name": "rigno", "width": 4, "steps": 1}, "steps": 2}
MESHGRAPH = {"name": "meshgraph", "width": 4, "steps": 1}
MODELS: dict[str, Mapping[str, Any]] = {
    "windows": {**ON_GRIDS, "base": {**FNO, "n_modes": [4]}},
    "sphere": {**ON_GRIDS, "base": {**FNO, "model_arch": "sfno"}},
    "points": ON_POINTS,
    "rigno": ON_POINTS,
    "meshes": {**ON_POINTS, "base": {**RIGNO, "time": False}},
    "wind": {**ON_POINTS, "base": {**RIGNO, "time": False}, "correction": MESHGRAPH},
}  # fmt: skip
RUNS = ("windows", "bundles", "sphere", "well", "zarr", "own files", "points", "rigno", "meshes", "wind")
SUFFIXES = (".h5", ".zarr", "")
CASES = [(kind, SUFFIXES[place % 3]) for place, kind in enumerate(RUNS)]
CASES += [("meshes", suffix) for suffix in (".vtkhdf", ".pvd")]
CASES += [(kind, suffix) for kind in ("zarr", "meshes") for suffix in SUFFIXES if (kind, suffix) not in CASES]
MADE: dict[str, Path] = {}


@pytest.fixture
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """From the kind of data to the folder of a run, with a model whose weights are random."""

    def make(kind: str) -> Path:
        if kind not in MADE:
            place = tmp_path_factory.mktemp("rollout")
            content = {"data": FLOWS[kind](place / "data"), "model": MODELS.get(kind, ON_GRIDS)}
            known = experiment(content)
            splits = known.splits()
            refiner = known.build_refiner(known.build_base(splits), getattr(splits["train"], "padding", None))
            with torch.no_grad():  # a new correction adds nothing to the base
                for weight in refiner.correction.parameters():
                    weight += 0.05 * torch.randn_like(weight)
            refiner.save(place / MODEL)
            (place / CONFIG).write_bytes(written(known.content))
            MADE[kind] = place
        return MADE[kind]

    return make


def in_python(folder: Path, refinement: Any, **options: Any) -> tuple[Tensor, Any]:
    """The frames of all flows of the test set, and their flow, by `irno.rollout`."""
    model, flows = loaded(folder)
    flow = side_by_side(flows[:])
    frames = rollout(
        model, flow.first, flows.steps, **{**rollout_options(flows, flow), **options}, refinement=refinement
    ).frames
    assert frames is not None
    return frames, flow


def loaded(folder: Path) -> tuple[IterativeRefiner, Any]:
    from neuralop_irno.training.run import read_run

    known, model = read_run(folder)
    return model, flows_of(known.splits()["test"])


@pytest.mark.parametrize(("kind", "suffix"), CASES)
def test_frames_and_scores_are_those_of_python(
    kind: str, suffix: str, run_of: Any, tmp_path: Path, capsys: Capsys
) -> None:
    folder, to = run_of(kind), tmp_path / f"run{suffix}"
    words = ["rollout", str(folder), "--video", "none", "--json", *(["--to", str(to)] if suffix else [])]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    for name, refinement in {"refined": Refine(2), "base": Refine(0)}.items():
        frames, flow = in_python(folder, refinement)
        if name == "refined" and suffix:
            assert found["files"] == [str(to)]
            stored = file_of(to).read()
            assert torch.equal(stored.frames, frames)
            assert stored.times is not None or kind in ("zarr", "well")
        axes = {"space": frames.dim() - 3}
        if flow.graph is None and kind not in ("sphere", "own files"):  # their points count by their area
            scores = torch.tensor(found[name]["scores"]["relative_l2"])
            torch.testing.assert_close(scores, relative_l2(frames, flow.frames, **axes), rtol=1e-4, atol=1e-6)
        elif flow.graph is not None:
            for sample, nodes in enumerate(flow.graph.batch.unique()):
                own, true = (
                    series[flow.graph.batch == nodes].permute(1, 2, 0) for series in (frames, flow.frames)
                )
                scores = torch.tensor(found[name]["scores"]["vrmse"][sample])
                torch.testing.assert_close(scores, vrmse(own, true, space=1), rtol=1e-4, atol=1e-6)
    assert set(found) - {"files", "units"} == {"base", "refined"}
    assert found.get("units") == ({"u": "m s-1"} if kind == "own files" else None)
    report = json.loads((folder / "rollout/rollout.json").read_text())
    assert report == {name: found[name] for name in ("base", "refined")}


def test_a_report_has_both_models_in_each_file(run_of: Any, capsys: Capsys) -> None:
    folder = run_of("meshes")
    before = contents(folder)
    assert main(["rollout", str(folder), "--batch-size", "1"]) == 0  # meshes of different sizes, one by one
    text = capsys.readouterr().out
    after = contents(folder)
    assert all(after[name] == content for name, content in before.items() if "rollout/" not in name)
    names = {"rollout.json", "rollout.csv", "rollout.txt", "rollout.gif"}
    names |= {"error_in_time.png", "spectra.png", "drift.png"}
    assert {name for name in after if name.startswith("rollout/")} == {f"rollout/{name}" for name in names}
    assert after["rollout/rollout.txt"].decode().strip() in text
    rows = list(csv.DictReader(after["rollout/rollout.csv"].decode().splitlines()))
    assert {row["model"] for row in rows} == {"base", "refined"}
    assert {row["field"] for row in rows} == {"displacement"}
    assert {float(row["time"]) for row in rows} == {0.15, 0.3, 0.45}


OPTIONS: dict[str, tuple[list[str], Any, dict[str, Any]]] = {
    "refine": (["--refine", "3"], Refine(3), {}),
    "rtol": (["--rtol", "0.1", "--refine", "3"], Refine(rtol=0.1, max_steps=3), {}),
    "budget": (["--budget", "1.5"], Adaptive(1.5, 2), {}),
    "stepper": (["--stepper", "res"], Refine(2), {"rule": "res"}),
    "clock": (["--clock", "0.5,2", "--step", "0.2"], Refine(2), {"clock": Clock(0.5, 0.2, 2)}),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", ["windows", "points"])
def test_options_are_those_of_python(
    kind: str, option: str, run_of: Any, tmp_path: Path, capsys: Capsys
) -> None:
    folder, (words, refinement, implied) = run_of(kind), OPTIONS[option]
    to = str(tmp_path / "run.h5")
    assert main(["rollout", str(folder), "--video", "none", "--to", to, *words]) == 0
    _, flows = loaded(folder)
    flow = side_by_side(flows[:])
    frames, _ = in_python(folder, refinement, **rollout_options(flows, flow, **implied))
    stored = HDF5(to).read()
    assert torch.equal(stored.frames, frames)
    if option == "clock":
        torch.testing.assert_close(stored.times, 0.5 + 0.2 * torch.arange(1.0, flows.steps + 1).double())


@pytest.mark.parametrize("kind", ["windows", "meshes"])
def test_an_ensemble_is_judged_by_its_mean_and_has_a_spread(
    kind: str, run_of: Any, tmp_path: Path, capsys: Capsys
) -> None:
    folder, to = run_of(kind), str(tmp_path / "run.h5")
    words = ["--members", "3", "--noise", "0.1", "--to", to, "--json", "--video", "none"]
    assert main(["rollout", str(folder), *words]) == 0
    found = json.loads(capsys.readouterr().out)["refined"]["scores"]
    model, flows = loaded(folder)
    flow = perturbed(side_by_side(flows[:]), 3, 0.1)
    frames = rollout(
        model, flow.first, flows.steps, **rollout_options(flows, flow), refinement=Refine(2)
    ).frames
    assert torch.equal(HDF5(to).read().frames, frames)
    mean, spread = moments(frames, 3, None if flow.graph is None else flow.graph.batch)
    if kind == "windows":
        truth = side_by_side(flows[:]).frames
        for name, field in {"vrmse": mean, "spread": truth + spread}.items():
            scores = vrmse(field, truth, space=1)
            torch.testing.assert_close(torch.tensor(found[name]), scores, rtol=1e-4, atol=1e-6)
    assert all(number > 0 for number in np.ravel(found["spread"]))


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_starts_from_arrays_need_no_truth(suffix: str, run_of: Any, tmp_path: Path, capsys: Capsys) -> None:
    folder, start, to = run_of("zarr"), tmp_path / f"x{suffix}", tmp_path / "run.zarr"
    x = np.random.default_rng(0).standard_normal((3, 4, 8, 8)).astype(np.float32)  # two frames of u and v
    if suffix == ".h5":
        import h5py

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
    run_of: Any, tmp_path: Path, capsys: Capsys
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


def test_starts_from_a_folder_of_meshes(run_of: Any, tmp_path: Path, capsys: Capsys) -> None:
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


def test_a_signal_ends_it_after_a_frame_and_the_file_goes_on(
    run_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    class Signalling(Until):
        def write(self, step: Step) -> Ending | None:
            if step.index == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().write(step)

    folder, to = run_of("windows"), tmp_path / "run.h5"
    before = contents(folder)
    words = ["rollout", str(folder), "--to", str(to), "--video", "none"]
    with monkeypatch.context() as patched:
        patched.setattr("irno_cli.rolling.Until", Signalling)
        with pytest.raises(SystemExit) as ended:
            main(words)
    assert ended.value.code == 143
    said = f"irno: SIGTERM: stopped after frame 2; no report; --existing continue goes on with {to}\n"
    assert capsys.readouterr().err == said
    assert contents(folder) == before
    frames, _ = in_python(folder, Refine(2))
    assert torch.equal(HDF5(to).read().frames, frames[:, :2])
    assert "which exists; try existing='continue'" in refused(capsys, *words, code=1)
    assert main([*words, "--existing", "continue"]) == 0
    assert torch.equal(HDF5(to).read().frames, frames)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--steps", 4],
            "expected steps from 1 to 3, the frames that follow the start of a flow, got 4; try",
        ),
        (["--steps", 0], "expected --steps >= 1, got 0; try --steps 1"),
        (["--samples", 9], "expected --samples up to 2, the trajectories, got 9; try --samples 2"),
        (["--rtol", 0.1, "--budget", 2], "expected --rtol or --budget, got both; try one of them"),
        (["--budget", 9], "expected 1 <= budget <= most"),
        (["--noise", 0.1], "expected --members beside --noise, got none; try --members 8"),
        (["--existing", "continue"], "expected --to beside --existing, got none; try --to run.h5"),
        (
            ["--to", "run.txt"],
            "expected a path that ends in .h5, .zarr, .vtkhdf, .pvd, got 'run.txt'; try run.h5",
        ),
        (["--start", "x.npz"], "expected --to for the frames of --start, which have no truth, got none"),
        (["--fields", "u"], "expected --start beside --fields, got none; try --start mesh.vtu"),
        (["--start", "none.npz", "--to", "run.h5"], "expected a data file, got no file at none.npz"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_frame(
    words: list[Any],
    message: str,
    run_of: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
) -> None:
    folder = run_of("windows")
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "rollout", folder, *words)
    assert not list(tmp_path.iterdir())


def test_starts_of_another_form_are_refused(run_of: Any, tmp_path: Path, capsys: Capsys) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3, 8, 8)))
    np.savez(tmp_path / "more.npz", x=np.zeros((2, 4, 8, 8)), tau=np.zeros(2))
    for name, message in {
        "x.npz": "expected x of 4 channels or more in x.npz, 2 frames of u, v, got 3; try all",
        "more.npz": "expected x (n, channels, *S) alone in more.npz, got {'x': (2, 4, 8, 8), 'tau'",
    }.items():
        words = ["--start", tmp_path / name, "--to", tmp_path / "run.h5"]
        assert message in refused(capsys, "rollout", run_of("zarr"), *words)
        assert not (tmp_path / "run.h5").exists()


def test_data_without_time_are_refused_by_name(tmp_path: Path, capsys: Capsys) -> None:
    content = {"data": {"name": "coarse_turbulence", "trajectories": [1, 1, 1], "factor": 1, "size": 8,
                        "resolution": 8, "frames": 2, "stride": 1}, "model": ON_GRIDS}  # fmt: skip
    known = experiment(content)
    known.build_refiner(known.build_base(known.splits())).save(tmp_path / MODEL)
    (tmp_path / CONFIG).write_bytes(written(known.content))
    message = refused(capsys, "rollout", tmp_path)
    assert "expected data with trajectories in time, such as turbulence, the_well" in message
    assert "got FieldDataset(" in message
