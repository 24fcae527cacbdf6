"""``irno rollout`` as a user runs it, on data with time of every kind: frames, scores and errors."""

import csv
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
from rollout_runs import ON_GRIDS, RunOf, in_python, loaded, runs_in
from test_cli import Capsys, contents, refused

from irno_cli.main import main
from neuralop_irno import HDF5, moments, relative_l2, rollout, side_by_side, vrmse
from neuralop_irno.assimilation.starts import perturbed
from neuralop_irno.config import experiment
from neuralop_irno.rollouts import Adaptive, Clock, Ending, Refine, Step
from neuralop_irno.rollouts.files import file_of
from neuralop_irno.rollouts.of_flows import rollout_options
from neuralop_irno.rollouts.sink import Until
from neuralop_irno.training.folder import MODEL
from neuralop_irno.training.run import CONFIG
from neuralop_irno.yaml_files import written

RUNS = (
    "windows",
    "bundles",
    "sphere",
    "well",
    "zarr",
    "own files",
    "points",
    "rigno",
    "meshes",
    "wind",
    "mesh files",
)
SUFFIXES = (".h5", ".zarr", "")
CASES = [(kind, SUFFIXES[place % 3]) for place, kind in enumerate(RUNS)]
CASES += [
    ("meshes", ".vtkhdf"),
    ("meshes", ".pvd"),
    ("windows", ".vtkhdf"),
    ("sphere", ".pvd"),
    ("points", ".vtkhdf"),
]
CASES += [(kind, suffix) for kind in ("zarr", "meshes") for suffix in SUFFIXES if (kind, suffix) not in CASES]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    return runs_in(tmp_path_factory)


@pytest.mark.parametrize(("kind", "suffix"), CASES)
def test_frames_and_scores_are_those_of_python(
    kind: str, suffix: str, run_of: RunOf, tmp_path: Path, capsys: Capsys
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
            assert (stored.times is None) == (flow.times is None)
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
                torch.testing.assert_close(scores, vrmse(own, true.float(), space=1), rtol=1e-4, atol=1e-6)
    assert set(found) - {"files", "units"} == {"base", "refined"}
    assert found.get("units") == ({"u": "m s-1"} if kind == "own files" else None)
    report = json.loads((folder / "rollout/rollout.json").read_text())
    assert report == {name: found[name] for name in ("base", "refined")}


def test_a_vector_of_mesh_files_is_one_array_again(run_of: RunOf, tmp_path: Path) -> None:
    assert (
        main(["rollout", str(run_of("mesh files")), "--video", "none", "--to", str(tmp_path / "run.pvd")])
        == 0
    )
    found = meshio.read(tmp_path / "run.vtus/frame_000001.vtu")
    frame = file_of(tmp_path / "run.pvd").frame(1)
    np.testing.assert_array_equal(found.point_data["T"], frame[:, 0])
    np.testing.assert_array_equal(found.point_data["U"], frame[:, 1:])


def test_a_report_has_both_models_in_each_file(run_of: RunOf, capsys: Capsys) -> None:
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
    "clock": (["--clock", "0.5", "--step", "0.2"], Refine(2), {"clock": Clock(0.5, 0.2)}),
    "restarts": (["--clock", "0.5,2", "--step", "0.2"], Refine(2), {"clock": Clock(0.5, 0.2, 2)}),
}
OPTION_CASES = [
    (kind, option)
    for kind in ("windows", "points")
    for option in OPTIONS
    if (kind, option) != ("windows", "restarts")  # a model without tau, which restarts need
]


@pytest.mark.parametrize(("kind", "option"), OPTION_CASES)
def test_options_are_those_of_python(
    kind: str, option: str, run_of: RunOf, tmp_path: Path, capsys: Capsys
) -> None:
    folder, (words, refinement, implied) = run_of(kind), OPTIONS[option]
    to = str(tmp_path / "run.h5")
    assert main(["rollout", str(folder), "--video", "none", "--to", to, *words]) == 0
    _, flows = loaded(folder)
    flow = side_by_side(flows[:])
    frames, _ = in_python(folder, refinement, **rollout_options(flows, flow, **implied))
    stored = HDF5(to).read()
    assert torch.equal(stored.frames, frames)
    if option in ("clock", "restarts"):
        torch.testing.assert_close(stored.times, 0.5 + 0.2 * torch.arange(1.0, flows.steps + 1).double())


@pytest.mark.parametrize("kind", ["windows", "meshes"])
def test_an_ensemble_is_judged_by_its_mean_and_has_a_spread(
    kind: str, run_of: RunOf, tmp_path: Path, capsys: Capsys
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


def test_a_signal_ends_it_after_a_frame_and_the_file_goes_on(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
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
    assert "which exists; try --existing continue or overwrite" in refused(capsys, *words, code=1)
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
        (
            ["--budget", 9],
            "expected --budget from 1 to 2, the most evaluations per frame, got 9; try --refine 9",
        ),
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
    run_of: RunOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
) -> None:
    folder = run_of("windows")
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "rollout", folder, *words)
    assert not list(tmp_path.iterdir())


def test_films_in_three_dimensions_need_pyvista(
    run_of: RunOf, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.setitem(sys.modules, "pyvista", None)  # as where it is not installed
    said = "irno: expected PyVista for films of points and meshes in three dimensions, got none; try pip "
    assert said in refused(capsys, "rollout", run_of("mesh files"))


def test_data_without_time_are_refused_by_name(tmp_path: Path, capsys: Capsys) -> None:
    content = {"data": {"name": "coarse_turbulence", "trajectories": [1, 1, 1], "factor": 1, "size": 8,
                        "resolution": 8, "frames": 2, "stride": 1}, "model": ON_GRIDS}  # fmt: skip
    known = experiment(content)
    known.build_refiner(known.build_base(known.splits())).save(tmp_path / MODEL)
    (tmp_path / CONFIG).write_bytes(written(known.content))
    message = refused(capsys, "rollout", tmp_path)
    assert "expected data with trajectories in time, such as turbulence, the_well" in message
    assert "got FieldDataset(" in message
