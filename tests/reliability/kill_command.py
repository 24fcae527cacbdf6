"""Kill `irno rollout` with SIGKILL at random moments, go on with `--existing continue`, and compare the bits.

    python tests/reliability/kill_rollout.py 10 --command

An untrained refiner predicts frames on a grid and on meshes. Counted are kills of a running process, and
those of them after the file had its name.
"""

from __future__ import annotations

import contextlib
import io
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from killing import child, seconds_of
from torch import Tensor

from irno_cli.main import main as irno
from neuralop_irno.config import experiment
from neuralop_irno.rollouts.files import SUFFIXES, check_file
from neuralop_irno.rollouts.hold import remove
from neuralop_irno.training.folder import MODEL
from neuralop_irno.training.run import CONFIG
from neuralop_irno.yaml_files import written

FNO = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1}
RIGNO = {"model_arch": "rigno", "width": 4, "steps": 1, "time": False}
RUNS: dict[str, Any] = {
    "a grid": {
        "data": {"name": "burgers", "trajectories": [2, 1, 2], "frames": 4, "size": 32},
        "model": {"base": FNO, "correction": {"name": "unet", "width": 4, "depth": 1}, "steps": 2},
    },
    "meshes": {
        "data": {"name": "waves", "samples": [1, 1, 2], "spacing": 0.4, "outputs": 40},
        "model": {"base": RIGNO, "correction": {"name": "rigno", "width": 4, "steps": 1}, "steps": 2},
    },
}
STEPS = {"a grid": 150, "meshes": 40}
KINDS = ("h5", "zarr", "vtkhdf", "pvd")


def prepared(where: str, place: Path) -> list[str]:
    """The words of the command on a new run, without its file."""
    known = experiment(RUNS[where])
    splits = known.splits()
    refiner = known.build_refiner(known.build_base(splits), getattr(splits["train"], "padding", None))
    with torch.no_grad():  # a new correction adds nothing to the base
        for weight in refiner.correction.parameters():
            weight += 0.05 * torch.randn_like(weight)
    refiner.save(place / MODEL)
    (place / CONFIG).write_bytes(written(known.content))
    words = ["rollout", str(place), "--steps", str(STEPS[where]), "--video", "none", "--existing", "continue"]
    if where == "a grid":  # from a file: no truth, whose comparison would take most of the time
        np.savez(place / "start.npz", x=np.random.default_rng(0).normal(size=(2, 1, 32)).astype(np.float32))
        words += ["--start", str(place / "start.npz")]
    return words


def run(words: list[str], path: Path) -> None:
    """The command, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = irno([*words, "--to", str(path)])
    assert code == 0, said.getvalue()


def save(path: Path, target: Path) -> None:
    """The frames of a sound file."""
    assert check_file(path) == []
    frames = SUFFIXES[path.suffix](path).read().frames
    assert frames is not None
    np.save(target, frames)


def kill_often(kind: str, where: str, kills: int, place: Path, seed: int = 0) -> tuple[int, int]:
    """Kill so many times; returns how many kills came after the first frame, and how many rollouts ended."""
    draw, words, folder = random.Random(seed), prepared(where, place), place / "files"
    whole = folder / f"whole.{kind}"
    child(partial(run, words, whole))  # what is imported late
    clear(folder)
    length = seconds_of(partial(run, words, whole))
    right = frames_in(whole, place)
    done = late = finished = 0
    while done < kills:
        clear(folder)
        path = folder / f"{finished}.{kind}"
        while done < kills and child(partial(run, words, path), draw.uniform(0.0, length)):
            done += 1
            kept = SUFFIXES[path.suffix](path).path
            if kept.exists():
                late += 1
                found = frames_in(path, place)
                assert torch.equal(found, right[:, : found.shape[1]])
        child(partial(run, words, path))
        assert torch.equal(frames_in(path, place), right)
        assert {each.name for each in folder.iterdir()} == {path.name, SUFFIXES[path.suffix](path).path.name}
        finished += 1
    return late, finished


def frames_in(path: Path, place: Path) -> Tensor:
    """The frames of a file, checked in a child: the parent never opens one."""
    assert not child(partial(save, path, place / "frames.npy"))
    return torch.from_numpy(np.load(place / "frames.npy"))


def clear(folder: Path) -> None:
    """An empty folder."""
    folder.mkdir(exist_ok=True)
    for each in folder.iterdir():
        remove(each)
