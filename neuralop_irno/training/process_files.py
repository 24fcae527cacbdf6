"""The file of each process in a snapshot: the replayed states of its samples, or their places on disk.

A file names its samples, so that a run may go on with another number of processes: each takes the states of
its samples from the files that have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno import checkpoint, digest
from neuralop_irno.checkpoint import SUFFIX
from neuralop_irno.errors import expected
from neuralop_irno.training.disk_states import NOWHERE, DiskStates, Slots, check
from neuralop_irno.training.identity import Identity
from neuralop_irno.training.replay import Replay

Content = tuple[dict[str, Tensor], dict[str, Any]]

Stage = tuple[int, int]
"""Epoch and update of a snapshot. The end of an epoch is another stage than its last update."""

STATES = ".states-"
"""The names of the files with states start with this."""


def path_of(folder: Path, rank: int, stage: Stage) -> Path:
    """The file of a process."""
    return folder / f".snapshot-{stage[0]}-{stage[1]}.rank{rank}{SUFFIX}"


def states_path(folder: Path, token: str, rank: int) -> Path:
    """The file with the states of a process, of the start of a training that a token names."""
    return folder / f"{STATES}{token}.rank{rank}"


def owner(own: Identity | str, rank: int, stage: Stage) -> dict[str, Any]:
    """The run (its identity, or the digest of it), rank and stage of a process's file."""
    sha256 = own if isinstance(own, str) else digest.of_json(own)
    return {"rank": rank, "epoch": stage[0], "update": stage[1], "identity": sha256}


def content_of(replay: Replay, owner: Mapping[str, Any], processes: int) -> Content:
    """The content of a process's file."""
    config = {**owner, "processes": processes}
    if isinstance(replay.states, DiskStates):
        config["file"] = replay.states.path.name
    return {f"replay.{name}": tensor for name, tensor in replay.kept().items()}, config


def read(file: Path) -> tuple[Content | None, str]:
    """The content of a file, or its fault."""
    try:
        return checkpoint.read(file), ""
    except (ValueError, FileNotFoundError) as error:
        return None, str(error)


def read_own(file: Path, owner: Mapping[str, Any], processes: int) -> tuple[Content | None, str]:
    """The content of a process's file, or its fault."""
    found, fault = read(file)
    if found is None:
        return None, fault if file.is_file() else f"{file.name} is missing"
    stated = {"processes": processes, **found[1]}  # older files do not state it
    if any(stated.get(key) != value for key, value in {**owner, "processes": processes}.items()):
        return None, expected(
            f"{file.name} of this run", "that of another run or update", "a backup copy of it"
        )
    return found, ""


def fault_on_disk(folder: Path, content: Content) -> str:
    """The fault of the states on disk to which a process's file refers; empty if there is none."""
    if "file" not in content[1]:
        return ""
    try:
        stored = StoredStates(folder, [content])
        for number in content[0]["replay.numbers"].tolist():
            stored(number)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def remove(folder: Path, unneeded: Callable[[Stage], bool], ranks: Callable[[int], bool]) -> None:
    """Remove the files of some stages and ranks."""
    for file in folder.glob(f".snapshot-*.rank*{SUFFIX}"):
        _, name, rank, _ = file.name.split(".")
        epoch, update = name.split("-")[1:]
        if ranks(int(rank.removeprefix("rank"))) and unneeded((int(epoch), int(update))):
            file.unlink(missing_ok=True)


def remove_states(folder: Path, needed: Iterable[str]) -> None:
    """Remove the files with states of all tokens but some."""
    kept = {f"{STATES}{token}" for token in needed}
    for file in folder.glob(f"{STATES}*.rank*"):
        if file.stem not in kept:
            file.unlink(missing_ok=True)


class StoredStates:
    """The states in the files of several processes, by the numbers of their samples.

    Args:
        folder: of the run.
        contents: of the files.
    """

    def __init__(self, folder: Path, contents: list[Content]) -> None:
        self._folder, self._contents = folder, contents
        self._found: dict[int, tuple[int, int]] = {}
        self._first: list[list[int]] = []
        self._slots = [Slots(tensors["replay.lengths"]) for tensors, _ in contents]
        self._mapped: dict[int, np.memmap[Any, np.dtype[np.uint8]]] = {}
        for file, (tensors, _) in enumerate(contents):
            lengths, numbers = tensors["replay.lengths"], tensors["replay.numbers"]
            self._first.append((lengths.cumsum(0) - lengths).tolist())
            self._found |= {number: (file, place) for place, number in enumerate(numbers.tolist())}

    def __call__(self, number: int) -> Tensor:
        """The bytes of the state of a sample; none if its state is its start.

        Raises:
            ValueError: they are damaged.
            OSError: the file with states cannot be read.
        """
        file, place = self._found[number]
        tensors, config = self._contents[file]
        if "file" not in config:
            content = tensors["replay.states"].view(torch.uint8)
            begin = self._first[file][place]
            return content[begin : begin + int(tensors["replay.lengths"][place])]
        slot = int(tensors["replay.slot"][place])
        if slot == NOWHERE:
            return torch.empty(0, dtype=torch.uint8)
        path = self._folder / config["file"]
        if file not in self._mapped:
            self._mapped[file] = np.memmap(path, np.uint8, "r")
        found = np.array(self._mapped[file][self._slots[file].of(place, slot)])
        check(found, int(tensors["replay.crc"][place]), number, path)
        return torch.from_numpy(found)

    def missing(self, numbers: Tensor) -> list[int]:
        """The samples that no file has."""
        return [number for number in numbers.tolist() if number not in self._found]

    def taken(self, numbers: Tensor) -> Tensor:
        """The steps taken to the states of some samples."""
        places = [self._found[number] for number in numbers.tolist()]
        return torch.stack([self._contents[file][0]["replay.taken"][place] for file, place in places])
