"""How much an epoch writes: its weights once, the optimiser's state once, and no base."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from irno_cli.main import main
from neuralop_irno import checkpoint
from neuralop_irno.training import best_model, snapshot
from neuralop_irno.training.run import read_run
from neuralop_irno.verify import DAMAGED, OK, verify

UNET = {"name": "unet", "width": 16, "depth": 2}
EPOCHS = 3


def config_of(folder: Path, correction: dict[str, object], **training: object) -> Path:
    x = np.random.default_rng(0).standard_normal((8, 1, 16)).astype(np.float32)
    for name in ("train", "valid"):
        np.savez(folder / f"{name}.npz", x=x, y=np.roll(x, 1, -1))
    config = {
        "data": {"name": "files", "train": str(folder / "train.npz"), "valid": str(folder / "valid.npz")},
        "model": {
            "base": {"model_arch": "fno", "n_modes": [8], "hidden_channels": 64, "n_layers": 4},
            "correction": correction,
            "steps": 2,
        },
        "training": {"epochs": EPOCHS, "batch_size": 4, **training},
    }
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def train(config: Path, *options: str) -> Path:
    folder = config.parent / "run"
    assert main(["train", str(config), "--folder", str(folder), "--json", *options]) == 0
    return folder


CONSTANT = 40_000
"""Bytes an epoch for random states, headers, names of tensors, and the history."""


@pytest.mark.parametrize(
    ("options", "copies"),
    [({}, 2), ({"optimizer": "adamw"}, 3), ({"ema": 0.9}, 3), ({"optimizer": "adamw", "ema": 0.9}, 4)],
    ids=["muon", "adamw", "muon, ema", "adamw, ema"],
)
def test_an_epoch_writes_what_changed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], copies: int
) -> None:
    written: list[tuple[str, int]] = []
    write = checkpoint.write_bytes

    def counted(path: Path, content: bytes) -> Path:
        written.append((Path(path).name, len(content)))
        return write(path, content)

    monkeypatch.setattr(checkpoint, "write_bytes", counted)
    folder = train(config_of(tmp_path, UNET, **options))
    _, model = read_run(folder)
    parts = (model.correction, model.base)
    weights, base = (sum(w.numel() * w.element_size() for w in part.parameters()) for part in parts)
    bases = [size for name, size in written if name.startswith("base-")]
    assert len(bases) == 1
    assert base > 3 * weights
    assert [name for name, _ in written].count("model.safetensors") == EPOCHS  # each epoch improved the score
    ends = [place for place, (name, _) in enumerate(written) if name == "snapshot.safetensors"]
    an_epoch = max(
        sum(size for _, size in written[begun + 1 : end + 1]) for begun, end in itertools.pairwise(ends)
    )
    assert an_epoch < copies * weights + CONSTANT
    assert copies > 2 or an_epoch < 3 * weights


SMALL = {"name": "unet", "width": 2, "depth": 0}


def test_an_earlier_model_is_kept_while_a_snapshot_refers_to_it(tmp_path: Path) -> None:
    # Steps so small that every epoch improves the score.
    folder = train(config_of(tmp_path, SMALL, optimizer="adamw", learning_rate=1e-3))
    first, last = snapshot.referred(folder)
    assert first != last
    (kept,) = folder.glob(".best-*")
    assert kept == best_model.kept_file(folder, last)
    assert {found.state for found in verify(folder)} == {OK}
    kept.unlink()
    assert [found.file for found in verify(folder) if found.state == DAMAGED] == [kept.name]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_without_the_last_snapshot_a_run_goes_on_from_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:

        def refuse(*names: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    config = config_of(tmp_path, SMALL, ema=0.5)
    folder = train(config)
    whole = {name: (folder / name).read_bytes() for name in ("model.safetensors", "history.json")}
    os.truncate(snapshot.main_file(folder), 100)
    train(config, "--resume")
    assert {name: (folder / name).read_bytes() for name in whole} == whole


def test_a_model_that_was_changed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of(tmp_path, SMALL)
    path = train(config) / best_model.MODEL
    tensors, content = checkpoint.read(path)
    checkpoint.write(path, {name: 2 * tensor for name, tensor in tensors.items()}, content)
    before = {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    capsys.readouterr()
    assert main(["train", str(config), "--folder", str(path.parent), "--resume"]) == 2
    assert "that the run's snapshot names, got other ones" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == before
