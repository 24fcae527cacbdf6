"""States in a file, of which a snapshot stores positions and checksums only.

Each sample has several slots in the file. A state is written to a slot to which neither the last two whole
snapshots nor one that is being written refers: a run that is killed goes on from any of them, to the bit.
The file is not mapped into memory: there a full disk would end the process by a signal, without an error.
"""

from __future__ import annotations

import os
import zlib
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.training.states import States

SLOTS = 4
"""Of each sample: for the last two whole snapshots, for one that is being written, and for the next state."""

NOWHERE = -1
"""The slot of a sample whose state is its start."""


class DiskStates:
    """The states of one process's samples in a file.

    Args:
        path: the file, made by the first state that is written.
        starts: the states of samples without one in the file.

    Attributes:
        slot: of each sample, ``(n,)``.
        crc: the CRC-32 of each sample's state, ``(n,)``.
    """

    def __init__(self, path: Path, starts: States) -> None:
        self.path, self.starts = path, starts
        self.slot = torch.full((len(starts),), NOWHERE)
        self.crc = torch.zeros(len(starts), dtype=torch.long)
        self._kept: list[Tensor] = []
        self._layout = Slots(starts.lengths())
        self._made = False

    def __getitem__(self, index: Tensor) -> Tensor:
        places = self.starts.places(index)
        parts = [self._read(place, number) for place, number in zip(places.tolist(), index, strict=True)]
        return torch.cat(parts).to(self.starts.device, non_blocking=True)

    def __setitem__(self, index: Tensor, values: Tensor) -> None:
        places = self.starts.places(index)
        rows = [self.starts.shape(place)[0] for place in places.tolist()]
        for place, value in zip(places.tolist(), values.cpu().split(rows), strict=True):
            self.write(place, value)

    def owners(self, index: Tensor) -> Tensor:
        """For each row of the fields of some samples, the position of its sample in ``index``."""
        return self.starts.owners(index)

    def write(self, place: int, value: Tensor) -> None:
        """Write the state of the sample at a position to a slot that no snapshot needs."""
        used = {int(slots[place]) for slots in self._kept}
        own = int(self.slot[place])
        slot = own if own not in {*used, NOWHERE} else min(set(range(SLOTS)) - used)
        content = value.contiguous().view(torch.uint8).reshape(-1).numpy()
        with self._open() as file:
            file.seek(self._layout.of(place, slot).start)
            rest = content.data
            while len(rest):
                rest = rest[file.write(rest) :]
        self.slot[place], self.crc[place] = slot, zlib.crc32(content.data)

    def keep(self) -> dict[str, Tensor]:
        """What a snapshot stores; its slots are kept until the third snapshot after it is begun."""
        self._kept = [*self._kept[-(SLOTS - 2) :], self.slot.clone()]
        return {"slot": self.slot.clone(), "crc": self.crc.clone()}

    def flush(self) -> None:
        """Write all states to the disk."""
        if self._made:
            with self._open() as file:
                os.fsync(file.fileno())

    def _read(self, place: int, number: Tensor) -> Tensor:
        if self.slot[place] == NOWHERE:
            return self.starts[number[None]]
        where = self._layout.of(place, int(self.slot[place]))
        content = np.fromfile(self.path, np.uint8, where.stop - where.start, offset=where.start)
        check(content, int(self.crc[place]), int(number), self.path)
        return torch.from_numpy(content).view(self.starts.values.dtype).reshape(self.starts.shape(place))

    def _open(self) -> FileIO:
        if not self._made:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("wb") as file:
                file.truncate(self._layout.total)  # holes, until slots are written
                os.fsync(file.fileno())
            self._made = True
        return FileIO(self.path, "r+")


class Slots:
    """Where the slots of each sample are in a file.

    Args:
        sizes: bytes of the state of each sample, ``(n,)``.

    Attributes:
        total: bytes of the file.
    """

    def __init__(self, sizes: Tensor) -> None:
        self._sizes = sizes.tolist()
        self._first = (SLOTS * (sizes.cumsum(0) - sizes)).tolist()
        self.total = SLOTS * sum(self._sizes)

    def of(self, place: int, slot: int) -> slice:
        """The bytes of a slot of the sample at a position."""
        begin = self._first[place] + slot * self._sizes[place]
        return slice(begin, begin + self._sizes[place])


def check(content: np.ndarray[Any, np.dtype[np.uint8]], crc: int, number: int, path: Path) -> None:
    """Refuse the bytes of a state that are not those which were written."""
    if zlib.crc32(content.data) != crc:
        got = f"other bytes in {path}: the file is damaged or was changed"
        hint = "another folder for a new run, or a backup copy of the file"
        raise ValueError(expected(f"the stored state of sample {number}", got, hint))
