"""Data from files through the whole of ``irno train``: their boundaries and their metric go with them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import write_superbench, write_tensors, write_well

from irno_cli.main import main
from neuralop_irno.config import experiment
from neuralop_irno.metrics import METRICS
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.run import read_run, train_experiment


def config(data: dict[str, Any], **correction: Any) -> dict[str, Any]:
    return {
        "data": data,
        "model": {
            "base": {"model_arch": "fno", "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1},
            "correction": {"name": "unet", "width": 4, "depth": 1, **correction},
            "steps": 2,
            "alpha": 0.5,
        },
        "base_training": {"epochs": 1, "batch_size": 4},
        "training": {"epochs": 1, "batch_size": 4},
    }


def well(folder: Path) -> dict[str, Any]:
    return {"name": "the_well", "folder": str(write_well(folder, grid=(8, 10))), "inputs": 2, "stride": 3}


def superbench(folder: Path) -> dict[str, Any]:
    return {"name": "superbench", "folder": str(write_superbench(folder, (17, 16), (2,))), "crop": 16}


def darcy(folder: Path) -> dict[str, Any]:
    write_tensors(folder, "darcy", 16, (16, 16), (16, 16))
    words = {"name": "neuraloperator_file", "problem": "darcy", "resolution": 16, "samples": [6, 3, 4]}
    return {**words, "folder": str(folder)}


@pytest.mark.parametrize(
    ("data", "periodic", "metric"),
    [
        (well, (True, False), "vrmse"),
        (superbench, (False, False), "rfne"),
        (darcy, (False, False), "relative_l2"),
    ],
)
def test_boundaries_and_metric_come_from_the_data(
    data: Any, periodic: tuple[bool, ...], metric: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = experiment(config(data(tmp_path / "data" if data is not darcy else tmp_path)))
    history = train_experiment(run, tmp_path / "run", say=lambda text: None, show=False)
    experiment_again, model = read_run(tmp_path / "run")
    assert model.correction.periodic == periodic
    valid = experiment_again.splits()["valid"]
    score = scores_per_step(model, valid, metric=METRICS.lookup(metric))[-1].mean().item()
    assert history[-1]["valid"][-1] == pytest.approx(score, rel=1e-5)
    assert main(["evaluate", str(tmp_path / "run"), "--split", "valid", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["metric"] == metric
    assert evaluated["per_step"][-1] == pytest.approx(score, rel=1e-5)


def test_padding_that_the_config_gives_is_kept(tmp_path: Path) -> None:
    run = experiment(config(well(tmp_path), padding="reflect"))
    splits = run.splits()
    model = run.build_refiner(run.build_base(splits), splits["train"].padding)
    assert model.config["correction"]["padding"] == "reflect"


def test_a_correction_by_name_alone_gets_the_padding_too() -> None:
    words = {"base": "deeponet", "correction": "unet", "in_channels": 3, "out_channels": 1}
    run = experiment({"data": {"name": "burgers"}, "model": words})
    base = torch.nn.Conv2d(3, 1, 1)
    assert run.build_refiner(base, ("circular", "zero")).correction.periodic == (True, False)
    assert run.build_refiner(base).correction.periodic == (True, True)  # data that do not say
