"""``irno verify`` as a user runs it: what it finds damaged, missing, and not its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from irno_cli.main import main
from neuralop_irno import checkpoint, sealed
from neuralop_irno.rollouts.rollout import rollout
from neuralop_irno.study import record
from neuralop_irno.study.record import Record
from neuralop_irno.verify import DAMAGED, OK, UNKNOWN, verify, verify_data

Capsys = pytest.CaptureFixture[str]

FNO = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1}
RECORD = Record("waves", "fno", "base", 0, {"": {"error": 0.5}}, 7, 0.5, 6, [], None, None, 0.25, {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its data, two rollouts, and a record of a study."""
    place = tmp_path_factory.mktemp("verify")
    x = np.random.default_rng(0).standard_normal((4, 1, 8)).astype(np.float32)
    for name in ("train", "valid"):
        np.savez(place / f"{name}.npz", x=x, y=2 * x)
    config = {
        "data": {"name": "files", "train": str(place / "train.npz"), "valid": str(place / "valid.npz")},
        "model": {"base": FNO, "correction": {"name": "unet", "width": 4, "depth": 1}, "steps": 2},
        "base_training": {"epochs": 1},
        "training": {"epochs": 1, "replay": 2, "states": "disk"},
    }
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", str(place / "config.yaml"), "--folder", str(place / "all/run"), "--json"]) == 0
    for name in ("frames.h5", "frames.zarr"):
        rollout(lambda u: 0.5 * u, torch.ones(1, 1, 8), 3, to=place / "all" / name)
    record.write(place / "all/study/runs/waves.json", RECORD)
    return place


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of these."""
    return Path(shutil.copytree(made / "all", tmp_path / "all"))


def states(folder: Path) -> dict[str, str]:
    return {found.file: found.state for found in verify(folder)}


def flip(path: Path, place: float) -> None:
    """Flip one bit, at a share of the file."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def test_whole_files_are_ok_and_leave_no_trace(folder: Path, capsys: Capsys) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["verify", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = states(folder)
    assert set(found.values()) == {OK}
    assert {"run/model.safetensors", "run/config.yaml", "run/history.json", "frames.h5", "frames.zarr"} < {
        *found
    }
    assert len(lines) == len(found) + 1
    assert lines[-1] == f"{len(found)} files: {len(found)} ok, 0 damaged, 0 unknown"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", [0.0, 0.4, 0.99])
def test_a_flipped_bit_is_found_in_every_file_with_a_digest(folder: Path, place: float) -> None:
    names = [path for path in folder.rglob("*.safetensors") if path.is_file()]
    names += [folder / "study/runs/waves.json"]
    assert len(names) > 4
    for path in names:
        whole = path.read_bytes()
        flip(path, place)
        name = path.relative_to(folder).as_posix()
        found = states(folder)
        assert {other for other, state in found.items() if state == DAMAGED} == {name}, name
        path.write_bytes(whole)
    assert set(states(folder).values()) == {OK}


def test_damage_ends_with_1_and_names_the_file(folder: Path, capsys: Capsys) -> None:
    os.truncate(folder / "run/snapshot.safetensors", 100)
    assert main(["verify", str(folder), "--json"]) == 1
    out, error = capsys.readouterr()
    found = json.loads(out)
    assert (found["damaged"], found["unknown"]) == (1, 0)
    (damaged,) = [each for each in found["files"] if each["state"] == DAMAGED]
    assert damaged["file"] == "run/snapshot.safetensors"
    assert "a whole safetensors file" in damaged["why"]
    assert error.startswith("irno: 1 of ")


def forget_rank(run: Path) -> str:
    (own,) = run.glob(".snapshot-*.rank0.safetensors")
    own.unlink()
    return own.name


def other_rank(run: Path) -> str:
    (own,) = run.glob(".snapshot-*.rank0.safetensors")
    tensors, content = checkpoint.read(own)
    checkpoint.write(own, tensors, {**content, "update": 99})
    return own.name


def flip_state(run: Path) -> str:
    (own,) = run.glob(".states-*")
    content = bytearray(own.read_bytes())
    content[1] ^= 1  # of the first slot of the first sample
    own.write_bytes(content)
    return own.name


def other_model(run: Path) -> str:
    path = run / "model.safetensors"
    tensors, content = checkpoint.read(path)
    checkpoint.write(path, {name: tensor + 1 for name, tensor in tensors.items()}, content)
    return path.name


def forget_model(run: Path) -> str:
    (run / "model.safetensors").unlink()
    return "model.safetensors"


def other_history(run: Path) -> str:
    history = json.loads((run / "history.json").read_text())
    history[0]["loss"] += 1
    (run / "history.json").write_text(json.dumps(history))
    return "history.json"


@pytest.mark.parametrize(
    "spoil", [forget_rank, other_rank, flip_state, forget_model, other_model, other_history]
)
def test_files_of_a_run_that_do_not_fit_each_other_are_found(
    folder: Path, spoil: Callable[[Path], str]
) -> None:
    name = spoil(folder / "run")
    assert {file for file, state in states(folder).items() if state == DAMAGED} == {f"run/{name}"}


def test_what_is_not_ours_is_unknown(folder: Path) -> None:
    (folder / "thesis.tex").write_text("hello")
    (folder / "link").symlink_to(folder / "run/model.safetensors")
    (folder / f".model.safetensors.{'0' * 32}").write_bytes(b"half")
    (folder / "run/.lock").touch()
    found = states(folder)
    assert {name for name, state in found.items() if state == UNKNOWN} == {
        "thesis.tex", "link", f".model.safetensors.{'0' * 32}"
    }  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
def test_pipes_are_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "a.json")
    (folder / "run/history.json").unlink()
    os.mkfifo(folder / "run/history.json")
    found = states(folder)
    assert {name for name, state in found.items() if state == UNKNOWN} == {"a.json", "run/history.json"}
    assert DAMAGED not in found.values()


def test_json_without_an_end_is_damaged(folder: Path) -> None:
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "run/digests.json").write_text("[" * 100_000)
    damaged = {name for name, state in states(folder).items() if state == DAMAGED}
    assert damaged == {"deep.json", "run/digests.json"}


def test_notes_of_another_kind_do_not_matter(folder: Path) -> None:
    path = folder / "run/model.safetensors"
    tensors, content = checkpoint.read(path)
    checkpoint.write(path, tensors, {**content, "notes": 3})
    assert set(states(folder).values()) == {OK}


def test_one_file_is_checked_too(folder: Path) -> None:
    for name in ("run/model.safetensors", "frames.h5", "frames.zarr"):
        assert [(found.file, found.state) for found in verify(folder / name)] == [(Path(name).name, OK)]


def test_a_folder_without_our_files_is_refused(tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "letter.txt").write_text("hello")
    assert main(["verify", str(tmp_path)]) == 2
    assert "expected the folder of a run, a rollout or a study" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "none")]) == 2
    assert "expected a folder of files, got none at" in capsys.readouterr().err


def moved_data(made: Path, folder: Path, tmp_path: Path) -> list[Path]:
    """Copies of the data files, which the copied run's config names."""
    files = [Path(shutil.copy(made / f"{name}.npz", tmp_path)) for name in ("train", "valid")]
    config: dict[str, Any] = yaml.safe_load((folder / "run/config.yaml").read_text())
    config["data"] |= {"train": str(files[0]), "valid": str(files[1])}
    (folder / "run/config.yaml").write_text(yaml.safe_dump(config))
    return files


def test_data_files_are_compared_whole(made: Path, folder: Path, tmp_path: Path, capsys: Capsys) -> None:
    files = moved_data(made, folder, tmp_path)
    assert {found.state for found in verify_data(folder / "run")} == {OK}
    assert (folder / "run/data.json").exists()
    assert main(["verify", str(folder / "run"), "--data"]) == 0
    capsys.readouterr()
    whole = files[0].read_bytes()
    np.savez(files[0], x=np.zeros((4, 1, 8), np.float32), y=np.zeros((4, 1, 8), np.float32))
    assert [(found.file, found.state) for found in verify_data(folder / "run")] == [
        (str(files[0]), DAMAGED), (str(files[1]), OK)
    ]  # fmt: skip
    assert main(["verify", str(folder / "run"), "--data"]) == 1
    assert f"damaged  {files[0]}: not the file" in capsys.readouterr().out
    files[0].write_bytes(whole)
    assert {found.state for found in verify_data(folder / "run")} == {OK}


def test_data_of_a_folder_that_is_read_only_are_checked(
    made: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(30, "Read-only file system")

    moved_data(made, folder, tmp_path)
    monkeypatch.setattr(sealed, "write_json", refuse)
    found = {each.file.rpartition("/")[2]: each for each in verify_data(folder / "run")}
    assert [found[name].state for name in ("train.npz", "valid.npz", "data.json")] == [OK, OK, UNKNOWN]
    assert "it cannot be written: [Errno 30] Read-only" in found["data.json"].why


def test_caches_are_checked_by_their_names(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path / f"{'a' * 64}.safetensors", {"w": torch.ones(3)}, {})
    assert states(tmp_path) == {path.name: OK}
    flip(path, 0.5)
    assert states(tmp_path) == {path.name: DAMAGED}
