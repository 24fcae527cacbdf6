"""The commands as a user runs them: what they print, how they end, and that they spoil nothing."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from interpreters import fresh

from irno_cli.main import main
from neuralop_irno import checkpoint
from neuralop_irno.claim import claim
from neuralop_irno.training import validation
from neuralop_irno.training.run import read_run

Capsys = pytest.CaptureFixture[str]
FAMILIES = {
    "models",
    "corrections",
    "solvers",
    "step sizes",
    "gradient rules",
    "metrics",
    "datasets",
    "equations",
    "preconditioners",
}
CONFIG: dict[str, Any] = {
    "data": {"name": "burgers", "trajectories": [4, 1, 2], "frames": 3, "size": 8},
    "model": {
        "base": {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1},
        "correction": {"name": "unet", "width": 4, "depth": 1},
        "alpha": 0.5,
        "steps": 2,
    },
    "base_training": {"epochs": 1, "batch_size": 4},
    "training": {"epochs": 2, "batch_size": 4},
}


def written(path: Path, config: Any) -> Path:
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, byte for byte."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, whose config lies beside it."""
    place = tmp_path_factory.mktemp("cli")
    config = written(place / "config.yaml", CONFIG)
    assert main(["train", str(config), "--folder", str(place / "run"), "--json"]) == 0
    return place / "run"


def refused(capsys: Capsys, *arguments: object, code: int = 2) -> str:
    """Run a command that must fail: one line on standard error, nothing on standard output."""
    assert main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("irno: expected ")
    assert err.count("\n") == 1
    return err


def test_list_names_what_a_config_may_use(capsys: Capsys) -> None:
    assert main(["list"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    absent = {name: lines.pop(name) for name in list(lines) if name.startswith("not installed, ")}
    assert set(lines) == FAMILIES
    assert "irno" in lines["models"].split(", ")
    assert main(["list", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert absent == {f"not installed, {name}": how for name, how in content.pop("absent models", {}).items()}
    assert content == {kind: names.split(", ") for kind, names in lines.items()}
    assert main(["list", "step", "sizes"]) == 0
    assert capsys.readouterr().out == "step sizes: constant, decaying, learned, scheduled\n"
    assert main(["list", "corrections", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["corrections"]


def test_list_of_a_run_names_its_parts_and_the_grids_of_training(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", str(run_folder)]) == 0
    text = capsys.readouterr().out
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        "base", "correction", "solver", "steps", "trained on",
    ]  # fmt: skip
    assert " points, lengths " in text
    assert "extent fixed" in text


def test_evaluate_on_another_grid(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {}
    for factor in ("1", "2"):
        assert main(["evaluate", str(run_folder), "--resolution", factor, "--json"]) == 0
        scores[factor] = json.loads(capsys.readouterr().out)["per_step"]
    assert len(scores["1"]) == len(scores["2"])
    assert scores["1"] != scores["2"]
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", str(run_folder), "--resolution", "0"])
    assert "expected a number above 0, got '0'; try --resolution 2" in capsys.readouterr().err


def test_list_of_an_unknown_family_names_the_families(capsys: Capsys) -> None:
    message = refused(capsys, "list", "correction")
    assert "expected a family of names, got 'correction'; try 'corrections' (the choices are " in message


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (None, "expected a config file, got no file at "),
        ("", "expected a mapping in c.yaml, got nothing; try data: "),
        ("- a\n- b\n", "expected a mapping in c.yaml, got list; try data: "),
        ("data: [1,\nmodel: }", "expected YAML in c.yaml, got while parsing"),
        ({**CONFIG, "modle": {}}, "expected an option of the config, got 'modle'; try 'model'"),
        (
            {**CONFIG, "data": {"name": "burger"}},
            "expected the name of a dataset, got 'burger'; try 'burgers'",
        ),
        ({**CONFIG, "model": "fno"}, "expected model as a mapping, got 'fno'; try model: {base: "),
        (
            {**CONFIG, "training": {"epohcs": 1}},
            "expected an option of the training, got 'epohcs'; try 'epochs'",
        ),
    ],
)
def test_a_bad_config_ends_with_2_and_writes_nothing(
    config: Any, problem: str, tmp_path: Path, capsys: Capsys
) -> None:
    path = tmp_path / "c.yaml"
    if config is not None:
        written(path, config)
    before = contents(tmp_path)
    code = main(["train", str(path), "--folder", str(tmp_path / "run")])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert problem in err.splitlines()[-1]
    assert "Traceback" not in err
    assert contents(tmp_path) == before
    assert not (tmp_path / "run").exists()


def test_train_writes_a_run_that_evaluate_scores(run_folder: Path, capsys: Capsys) -> None:
    files = set(contents(run_folder))
    assert {"model.safetensors", "history.json", "config.yaml", "base/model.safetensors"} <= files
    history = json.loads((run_folder / "history.json").read_text())
    assert [record["epoch"] for record in history] == [1, 2]

    assert main(["evaluate", str(run_folder), "--steps", "4", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert set(scores) == {"metric", "per_step", "samples", "not_finite"}
    assert (scores["metric"], len(scores["per_step"]), scores["samples"]) == ("vrmse", 5, 2 * 2)
    assert all(score > 0 for score in scores["per_step"])
    assert scores["not_finite"] == [0] * 5

    assert main(["evaluate", str(run_folder), "--split", "valid", "--metric", "rmse"]) == 0
    first, *steps = capsys.readouterr().out.splitlines()
    assert first == "rmse on 2 samples"
    assert [line.split()[:3] for line in steps] == [["k", "=", str(k)] for k in range(3)]


def test_the_best_score_is_the_one_that_evaluate_finds(run_folder: Path, capsys: Capsys) -> None:
    history = json.loads((run_folder / "history.json").read_text())
    best = min(record["valid"][-1] for record in history)
    assert main(["evaluate", str(run_folder), "--split", "valid", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["per_step"][-1] == pytest.approx(best, rel=1e-5)


def test_a_used_folder_is_refused_and_left_as_it_is(run_folder: Path, capsys: Capsys) -> None:
    before = contents(run_folder)
    config = run_folder.parent / "config.yaml"
    message = refused(capsys, "train", config, "--folder", run_folder)
    assert f"expected a folder without a run, got {run_folder}; try --resume, or another --folder" in message
    other = written(run_folder.parent / "other.yaml", {**CONFIG, "loss": {"spectral": 1.0}})
    message = refused(capsys, "train", other, "--folder", run_folder, "--resume")
    wanted = f"expected the config that {run_folder} was started with, got "
    assert f"{wanted}other loss.spectral (1.0, not 0.0); try another --folder" in message
    assert contents(run_folder) == before


def test_resuming_a_finished_run_changes_no_weight(run_folder: Path, capsys: Capsys) -> None:
    before = contents(run_folder)
    config = str(run_folder.parent / "config.yaml")
    assert main(["train", config, "--folder", str(run_folder), "--resume"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("2 epochs, best validation score ")
    assert out.endswith(f"the model is in {run_folder}\n")
    assert "Traceback" not in err
    after = contents(run_folder)
    for name in ("model.safetensors", "base/model.safetensors", "history.json", "config.yaml"):
        assert after[name] == before[name], name


def test_evaluate_to_a_tolerance_counts_outcomes_and_work(run_folder: Path, capsys: Capsys) -> None:
    options = ["--rtol", "1e-2", "--solver", "anderson", "--max-steps", "9", "--json"]
    assert main(["evaluate", str(run_folder), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found["outcomes"].values()) == found["samples"] == 4
    assert found["steps"]["most"] <= 9
    assert main(["evaluate", str(run_folder), "--solver", "aitken"]) == 0
    assert "4 samples: took the number of steps that was asked for" in capsys.readouterr().out
    message = refused(capsys, "evaluate", run_folder, "--max-steps", 3)
    assert "a tolerance beside max_steps, got none; try --steps 3" in message


def test_diagnose_writes_a_report_and_stores_the_calibration(run_folder: Path, capsys: Capsys) -> None:
    before = contents(run_folder)
    assert main(["diagnose", str(run_folder), "--samples", "2", "--split", "train", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["contraction"]["factor"]) == 2
    assert len(found["errors"]) == 21
    after = contents(run_folder)
    assert {name for name in after if name not in before} >= {"diagnosis/diagnosis.json"}
    assert all(after[name] == content for name, content in before.items())
    notes = checkpoint.read(run_folder / "model.safetensors")[1]["notes"]
    assert notes["epoch"] in (1, 2)
    options = ["--calibrate", "--coverage", "0.5", "--share", "0.8"]
    assert main(["diagnose", str(run_folder), *options]) == 0
    printed = capsys.readouterr().out
    assert "share of samples where" in printed
    assert "the error is below the band on 80% of the region or more" in printed
    refiner = read_run(run_folder)[1]
    assert (refiner.calibration.coverage, refiner.calibration.samples) == (0.5, 2)  # half of the test set
    assert checkpoint.read(run_folder / "model.safetensors")[1]["notes"] == notes
    with claim(run_folder):
        message = refused(capsys, "diagnose", run_folder, "--calibrate", "--coverage", "0.5")
    assert f"got {run_folder}, which is in use" in message
    message = refused(capsys, "diagnose", run_folder, "--calibrate", "--coverage", "0.9")
    assert "expected at least 9 trajectories for a coverage of 0.9, got 1; try more trajectories" in message


def test_no_calibration_on_the_data_that_chose_the_model(tmp_path: Path, capsys: Capsys) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones((6, 1, 8)), y=np.ones((6, 1, 8)))
    files = {"name": "files", "train": str(tmp_path / "data.npz"), "valid": str(tmp_path / "data.npz")}
    config = {**CONFIG, "data": files, "training": {"epochs": 0}, "base_training": None}
    assert main(["train", str(written(tmp_path / "c.yaml", config)), "--folder", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    message = refused(capsys, "diagnose", tmp_path / "run", "--calibrate", "--coverage", "0.5")
    assert "expected held-out samples, got a test set that is the validation set" in message


def test_evaluating_what_is_no_run_or_no_metric(run_folder: Path, tmp_path: Path, capsys: Capsys) -> None:
    assert "expected a run folder, with config.yaml and model.safetensors, got no config.yaml" in refused(
        capsys, "evaluate", tmp_path
    )
    message = refused(capsys, "evaluate", run_folder, "--metric", "vmrse")
    assert "expected the name of a metric, got 'vmrse'; try 'vrmse'" in message
    assert list(tmp_path.iterdir()) == []


def test_json_has_no_word_for_a_score_that_is_not_finite(tmp_path: Path, capsys: Capsys) -> None:
    config = written(tmp_path / "c.yaml", {**CONFIG, "training": {"epochs": 0}, "base_training": None})
    assert main(["train", str(config), "--folder", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "folder": str(tmp_path / "run"), "epochs": 0, "best": None, "last": {},
    }  # fmt: skip


def test_a_run_that_diverges_ends_with_1(tmp_path: Path, capsys: Capsys) -> None:
    wild = {"epochs": 3, "batch_size": 2, "learning_rate": 1e30, "weight_decay": 0, "clip": 1e30}
    config = written(tmp_path / "c.yaml", {**CONFIG, "training": wild, "base_training": None})
    assert main(["train", str(config), "--folder", str(tmp_path / "run"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("irno: expected a finite loss, got ")
    assert "Traceback" not in err


def test_a_validation_score_that_is_not_finite_ends_with_1(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "scores_per_step", lambda *args, **options: torch.full((3, 2), torch.nan))
    config = written(tmp_path / "c.yaml", {**CONFIG, "base_training": None})
    assert main(["train", str(config), "--folder", str(tmp_path / "run"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    message = "irno: expected a finite validation score, got none in 2 epochs; try a smaller learning_rate"
    assert err.splitlines()[-1] == message


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_an_empty_split_is_refused_by_name(split: str, tmp_path: Path, capsys: Capsys) -> None:
    counts = [0 if name == split else 2 for name in ("train", "valid", "test")]
    config = written(tmp_path / "c.yaml", {**CONFIG, "data": {**CONFIG["data"], "trajectories": counts}})
    before = contents(tmp_path)
    assert main(["train", str(config), "--folder", str(tmp_path / "run")]) == 2
    assert "irno: expected " in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.fixture
def _control_c() -> Iterator[None]:
    """Jobs in the background of a shell ignore control-C, and hand that on to their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# The interruption may come while a folder is being listed, and leave that open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("_control_c")
def test_an_interrupted_run_says_so_and_goes_on_later(tmp_path: Path, capsys: Capsys) -> None:
    endless = {**CONFIG, "training": {"epochs": 100_000}, "base_training": None}
    config, snapshot = written(tmp_path / "c.yaml", endless), tmp_path / "run" / "snapshot.safetensors"
    words = ["train", str(config), "--folder", str(snapshot.parent), "--json"]
    for more in ([], ["--resume"]):
        waiting = Thread(target=interrupt_after_writing, args=(snapshot, written_at(snapshot)))
        waiting.start()
        assert main([*words, *more]) == 130
        waiting.join()
        out, err = capsys.readouterr()
        assert (out, err.splitlines()[-1]) == ("", "irno: interrupted")


def interrupt_after_writing(file: Path, before: int) -> None:
    deadline = time.monotonic() + 120
    while written_at(file) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    signal.raise_signal(signal.SIGINT)  # its handler runs in the main thread


def written_at(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


def test_as_a_process_of_its_own() -> None:
    words = ["-m", "train", "no file.yaml"]
    main_program = "runpy.run_module('neuralop_irno', run_name='__main__', alter_sys=True)"
    ended = fresh(f"import runpy, sys; sys.argv = {words}; {main_program}", quiet=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("irno: expected a config file, got no file at no file.yaml; try ")
