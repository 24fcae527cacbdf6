"""Snapshots: the complete state of a run, for a bit-exact resumption, in files that are whole or absent.

A frozen base is not in them: a resumed run starts with the same one, by the digest in its identity. Nor are
weights that the file of the best model holds; see `neuralop_irno.training.best_model`. Nor are the states of
torch's generators, which every update seeds anew.
The last two snapshots are kept. If the newer one is damaged, the run continues from the older.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno import checkpoint, digest, parallel
from neuralop_irno.checkpoint import SUFFIX, tensors_only
from neuralop_irno.devices import device_of
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected
from neuralop_irno.persistence import split_state
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.sharded import divided_like, whole
from neuralop_irno.training import best_model, identity, process_files
from neuralop_irno.training.disk_states import DiskStates
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.divergence import refuse_not_finite
from neuralop_irno.training.identity import Identity
from neuralop_irno.training.optimizer_state import flat_state, restore
from neuralop_irno.training.process_files import Content, Stage, StoredStates
from neuralop_irno.training.training_run import Progress, TrainingRun
from neuralop_irno.training.writer import Until

MODEL_PART, AVERAGE_PART = "model", "average"
"""The names of the weights, and of their average with ``ema``, start with these."""

SHARED = "shared"
"""The key of a snapshot that refers to weights in the file of the best model."""


def exists(folder: Path) -> bool:
    """Whether the folder has a snapshot."""
    return main_file(folder).exists() or previous_file(folder).exists()


def main_file(folder: Path) -> Path:
    """The main file of the last snapshot; without it the snapshot does not exist."""
    return folder / f"snapshot{SUFFIX}"


def previous_file(folder: Path) -> Path:
    """The snapshot before the last."""
    return folder / f"snapshot.previous{SUFFIX}"


def stage_of(progress: Progress) -> Stage:
    """The stage of a snapshot."""
    return progress.epoch, progress.update


def faults(folder: Path, content: Mapping[str, Any]) -> dict[Path, str]:
    """The faults of the files of all processes of a snapshot, given the content of its main file."""
    stage, own = stage_of(Progress(**content["progress"])), content["identity"]
    processes = content["processes"] if isinstance(own, str) else own["processes"]
    found = {}
    for rank in range(processes):
        file = process_files.path_of(folder, rank, stage)
        read, fault = process_files.read_own(file, process_files.owner(own, rank, stage), processes)
        found[file] = ("" if file.is_file() else "missing") or fault
        if read is not None and "file" in read[1]:
            found[folder / read[1]["file"]] = process_files.fault_on_disk(folder, read)
    return {file: fault for file, fault in found.items() if fault}


@dataclass
class Capture:
    """A snapshot in the memory of the host, which training does not change.

    Attributes:
        stage: of the run.
        main: the content of the main file; None in all processes but the first.
        own: the content of this process's file; None without replay.
        states: those on disk, to be written to it before.
    """

    stage: Stage
    main: Content | None
    own: Content | None
    states: DiskStates | None


def capture(run: TrainingRun, own: Identity, peers: Peers, token: str) -> Capture:
    """Copy what a snapshot holds.

    Args:
        run: in training.
        own: the identity of the run.
        peers: its processes.
        token: that of the files with states on disk.

    Raises:
        DivergenceError: a weight is not finite.
    """
    refuse_not_finite(run.model)
    stage, of_process, states = stage_of(run.progress), None, None
    if run.replay is not None:
        owner = process_files.owner(own, peers.rank, stage)
        of_process = process_files.content_of(run.replay, owner, peers.world)
        states = run.replay.states if isinstance(run.replay.states, DiskStates) else None
    together = peers.first or parallel.is_sharded(run.model)  # whose weights all processes put together
    main = _main_content(run, own, peers, token) if together else None
    main = main if peers.first else None
    return Capture(stage, main, of_process, states)


def write(folder: Path, taken: Capture, peers: Peers, others: Until) -> None:
    """Write a snapshot; the first process's file, written last, makes it valid.

    Args:
        folder: of the run.
        taken: what to write.
        peers: the processes of the run; this function calls none of them.
        others: waits until the files of all processes are there.
    """
    if taken.states is not None:
        taken.states.flush()
    if taken.own is not None:
        checkpoint.write(process_files.path_of(folder, peers.rank, taken.stage), *taken.own)
    if taken.main is None:
        return
    if taken.own is not None:
        others([process_files.path_of(folder, rank, taken.stage) for rank in range(peers.world)])
    if main_file(folder).exists():
        main_file(folder).replace(previous_file(folder))
    checkpoint.write(main_file(folder), *taken.main)
    best_model.forget(folder, referred(folder))


def begin(folder: Path, peers: Peers, stage: Stage = (-1, -1)) -> None:
    """Remove the files of later stages, of a process that was killed: they would be taken for new ones."""
    process_files.remove(folder, lambda other: other > stage, peers.answers_for)


def forget(folder: Path, peers: Peers, token: str) -> None:
    """Remove the files of processes to which neither of the two snapshots refers, when all are written.

    The first process reads the snapshots for all: no other knows that none is being written meanwhile.
    """
    contents = _configs(folder) if peers.first else ()
    kept = [(stage_of(Progress(**each["progress"])), each.get("states", "")) for each in contents]
    kept = peers.gather(kept)[0]
    needed = {stage for stage, _ in kept}
    process_files.remove(folder, lambda stage: stage not in needed, peers.answers_for)
    if peers.first:
        process_files.remove_states(folder, [token, *(states for _, states in kept)])


def _main_content(run: TrainingRun, own: Identity, peers: Peers, token: str) -> Content:
    state, groups = flat_state(run.optimizer)
    weights = {MODEL_PART: split_state(run.model)[0]}
    if run.average is not None:
        weights[AVERAGE_PART] = run.average.values
    shared = _shared(run)
    stored = ((part, state) for part, state in weights.items() if part != shared)
    tensors = {f"{part}.{name}": tensor for part, each in stored for name, tensor in each.items()}
    tensors |= {f"loss.{k}": v for k, v in tensors_only(run.loss.state_dict()).items()}
    content = {
        "progress": asdict(run.progress),
        "precision": run.precision,
        "groups": groups,
        "identity": digest.of_json(own),
        "processes": 0 if run.replay is None else peers.world,
        "states": token,
    }
    if shared is not None:
        content[SHARED] = {"part": shared, "sha256": run.progress.best_weights}
    if isinstance(run.model, IterativeRefiner):
        content["resolution"] = run.model.resolution.plain()
    whole_of_all = whole({**tensors, **state})
    copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in whole_of_all.items()}
    return copies, copy.deepcopy(content)


def _configs(folder: Path) -> Iterator[dict[str, Any]]:
    """The contents of the main files in a folder, by their headers."""
    for file in filter(Path.exists, (main_file(folder), previous_file(folder))):
        try:
            yield checkpoint.read_unchecked_config(file)
        except (OSError, ValueError):
            continue  # damaged: it cannot be restored


def referred(folder: Path) -> Iterator[str]:
    """The digests of the best models to which the snapshots in a folder refer, by their headers."""
    return (content[SHARED]["sha256"] for content in _configs(folder) if SHARED in content)


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
        peers: its processes; their number may be another one than that of the snapshot.
        say: called with a line about a damaged file.

    Raises:
        ValueError: the run has another identity, or no snapshot can be read.
    """
    damage = ""
    for file in filter(Path.exists, (main_file(folder), previous_file(folder))):
        stored, (main, error) = None, process_files.read(file)
        if main is not None:
            _check(main[1], own, folder)
            stored, error = _stored(folder, run, main[1])
        here = main is not None and not error
        if main and not peers.total(torch.tensor(float(not here), device=device_of(run.model))):
            if damage:
                say(f"{damage}: going on from {file.name}")
                if peers.first and main_file(folder).exists():
                    # Rename it: saving the next snapshot would make it the previous one.
                    main_file(folder).replace(folder / f"snapshot.damaged{SUFFIX}")
            _restore(run, _with_shared(*main, folder), main[1], stored)
            begin(folder, peers, stage_of(run.progress))
            return
        damage = f"{file.name} is damaged ({error or 'in another process'})"
    raise ValueError(
        expected(
            f"a whole snapshot in {folder}", damage, "a backup copy of it, or another folder for a new run"
        )
    )


def _stored(folder: Path, run: TrainingRun, content: Mapping[str, Any]) -> tuple[StoredStates | None, str]:
    """The states of this process's samples in a snapshot, or the fault of its files; none without replay."""
    if run.replay is None:
        return None, ""
    numbers, found = run.replay.starts.numbers, list[Content]()
    stage = stage_of(Progress(**content["progress"]))
    for rank in range(content["processes"]):
        owner = process_files.owner(content["identity"], rank, stage)
        file = process_files.path_of(folder, rank, stage)
        read, fault = process_files.read_own(file, owner, content["processes"])
        if read is None:
            return None, fault
        if torch.isin(read[0]["replay.numbers"], numbers).any():
            found.append(read)
    stored = StoredStates(folder, found)
    if missing := stored.missing(numbers):
        return None, f"no process has the state of sample {missing[0]}"
    try:
        for number in numbers.tolist():
            stored(number)
    except (ValueError, OSError) as error:
        return None, str(error)
    return stored, ""


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
    run: TrainingRun, tensors: dict[str, Tensor], content: dict[str, Any], stored: StoredStates | None
) -> None:
    run.progress = Progress(**content["progress"])
    run.precision = content["precision"]
    own = tensors_only(run.model.state_dict())  # with a frozen base, which the identity has compared
    run.model.load_state_dict(divided_like({**own, **tensors_only(tensors, "model.")}, own))
    if isinstance(run.model, IterativeRefiner):
        run.model.resolution = run.model.resolution.completed(Resolution.of(content.get("resolution")))
    run.loss.load_state_dict(tensors_only(tensors, "loss."))
    restore(run.optimizer, tensors, content["groups"])
    if run.average is not None:
        run.average.restore(tensors_only(tensors, "average."))
    if run.replay is not None and stored is not None:
        run.replay.restore(stored.taken(run.replay.starts.numbers), stored)
