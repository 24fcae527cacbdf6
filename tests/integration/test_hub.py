"""Models in folders that stand alone and on the Hub, which is a folder here; and honest model cards."""

from __future__ import annotations

import fnmatch
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from test_checkpoints import UNET, WITNESSES, Witness, convolution, fno, same_bits, trained

from irno_cli.main import main
from neuralop_irno import IterativeRefiner, checkpoint
from neuralop_irno.conformal import Calibration
from neuralop_irno.training.run import read_run

MODEL = "model.safetensors"


def test_a_folder_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as where it is not installed
    model = trained(fno(), UNET, steps=3)
    model.calibration = Calibration("residual", 2.5, 0.9, 40)
    model.train().save_pretrained(tmp_path / "deep/model")
    assert {file.name for file in (tmp_path / "deep/model").iterdir()} == {MODEL, "README.md"}
    again = IterativeRefiner.from_pretrained(tmp_path / "deep/model")
    assert same_bits(model, again)
    assert not again.training
    assert again.calibration == model.calibration
    longer = IterativeRefiner.from_pretrained(str(tmp_path / "deep/model"), steps=9)
    assert longer.steps == 9


def test_a_base_that_no_config_builds_is_given(tmp_path: Path) -> None:
    model = trained(convolution(), UNET)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="with a Conv2d that was given as an object, got none"):
        IterativeRefiner.from_pretrained(tmp_path)
    assert same_bits(model, IterativeRefiner.from_pretrained(tmp_path, base=convolution()))


def test_a_pickle_in_place_of_the_model_is_refused(tmp_path: Path) -> None:
    WITNESSES.clear()
    torch.save({"w": Witness()}, tmp_path / MODEL)
    with pytest.raises(ValueError, match=r"a pickle in model\.safetensors"):
        IterativeRefiner.from_pretrained(tmp_path)
    assert not WITNESSES


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = trained(fno(), UNET).save(tmp_path / MODEL)
    with pytest.raises(ValueError, match=r"got the file .*; try IterativeRefiner.from_checkpoint\("):
        IterativeRefiner.from_pretrained(path)


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    model = trained(fno(), UNET)
    for attempt in (
        lambda: IterativeRefiner.from_pretrained("me/waves"),
        lambda: model.push_to_hub("me/waves"),
    ):
        with pytest.raises(
            ImportError, match=r"expected .*huggingface_hub .*try pip install 'neuralop_irno\[hub\]'"
        ):
            attempt()


class Hub:
    """What huggingface_hub's API does, with a folder in place of the Hub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, token: str | None = None) -> Hub:
        return self

    def create_repo(self, repo_id: str, **options: Any) -> Any:
        (self.folder / repo_id).mkdir(parents=True)
        return type("Url", (), {"repo_id": repo_id})

    def upload_folder(self, *, repo_id: str, folder_path: Path, **options: Any) -> str:
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)
        return f"hub://{repo_id}"

    def snapshot_download(self, repo_id: str, *, allow_patterns: list[str], **options: Any) -> str:
        place = self.folder / "cache" / repo_id
        place.mkdir(parents=True)
        for file in (self.folder / repo_id).iterdir():
            if any(fnmatch.fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copy(file, place)
        return str(place)


def test_up_to_the_hub_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    folder = Hub(tmp_path)
    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", folder)
    monkeypatch.setattr("huggingface_hub.snapshot_download", folder.snapshot_download)
    model = trained(fno(), UNET)
    assert model.push_to_hub("me/waves", private=True, commit_message="first") == "hub://me/waves"
    torch.save(Witness(), tmp_path / "me/waves/pytorch_model.bin")
    again = IterativeRefiner.from_pretrained("me/waves", revision="main")
    assert same_bits(model, again)
    assert [file.name for file in (tmp_path / "cache/me/waves").iterdir()] == [MODEL]
    card = hub.ModelCard.load(tmp_path / "me/waves/README.md")
    assert card.data.library_name == "neuralop_irno"
    assert "iterative-refinement" in card.data.tags
    assert "# waves\n" in card.text


def test_a_name_that_no_repository_can_have_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(
        ValueError, match=r"expected a folder or a repository \.\./no/where, got HFValidationError"
    ):
        IterativeRefiner.from_pretrained("../no/where")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `irno train`, checked and diagnosed."""
    place = tmp_path_factory.mktemp("hub")
    x = np.random.default_rng(0).standard_normal((6, 1, 8)).astype(np.float32)
    for name in ("train", "valid", "test"):
        np.savez(place / f"{name}.npz", x=x, y=np.roll(x, 1, -1))
    config = {
        "data": {
            "name": "files",
            **{name: str(place / f"{name}.npz") for name in ("train", "valid", "test")},
        },
        "model": {
            "base": {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1},
            "correction": {"name": "unet", "width": 4, "depth": 1},
            "steps": 2,
        },
        "training": {"epochs": 2, "batch_size": 3},
    }
    (place / "c.yaml").write_text(yaml.safe_dump(config))
    folder = place / "waves"
    assert main(["train", str(place / "c.yaml"), "--folder", str(folder), "--json"]) == 0
    assert main(["check", str(folder), "--json"]) == 0
    assert main(["diagnose", str(folder), "--samples", "2", "--iterations", "4", "--json"]) == 0
    return folder


def card_of(model: IterativeRefiner, folder: Path, run: Path | None) -> str:
    model.save_pretrained(folder, run)
    return (folder / "README.md").read_text()


def test_the_card_has_the_figures_of_the_run_with_their_commands(run: Path, tmp_path: Path) -> None:
    _, model = read_run(run)
    text = card_of(model, tmp_path, run)
    _, content = checkpoint.read(run / MODEL)
    history = json.loads((run / "history.json").read_text())
    best = history[content["notes"]["epoch"] - 1]["valid"]
    assert "### Validation, by `irno train`" in text
    assert f"Epoch {content['notes']['epoch']} of 2, chosen by this score, 6 samples." in text
    assert "| step | vrmse |" in text
    assert f"| 0, the base | {best[0]:.4g} |" in text
    assert f"| 2 | {best[2]:.4g} |" in text
    checked = json.loads((run / "base_check.json").read_text())
    assert "### `irno check waves --split test`" in text
    assert f"| {checked['score']:.4g} |" in text
    assert all(f"- {problem}" in text for problem in checked["problems"])
    found = json.loads((run / "diagnosis/diagnosis.json").read_text())
    assert "### `irno diagnose waves --split test`" in text
    assert f"| mean error after 2 steps | {np.mean(found['errors'][2]):.4g} |" in text
    assert "| correction | " in text
    assert "| 705 |" in text
    assert str(run.parent) not in text
    assert str(run.parent).encode() not in (tmp_path / MODEL).read_bytes()
    assert same_bits(model, IterativeRefiner.from_pretrained(tmp_path))


def test_without_a_run_the_card_has_no_figure(run: Path, tmp_path: Path) -> None:
    _, model = read_run(run)
    text = card_of(model, tmp_path, None)
    assert "None: the model was saved without the folder of its run." in text
    assert "###" not in text


@pytest.mark.parametrize("stale", [{"weights": "0" * 64}, None], ids=["other weights", "not stated"])
def test_reports_of_other_weights_are_left_out(
    run: Path, tmp_path: Path, stale: dict[str, str] | None
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "waves"))
    report = json.loads((copy / "base_check.json").read_text())
    report = {**report, **stale} if stale else {k: v for k, v in report.items() if k != "weights"}
    (copy / "base_check.json").write_text(json.dumps(report))
    text = card_of(read_run(copy)[1], tmp_path / "out", copy)
    assert "irno check" not in text
    assert "Left out, since not measured of these weights: base_check.json." in text
    assert "irno diagnose waves" in text


@pytest.mark.parametrize("part", ["base", "correction"])
def test_a_run_of_another_model_is_refused(run: Path, tmp_path: Path, part: str) -> None:
    _, model = read_run(run)
    with torch.no_grad():
        next(iter(getattr(model, part).parameters())).add_(1)
    with pytest.raises(
        ValueError, match=r"expected the model of the run .*waves, got one with other weights"
    ):
        model.save_pretrained(tmp_path / "out", run)
    assert not (tmp_path / "out").exists()


def test_only_cards_are_replaced(tmp_path: Path) -> None:
    model = trained(fno(), UNET)
    (tmp_path / "README.md").write_text("# My project\n")
    assert card_of(model, tmp_path, None) == "# My project\n"
    (tmp_path / "README.md").unlink()
    card_of(model, tmp_path, None)
    model.calibration = Calibration("residual", 2.5, 0.9, 40)
    assert "stated coverage of 90%, calibrated on 40 held-out samples" in card_of(model, tmp_path, None)


def test_a_run_keeps_its_model(run: Path) -> None:
    before = (run / MODEL).read_bytes()
    with pytest.raises(ValueError, match=r"^expected a folder without a run, got .*; try another folder"):
        read_run(run)[1].save_pretrained(run, run)
    with pytest.raises(ValueError, match=r"^expected a folder to write to, got the file .*; try another"):
        read_run(run)[1].save_pretrained(run / MODEL, run)
    assert (run / MODEL).read_bytes() == before
