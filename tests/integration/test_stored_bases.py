"""The base of a checkpoint, in a file of its own: written once, shared, found, and checked by its digest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_checkpoints import UNET, convolution, fno, same_bits, trained
from torch import nn

from neuralop_irno import IterativeRefiner, checkpoint, digest, stored_base
from neuralop_irno.persistence import split_state
from neuralop_irno.verify import DAMAGED, OK, verify

MODEL = "model.safetensors"


def base_file(folder: Path) -> Path:
    (path,) = folder.glob("base-*.safetensors")
    return path


def answers(model: IterativeRefiner) -> torch.Tensor:
    return model.eval()(torch.linspace(-1, 1, 128).reshape(1, 2, 8, 8))


def wide() -> nn.Module:
    """A base of 5 million parameters, at one point of a line."""
    return nn.Sequential(nn.Conv1d(1, 1600, 1), nn.Conv1d(1600, 3120, 1), nn.Conv1d(3120, 1, 1))


def test_a_small_correction_around_a_large_base_is_a_small_file(tmp_path: Path) -> None:
    model = trained(wide(), {**UNET, "dim": 1}, in_channels=1, out_channels=1)
    counts = [sum(w.numel() for w in part.parameters()) for part in (model.correction, model.base)]
    assert counts == [705, 5_001_441]
    path = model.save(tmp_path / MODEL)
    assert path.stat().st_size < 60_000 / 6
    assert base_file(tmp_path).stat().st_size > 4 * counts[1]
    assert same_bits(model, IterativeRefiner.from_checkpoint(path, base=wide()))


def test_checkpoints_in_a_folder_share_the_base(tmp_path: Path) -> None:
    model = trained(fno(), UNET)
    model.save(tmp_path / "first.safetensors")
    file = base_file(tmp_path)
    written = file.stat()
    with torch.no_grad():
        next(iter(model.correction.parameters())).add_(1)
    model.save(tmp_path / "second.safetensors")
    assert (written.st_ino, written.st_mtime_ns) == (file.stat().st_ino, file.stat().st_mtime_ns)
    for name in ("first", "second"):
        assert same_bits(model.base, IterativeRefiner.from_checkpoint(tmp_path, name).base)
    other = trained(fno(), UNET)
    other.save(tmp_path / "first.safetensors")
    assert len(list(tmp_path.glob("base-*"))) == 2
    assert same_bits(other, IterativeRefiner.from_checkpoint(tmp_path, "first"))
    assert same_bits(model, IterativeRefiner.from_checkpoint(tmp_path, "second"))


def test_a_copied_folder_stands_alone(tmp_path: Path) -> None:
    model = trained(fno(), UNET)
    model.save(tmp_path / "here" / MODEL)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    assert same_bits(model, IterativeRefiner.from_checkpoint(tmp_path / "there" / MODEL))


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_runs_side_by_side_share_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*names: object) -> None:
        raise OSError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    model, runs = trained(fno(), UNET), [tmp_path / name for name in "abc"]
    for run in runs:
        run.mkdir()
        model.save(run / MODEL)
        first = base_file(runs[0])
        if run == runs[1]:
            first.write_bytes(b"damaged")  # is neither linked nor trusted
    same = [base_file(run).stat().st_ino == first.stat().st_ino for run in runs]
    assert same == [True, links, False]
    model.save(runs[0] / MODEL)  # replaces the damaged file
    shutil.rmtree(runs[1])
    for run in (runs[0], runs[2]):
        assert same_bits(model, IterativeRefiner.from_checkpoint(run / MODEL))


WHOLE: dict[str, Callable[[], IterativeRefiner]] = {
    "on request": lambda: trained(fno(), UNET),
    "a base that trains": lambda: trained(fno(), UNET, freeze_base=False),
    "a base of which a part trains": lambda: trained(fno(), UNET),
    "a base without weights": lambda: trained(nn.Identity(), UNET, in_channels=2, out_channels=2),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_files_stand_alone(tmp_path: Path, kind: str) -> None:
    model = WHOLE[kind]()
    if kind == "a base of which a part trains":
        next(iter(model.base.parameters())).requires_grad_(True)
    path = model.save(tmp_path / MODEL, with_base=kind == "on request")
    assert [file.name for file in tmp_path.iterdir()] == [MODEL]
    given = {"base": nn.Identity()} if "without" in kind else {}
    assert same_bits(model, IterativeRefiner.from_checkpoint(path, **given))


@pytest.mark.parametrize("build", [fno, convolution], ids=["with a config", "an object"])
def test_a_base_that_the_caller_names_is_compared(tmp_path: Path, build: Callable[[], Any]) -> None:
    base = build()
    model = trained(base, UNET, in_channels=2, out_channels=1)
    path = model.save(tmp_path / MODEL)
    base_file(tmp_path).unlink()
    again = IterativeRefiner.from_checkpoint(path, base=base)
    assert torch.equal(answers(again), answers(model))
    other, own = build(), digest.of_tensors(split_state(model)[1])
    its = digest.of_tensors({f"base.module.{name}": w for name, w in other.named_parameters()})
    with pytest.raises(
        ValueError, match=rf"digest {own}, got one with {its}; try the base that it was trained"
    ):
        IterativeRefiner.from_checkpoint(path, base=other)
    with pytest.raises(ValueError, match=f"digest {own}, got one with {its}"):
        IterativeRefiner(other, UNET, in_channels=2, out_channels=1).load_checkpoint(tmp_path, "model")


def test_a_given_base_gets_the_stored_weights(tmp_path: Path) -> None:
    model = trained(convolution(), UNET)
    path = model.save(tmp_path / MODEL)
    assert same_bits(model, IterativeRefiner.from_checkpoint(path, base=convolution()))


def test_a_missing_base_is_named(tmp_path: Path) -> None:
    path = trained(fno(), UNET).save(tmp_path / MODEL)
    file = base_file(tmp_path)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"expected {file.name} beside {MODEL}.*; try copying it"):
        IterativeRefiner.from_checkpoint(path)
    assert {found.file for found in verify(tmp_path) if found.state == DAMAGED} == {file.name}


def test_a_base_of_another_content_is_found_and_written_again(tmp_path: Path) -> None:
    model = trained(fno(), UNET)
    path = model.save(tmp_path / MODEL)
    file = base_file(tmp_path)
    tensors, content = checkpoint.read(file)
    checkpoint.write(file, {name: tensor + 1 for name, tensor in tensors.items()}, content)
    with pytest.raises(ValueError, match=rf"weights with the SHA-256 digest \w+ in {file.name}, got"):
        IterativeRefiner.from_checkpoint(path)
    assert {found.file for found in verify(tmp_path) if found.state == DAMAGED} == {file.name}
    model.save(path)
    assert same_bits(model, IterativeRefiner.from_checkpoint(path))
    assert {found.state for found in verify(tmp_path)} == {OK}


@pytest.mark.parametrize("stated", [3, {}, {"sha256": "../../elsewhere"}, {"sha256": "A" * 64}])
def test_a_reference_names_no_other_file(tmp_path: Path, stated: Any) -> None:
    model = trained(fno(), UNET)
    path = model.save(tmp_path / MODEL)
    tensors, content = checkpoint.read(path)
    checkpoint.write(path, tensors, {**content, stored_base.REFERENCE: stated})
    for load in (
        lambda: IterativeRefiner.from_checkpoint(path),
        lambda: model.load_checkpoint(tmp_path, "model"),
    ):
        with pytest.raises(ValueError, match=f"expected the SHA-256 digest of a base in {MODEL}, got"):
            load()
