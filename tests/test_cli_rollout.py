"""``irno rollout`` as a user runs it."""

import json
from pathlib import Path

import pytest
import torch
from test_cli import CONFIG, Capsys, contents, refused, written

from neuralop_irno.cli.main import main
from neuralop_irno.metrics import vrmse
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
    names = {"rollout.json", "rollout.txt", "rollout.gif", "error_in_time.png", "spectra.png", "drift.png"}
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
