"""Everything that a run needs to go on as if it had never stopped, in files that are whole or absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from neuralop_irno import checkpoint
from neuralop_irno.checkpoint import tensors_only
from neuralop_irno.errors import expected
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.replay import Replay


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs finished.
        batch: batches of the current epoch that are done.
        update: updates made.
        loss_sum: of the current epoch, over its samples.
        loss_count: those samples.
        best: the best validation score.
        waited: epochs since then.
        history: one record for each finished epoch.
    """

    epoch: int = 0
    batch: int = 0
    update: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best: float = float("inf")
    waited: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Run:
    """What a training run has to keep: the parts that change as it goes on, and its precision.

    Attributes:
        model: in training.
        optimizer: of its parameters.
        loss: in training too: its weights may rise with the updates.
        replay: the states of the training set, if they are replayed.
        progress: how far it has come.
        precision: ``float32`` or ``bfloat16``, as it was settled when the run began.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: nn.Module
    replay: Replay | None
    progress: Progress
    precision: str


def save(folder: Path, run: Run, recipe: Recipe, peers: Peers) -> None:
    """Write the snapshot of this process; the first process's file, written last, makes it count."""
    own = _own_file(folder, peers.rank, run.progress.update)
    tensors = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    if run.replay is not None:
        tensors |= {"replay.states": run.replay.states.values, "replay.taken": run.replay.taken}
    checkpoint.write(own, tensors, {"rank": peers.rank})
    peers.wait()
    if peers.first:
        state, groups = _flat(run.optimizer)
        tensors = {f"model.{k}": v for k, v in tensors_only(run.model.state_dict()).items()}
        tensors |= {f"loss.{k}": v for k, v in tensors_only(run.loss.state_dict()).items()}
        content = {
            "progress": asdict(run.progress),
            "recipe": asdict(recipe),
            "precision": run.precision,
            "groups": groups,
            "world": peers.world,
        }
        checkpoint.write(main_file(folder), {**tensors, **state}, content)
    peers.wait()
    for old in folder.glob(f".snapshot-*.rank{peers.rank}{checkpoint.SUFFIX}"):
        if old != own:
            old.unlink()


def load(folder: Path, run: Run, recipe: Recipe, peers: Peers) -> None:
    """Put a run into the state of its last snapshot."""
    tensors, content = checkpoint.read(main_file(folder))
    saved = Recipe(**content["recipe"])
    if (saved, content["world"]) != (recipe, peers.world):
        raise ValueError(
            expected(
                "the recipe and the number of processes of the run to resume",
                f"{recipe} on {peers.world}, not {saved} on {content['world']}",
                "another folder for a new run",
            )
        )
    run.progress = Progress(**content["progress"])
    run.precision = content.get("precision", saved.precision)  # older snapshots have no auto
    run.model.load_state_dict(tensors_only(tensors, "model."))
    run.loss.load_state_dict(tensors_only(tensors, "loss."))
    _restore(run.optimizer, tensors, content["groups"])
    own, _ = checkpoint.read(_own_file(folder, peers.rank, run.progress.update))
    torch.set_rng_state(own["random.cpu"])
    if "random.cuda" in own:
        torch.cuda.set_rng_state(own["random.cuda"])
    if run.replay is not None:
        run.replay.states.values, run.replay.taken = own["replay.states"], own["replay.taken"]


def main_file(folder: Path) -> Path:
    """The file whose presence means that there is something to resume."""
    return folder / f"snapshot{checkpoint.SUFFIX}"


def _own_file(folder: Path, rank: int, update: int) -> Path:
    return folder / f".snapshot-{update}.rank{rank}{checkpoint.SUFFIX}"


def _flat(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    content = optimizer.state_dict()
    tensors = {
        f"optimizer.{place}.{key}": value
        for place, state in content["state"].items()
        for key, value in state.items()
    }
    return tensors, content["param_groups"]


def _restore(optimizer: Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors_only(tensors, "optimizer.").items():
        place, key = name.split(".", 1)
        state.setdefault(int(place), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
