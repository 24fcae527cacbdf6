"""Snapshots: the complete state of a run, for a bit-exact resumption, in files that are whole or absent.

A frozen base is not in them: a resumed run starts with the same one, by the digest in its identity. Nor are
weights that the file of the best model holds; see `neuralop_irno.training.best_model`.
The last two snapshots are kept. If the newer one is damaged, the run continues from the older.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from neuralop_irno import checkpoint, digest
from neuralop_irno.checkpoint import SUFFIX, tensors_only
from neuralop_irno.devices import device_of
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.persistence import split_state
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training import best_model, identity
from neuralop_irno.training.average import Average
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.divergence import refuse_not_finite
from neuralop_irno.training.identity import Identity
from neuralop_irno.training.optimizer_state import flat_state, restore
from neuralop_irno.training.replay import Replay

MODEL_PART, AVERAGE_PART = "model", "average"
"""The names of the weights, and of their average with ``ema``, start with these."""

SHARED = "shared"
"""The key of a snapshot that refers to weights in the file of the best model."""

Content = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        epoch: epochs finished.
        batch: batches of the current epoch that are done.
        update: updates made, the skipped ones included.
        loss_sum: of the current epoch, over its samples in all processes.
        loss_count: those samples.
        skipped: updates of the current epoch that were skipped: their gradients were not finite.
        best: the best validation score.
        best_weights: the digest of the weights with this score, in ``model.safetensors``; empty if
            there are none.
        waited: epochs since the best score.
        history: one record for each finished epoch.
    """

    epoch: int = 0
    batch: int = 0
    update: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    skipped: int = 0
    best: float = float("inf")
    best_weights: str = ""
    waited: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """The mean loss of the current epoch so far."""
        return self.loss_sum / self.loss_count

    def add(self, loss: float, samples: int, skipped: bool) -> None:
        """Count one update."""
        self.batch, self.update = self.batch + 1, self.update + 1
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + samples
        self.skipped += skipped

    def finish_epoch(self, record: dict[str, Any]) -> None:
        """Count one epoch."""
        self.history.append(record)
        self.epoch, self.batch, self.skipped = self.epoch + 1, 0, 0
        self.loss_sum, self.loss_count = 0.0, 0


@dataclass
class TrainingRun:
    """The parts of a training run that change, and its precision.

    Attributes:
        model: in training.
        optimizer: of its parameters.
        loss: included because its weights may rise with the updates.
        replay: the states of the training set, with replay.
        average: of the weights, with ``ema``.
        progress: counters and history.
        precision: ``float32`` or ``bfloat16``, as resolved at the start of the run.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: Loss
    replay: Replay | None
    average: Average | None
    progress: Progress
    precision: str

    def averaged(self) -> AbstractContextManager[None]:
        """Put the averaged weights, with ``ema``, into the model within a ``with`` block."""
        return nullcontext() if self.average is None else self.average.in_place()


def exists(folder: Path) -> bool:
    """Whether the folder has a snapshot."""
    return main_file(folder).exists() or previous_file(folder).exists()


def main_file(folder: Path) -> Path:
    """The main file of the last snapshot; without it the snapshot does not exist."""
    return folder / f"snapshot{SUFFIX}"


def previous_file(folder: Path) -> Path:
    """The snapshot before the last."""
    return folder / f"snapshot.previous{SUFFIX}"


def faults(folder: Path, content: Mapping[str, Any]) -> dict[Path, str]:
    """The faults of the files of all processes of a snapshot, given the content of its main file."""
    stage, own = _stage(Progress(**content["progress"])), content["identity"]
    processes = content["processes"] if isinstance(own, str) else own["processes"]
    files = {_own_file(folder, rank, stage): rank for rank in range(processes)}
    found = {file: _read_own(file, _owner(own, rank, stage))[1] for file, rank in files.items()}
    return {file: fault if file.is_file() else "missing" for file, fault in found.items() if fault}


def save(folder: Path, run: TrainingRun, own: Identity, peers: Peers) -> None:
    """Write the snapshot of this process; the first process's file, written last, makes it valid.

    Raises:
        DivergenceError: a weight is not finite; the snapshots before are left as they are.
    """
    refuse_not_finite(run.model)
    stage = _stage(run.progress)
    tensors = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    if run.replay is not None:
        tensors |= {"replay.states": run.replay.states.values, "replay.taken": run.replay.taken}
    checkpoint.write(_own_file(folder, peers.rank, stage), tensors, _owner(own, peers.rank, stage))
    peers.wait()
    if peers.first:
        state, groups = flat_state(run.optimizer)
        whole = {MODEL_PART: split_state(run.model)[0]}
        if run.average is not None:
            whole[AVERAGE_PART] = run.average.values
        shared = _shared(run)
        tensors = {
            f"{part}.{k}": v for part, state in whole.items() if part != shared for k, v in state.items()
        }
        tensors |= {f"loss.{k}": v for k, v in tensors_only(run.loss.state_dict()).items()}
        content = {
            "progress": asdict(run.progress),
            "precision": run.precision,
            "groups": groups,
            "identity": digest.of_json(own),
            "processes": own["processes"],
        }
        if shared is not None:
            content[SHARED] = {"part": shared, "sha256": run.progress.best_weights}
        if isinstance(run.model, IterativeRefiner):
            content["resolution"] = run.model.resolution.plain()
        if main_file(folder).exists():
            main_file(folder).replace(previous_file(folder))
        checkpoint.write(main_file(folder), {**tensors, **state}, content)
        best_model.forget(folder, referred(folder))
    peers.wait()
    for old in sorted(_own_files(folder, peers.rank), key=_stage_of)[:-2]:
        old.unlink()


def referred(folder: Path) -> Iterator[str]:
    """The digests of the best models to which the snapshots in a folder refer, by their headers."""
    for file in filter(Path.exists, (main_file(folder), previous_file(folder))):
        try:
            content = checkpoint.read_unchecked_config(file)
        except (OSError, ValueError):
            continue  # damaged: it cannot be restored
        if SHARED in content:
            yield content[SHARED]["sha256"]


def _shared(run: TrainingRun) -> str | None:
    """The part of a snapshot whose weights the file of the best model holds: the model, or the average."""
    with run.averaged():
        held = digest.of_tensors(best_model.held_tensors(run.model)) if run.progress.best_weights else None
    if held != run.progress.best_weights:
        return None
    return MODEL_PART if run.average is None else AVERAGE_PART


def _with_shared(tensors: dict[str, Tensor], content: Mapping[str, Any], folder: Path) -> dict[str, Tensor]:
    """The tensors of a snapshot, with those to which it refers."""
    if SHARED not in content:
        return tensors
    stated = content[SHARED]
    best = best_model.find(folder, stated["sha256"])
    return {**tensors, **{f"{stated['part']}.{name}": tensor for name, tensor in best.items()}}


def load(folder: Path, run: TrainingRun, own: Identity, peers: Peers, say: Callable[[str], object]) -> None:
    """Restore a run from its last snapshot or, if that one is damaged, from the one before.

    Args:
        folder: of the run.
        run: gets the state.
        own: the identity of the run.
        peers: its processes.
        say: called with a line about a damaged file.

    Raises:
        ValueError: the run has another identity, or no snapshot can be read.
    """
    damage = ""
    for file in filter(Path.exists, (main_file(folder), previous_file(folder))):
        random, main, error = None, *_read(file)
        if main is not None:
            _check(main[1], own, folder)
            stage = _stage(Progress(**main[1]["progress"]))
            owner = _owner(own, peers.rank, stage)
            random, error = _read_own(_own_file(folder, peers.rank, stage), owner)
        here = main is not None and random is not None
        if main and random and not peers.total(torch.tensor(float(not here), device=device_of(run.model))):
            if damage:
                say(f"{damage}: going on from {file.name}")
            _restore(run, _with_shared(*main, folder), main[1], random[0])
            _forget_later(folder, peers.rank, stage)
            return
        damage = f"{file.name} is damaged ({error or 'in another process'})"
        if file == main_file(folder) and peers.first:
            # Rename it: saving the next snapshot would make it the previous one.
            file.replace(folder / f"snapshot.damaged{SUFFIX}")
    raise ValueError(
        expected(
            f"a whole snapshot in {folder}", damage, "a backup copy of it, or another folder for a new run"
        )
    )


def _read(file: Path) -> tuple[Content | None, str]:
    """The content of a file, or its fault."""
    try:
        return checkpoint.read(file), ""
    except (ValueError, FileNotFoundError) as error:
        return None, str(error)


def _read_own(file: Path, owner: Mapping[str, Any]) -> tuple[Content | None, str]:
    """The content of a process's file, or its fault."""
    found, fault = _read(file)
    if found is not None and found[1] != owner:
        return None, expected(
            f"{file.name} of this run", "that of another run or update", "a backup copy of it"
        )
    return found, fault


def _owner(own: Identity | str, rank: int, stage: tuple[int, int]) -> dict[str, Any]:
    """The run (its identity, or the digest of it), rank and stage of a process's file."""
    sha256 = own if isinstance(own, str) else digest.of_json(own)
    return {"rank": rank, "epoch": stage[0], "update": stage[1], "identity": sha256}


def _check(content: Mapping[str, Any], own: Identity, folder: Path) -> None:
    if "identity" not in content:
        raise ValueError(
            expected(
                f"a snapshot in {folder} that names what it belongs to",
                "one of an older version",
                "another folder for a new run",
            )
        )
    identity.check(own, content["identity"], folder)


def _restore(
    run: TrainingRun, tensors: dict[str, Tensor], content: dict[str, Any], random: dict[str, Tensor]
) -> None:
    run.progress = Progress(**content["progress"])
    run.precision = content["precision"]
    own = tensors_only(run.model.state_dict())  # with a frozen base, which the identity has compared
    run.model.load_state_dict({**own, **tensors_only(tensors, "model.")})
    if isinstance(run.model, IterativeRefiner):
        run.model.resolution = run.model.resolution.completed(Resolution.of(content.get("resolution")))
    run.loss.load_state_dict(tensors_only(tensors, "loss."))
    restore(run.optimizer, tensors, content["groups"])
    if run.average is not None:
        run.average.restore(tensors_only(tensors, "average."))
    torch.set_rng_state(random["random.cpu"])
    if "random.cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["random.cuda"])
    if run.replay is not None:
        run.replay.restore(random["replay.states"], random["replay.taken"])


def _stage(progress: Progress) -> tuple[int, int]:
    """Epoch and update of a snapshot. The end of an epoch is another stage than its last update."""
    return progress.epoch, progress.update


def _own_file(folder: Path, rank: int, stage: tuple[int, int]) -> Path:
    return folder / f".snapshot-{stage[0]}-{stage[1]}.rank{rank}{SUFFIX}"


def _own_files(folder: Path, rank: int) -> list[Path]:
    return list(folder.glob(f".snapshot-*.rank{rank}{SUFFIX}"))


def _forget_later(folder: Path, rank: int, stage: tuple[int, int]) -> None:
    """Remove files of later stages than the restored one: they would be taken for the newest."""
    for file in _own_files(folder, rank):
        if _stage_of(file) > stage:
            file.unlink()


def _stage_of(file: Path) -> tuple[int, ...]:
    return tuple(int(word) for word in file.name.split(".")[1].split("-")[1:])
