"""A plan foretells the memory and the bytes of a training, which are measured here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch_geometric.nn import GraphSAGE

from irno_cli.main import main
from neuralop_irno import (
    Curriculum,
    IterativeRefiner,
    Recipe,
    RolloutModel,
    RolloutTraining,
    Trainer,
    TrajectorySegments,
    checkpoint,
)
from neuralop_irno._neuralop import FNO
from neuralop_irno.data.splits import load_splits
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.registry import DATASETS
from neuralop_irno.study.cost import MIB, peak_mib
from neuralop_irno.study.forecast import Devices, phase, stand_in

SPLITS = stand_in((2, 16, 16), (2, 16, 16), samples=(24, 6))

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "unrolled": ({}, {"optimizer": "adamw"}),
    "checkpointed": ({"gradient": "checkpointed"}, {"optimizer": "sgd"}),
    "detached, average": ({"gradient": "detached"}, {"ema": 0.9}),
    "replay": ({}, {"replay": 4.0}),
    "replay, in parts": ({}, {"replay": 4.0, "accumulate": 4}),
    "base trains": ({"freeze_base": False}, {}),
    "base trains, wide": ({"freeze_base": False, "correction": {"name": "unet", "width": 24}}, {"ema": 0.5}),
    "wide": ({"correction": {"name": "unet", "width": 24}}, {"replay": 4.0, "optimizer": "adamw"}),
    "nothing is kept": ({}, {"cache_base": False}),
}
LOSS = {"spectral": 1.0}


def refiner(**options: Any) -> IterativeRefiner:
    torch.manual_seed(0)
    base = FNO(n_modes=(4, 4), hidden_channels=8, in_channels=2, out_channels=2)
    return IterativeRefiner(
        base, **{"correction": {"name": "unet", "width": 4, "depth": 1}, "steps": 3, **options}
    )


@pytest.mark.parametrize(("model", "training"), CASES.values(), ids=CASES)
def test_memory_and_bytes_are_those_of_the_training(
    model: dict[str, Any], training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=3, batch_size=8, precision="float32", **training)
    check(lambda: refiner(**model), recipe, LOSS, SPLITS, tmp_path, monkeypatch, headers=40_000)


MESHES: Any = load_splits(DATASETS.part({"name": "waves", "samples": [8, 3, 1], "spacing": 0.3}))
SERIES: Any = {
    split: TrajectorySegments(torch.zeros(samples, 7, 1, 64), inputs=1, frames=4, every=2)
    for split, samples in (("train", 8), ("valid", 2))
}


@pytest.mark.parametrize("training", [{}, {"replay": 4.0, "optimizer": "adamw"}], ids=str)
def test_a_training_on_meshes_is_foretold(
    training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_meshes() -> IterativeRefiner:
        torch.manual_seed(0)
        correction = {"name": "meshgraph", "width": 120, "steps": 1}
        return IterativeRefiner(GraphSAGE(2, 4, 1, 1), correction, steps=2, in_channels=2, out_channels=1)

    recipe = Recipe(epochs=3, batch_size=4, precision="float32", **training)
    check(on_meshes, recipe, {}, MESHES, tmp_path, monkeypatch)


PLANS = {
    "calls by themselves": RolloutTraining(4, truncate=1),
    "checkpointed": RolloutTraining(4, gradient="checkpointed"),
    "curriculum": RolloutTraining(Curriculum(1, 4, updates=4)),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_training_on_rollouts_is_foretold(
    plan: RolloutTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_time() -> RolloutModel:
        torch.manual_seed(0)
        base = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
        return RolloutModel(IterativeRefiner(base, {"name": "unet", "width": 56, "depth": 1}, steps=2), plan)

    recipe = Recipe(epochs=3, batch_size=8, precision="float32")
    check(in_time, recipe, {}, SERIES, tmp_path, monkeypatch)


def check(
    build: Callable[[], nn.Module],
    recipe: Recipe,
    loss: Mapping[str, Any],
    splits: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    headers: int = 0,
) -> None:
    """Compare the cost that is foretold with that of a training: 15 %, or the headers of small files."""
    (cost,) = phase("refiner", build(), recipe, RefinementLoss(**loss), splits).costs
    weights = cost.memory["base"] + cost.memory["correction"]
    written: list[tuple[str, int]] = []
    write = checkpoint.write_bytes

    def counted(path: Path, content: bytes) -> Path:
        written.append((Path(path).name, len(content)))
        return write(path, content)

    def fit(folder: Path | None = None) -> None:
        own = RefinementLoss(**loss)
        Trainer(build(), recipe, own, folder, show=False).fit(splits["train"], splits["valid"])

    own = sum(p.numel() * p.element_size() for p in build().parameters())
    assert weights == own
    peak = MIB * peak_mib(fit) - own  # the model is built within
    assert cost.together - weights == pytest.approx(peak, rel=0.15)
    monkeypatch.setattr(checkpoint, "write_bytes", counted)
    fit(folder)
    ends = [place for place, (name, _) in enumerate(written) if name == "snapshot.safetensors"]
    first = written[: ends[0] + 1]  # which improves the score
    an_epoch = [entry for entry in first if "base-" not in entry[0] and entry[0].endswith(checkpoint.SUFFIX)]
    assert cost.written == pytest.approx(sum(size for _, size in an_epoch), rel=0.15, abs=headers)
    snapshot = sum(size for name, size in an_epoch if "snapshot" in name)
    assert cost.host["snapshot"] == pytest.approx(snapshot, rel=0.15, abs=headers)


def test_parts_are_shared_among_processes() -> None:
    recipe = Recipe(batch_size=8, replay=4.0)
    one, four = phase("refiner", refiner(), recipe, RefinementLoss(**LOSS), SPLITS, Devices((1, 4))).costs
    assert one.memory["states"] / four.memory["states"] == pytest.approx(4, rel=0.1)
    assert four.memory["correction"] == one.memory["correction"]
    assert four.memory["activations, gradients"] < one.memory["activations, gradients"]
    assert (one.sent, four.sent) == (0, 1.5 * four.memory["correction"])


CONFIG = {
    "data": {"name": "burgers"},
    "model": {
        "base": {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4},
        "correction": {"name": "unet", "width": 4, "depth": 1},
        "steps": 2,
    },
    "base_training": {"epochs": 2, "batch_size": 4},
    "training": {"epochs": 3, "batch_size": 4},
}
MASKED = ("base", "2 steps", "3 steps")
SIZES = ["--x", "1,16", "--y", "1,16", "--samples", "10,4"]


def test_the_command_plans_configs_and_studies_without_their_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    command = ["plan", str(path), *SIZES, "--devices", "1,2"]
    assert main([*command, "--json", "training.states=disk"]) == 0
    capsys.readouterr()
    assert main([*command, "--json", "training.epochs=5"]) == 0
    base, own = json.loads(capsys.readouterr().out)
    assert (base["name"], own["name"], own["updates"]) == ("base", "refiner", 15)
    assert own["parameters"]["base"] == base["parameters"]["base"]
    assert own["devices"].keys() == {"1", "2"}
    assert 0 < base["MFLOP of an answer"] < own["MFLOP of an answer"]  # without the base
    assert base["devices"]["1"]["written in an epoch"] > 0
    study = {
        "name": "tiny", "kind": "main", "about": "An example.", "seeds": [0],
        "problems": {"waves": {
            **{key: CONFIG[key] for key in ("data", "training", "base_training")},
            "model": {key: value for key, value in CONFIG["model"].items() if key != "base"},
            "bases": {"fno": CONFIG["model"]["base"]},
        }},
        "variants": {"refined": {}, "once": {"role": "same_parameters"}},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    assert main([*command]) == 0
    text = capsys.readouterr().out
    assert [line.split(":")[0] for line in text.splitlines() if " parameters; " in line] == [
        "waves, fno, base", "waves, fno, refined", "waves, fno, once"
    ]  # fmt: skip
    assert text.count("fits in 80 GiB") == text.count("MFLOP an answer") == 3
    assert "0.000" not in text  # small sizes are in KiB


def test_the_command_plans_a_study_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picard_masked").mkdir()  # such as the output of that study
    sizes = ["--x", "1,8,8", "--y", "1,8,8", "--samples", "10,4"]
    assert main(["plan", "picard_masked", *sizes, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [phase["name"] for phase in found] == [f"masked_textures, vit, {name}" for name in MASKED]
    assert main(["plan", "picard_maskd", *sizes]) == 2
    assert "got 'picard_maskd'; try 'picard_masked'" in capsys.readouterr().err
    assert main(["plan", "picard_masked", *sizes, "--scale", "smll"]) == 2
    assert "a scale, got 'smll'; try 'small'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scale", "small"], "expected no --scale for a config, got small; try the name of a study"),
        (["--x", "1,16"], "expected --x, --y and --samples together"),
        ([*SIZES[:-1], "10"], "--samples 12000,1500"),
        ([*SIZES, "--devices", "1,3"], "that divides the 16 shards"),
        ([*SIZES, "--y", "1,8"], "expected y like the base's answer (4, 1, 16), got (4, 1, 8)"),
        ([*SIZES, "--y", "16"], "expected y of channels and points, got 16; try --y 11,256,256"),
        ([*SIZES, "--x", "16"], "expected x of channels and points, got 16; try --x 11,256,256"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    assert main(["plan", str(path), *options]) == 2
    assert message in capsys.readouterr().err
