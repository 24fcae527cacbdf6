"""``irno rollout`` as a user runs it."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from test_cli import CONFIG, Capsys, contents, refused, written
from torch_geometric.data import Data

from irno_cli.main import main
from irno_cli.rollout import fields_in
from neuralop_irno.metrics import vrmse
from neuralop_irno.rollouts import Window
from neuralop_irno.training.run import read_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    place = tmp_path_factory.mktemp("rollout")
    config = written(place / "config.yaml", CONFIG)
    assert main(["train", str(config), "--folder", str(place / "run"), "--json"]) == 0
    return place / "run"


def test_rollout_writes_a_report_on_the_refined_flows_and_prints_the_base_beside_it(
    run_folder: Path, capsys: Capsys
) -> None:
    before = contents(run_folder)
    words = ["rollout", str(run_folder), "--steps", "2", "--step", "0.1"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"refined", "base"}
    after = contents(run_folder)
    names = {
        "rollout.json",
        "rollout.csv",
        "rollout.txt",
        "rollout.gif",
        "error_in_time.png",
        "spectra.png",
        "drift.png",
    }
    assert set(after) - set(before) == {f"rollout/{name}" for name in names}
    assert all(after[name] == content for name, content in before.items())
    report = json.loads(after["rollout/rollout.json"])
    assert report == found["refined"]
    assert (report["samples"], report["steps"], report["blown_up"]) == (2, 2, [0, 0])

    # The first frames are single calls, on the first of the two windows of each flow.
    experiment, model = read_run(run_folder)
    data = experiment.splits()["test"]
    for name, steps in {"refined": 2, "base": 0}.items():
        first = torch.tensor(found[name]["scores"]["vrmse"])[:, 0, 0]
        answers = model.iterates(data.x[::2])[steps]
        torch.testing.assert_close(first, vrmse(answers, data.y[::2])[:, 0], rtol=1e-4, atol=0)

    assert main([*words, "--refine", "0"]) == 0
    refined, base = capsys.readouterr().out.split("base\n====\n")
    assert refined.split("refined\n=======\n")[1].strip() == base.rpartition("The report on")[0].strip()


def test_rollouts_that_the_data_cannot_judge(run_folder: Path, capsys: Capsys) -> None:
    message = refused(capsys, "rollout", run_folder, "--steps", 3)
    assert "expected flows of 3 frames, got 2; try fewer steps, or the test split" in message
    assert "expected steps >= 1, got 0" in refused(capsys, "rollout", run_folder, "--steps", 0)
    message = refused(capsys, "rollout", run_folder, "--steps", 2, "--fields", 2)
    assert "expected x and y of frames of 2 fields, got 1 channels in x and 1 in y" in message


@pytest.mark.parametrize("kind", ["graphs", "files"])
def test_data_that_cannot_be_judged_are_refused_by_name(kind: str) -> None:
    data = [{"x": torch.ones(1, 4), "y": torch.ones(1, 4)}] if kind == "files" else [Data(x=torch.ones(3, 1))]
    words = "read from files piece by piece" if kind == "files" else "meshes or graphs"
    with pytest.raises(
        TypeError, match=rf"^expected trajectories on a grid .*, got .*{words}.*; try irno\.rollout\("
    ):
        fields_in(data)


def test_a_signal_ends_it_after_a_frame_and_without_a_report(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    class Signalling(Window):
        def slide(self, history: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().slide(history, frames)

    monkeypatch.setattr("neuralop_irno.rollouts.Window", Signalling)
    before = contents(run_folder)
    with pytest.raises(SystemExit) as ended:
        main(["rollout", str(run_folder), "--steps", "2", "--step", "0.1"])
    assert ended.value.code == 143
    assert capsys.readouterr().err == "irno: SIGTERM: stopped after frame 2; no report\n"
    assert contents(run_folder) == before
