"""The memory in which the states of a training set are held: on the device, in host memory, or on disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from neuralop_irno.budget import free_memory
from neuralop_irno.errors import expected
from neuralop_irno.training.states import States

SHARES = {"device": 0.25, "host": 0.5}
"""The largest share of the free memory that ``auto`` takes on the device, and in host memory."""


class Placement:
    """Chooses the memory of the states of one process.

    Args:
        word: a key of `PLACES`.
        device: of the process.
        folder: of the run, for ``disk``; None if it has none.
        copies: how many states of each sample are held: its start, and with replay its state.

    Attributes:
        place: ``device``, ``host`` or ``disk``; empty before states are collected.
        size: of all copies, in bytes.

    Example:
        >>> placement = Placement("auto", torch.device("cpu"), None, 1)
        >>> batches = [(torch.zeros(2, 1, 4), torch.ones(2, dtype=torch.long))]
        >>> len(placement.collected(iter(batches), torch.arange(2)))
        2
        >>> str(placement)
        'states: 0.0 MiB on the device (cpu)'
    """

    def __init__(self, word: str, device: torch.device, folder: Path | None, copies: int) -> None:
        if word == "disk" and folder is None:
            raise ValueError(expected("a folder for states on disk", "none", "Trainer(.., folder='runs/a')"))
        self.word, self.device, self.folder, self.copies = word, device, folder, copies
        self.place, self.size = "", 0

    def __str__(self) -> str:
        where = {"device": f"on the device ({self.device})", "host": "in host memory", "disk": "on disk"}
        return f"states: {self.size / 2**20:.1f} MiB {where[self.place]}"

    def collected(self, batches: Iterator[tuple[Tensor, Tensor]], numbers: Tensor) -> States:
        """The states of a process's samples; their size is estimated from the first batch.

        Args:
            batches: fields and rows of each sample.
            numbers: of all the samples, ascending.
        """
        first, sizes = next(batches)
        each = first.numel() * first.element_size() / len(sizes)
        self.size = round(each * len(numbers) * self.copies)
        self.place = self._chosen() if self.word == "auto" else self.word
        collect = _on_disk if self.place == "disk" and self.folder is not None else _in_memory
        return collect(self, _with(first, sizes, batches), numbers)

    def _chosen(self) -> str:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        host = free_memory() / processes
        device = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else host
        if self.size <= SHARES["device"] * device:
            return "device"
        return "host" if self.size <= SHARES["host"] * host or self.folder is None else "disk"


def _with(
    first: Tensor, sizes: Tensor, rest: Iterator[tuple[Tensor, Tensor]]
) -> Iterator[tuple[Tensor, Tensor]]:
    yield first, sizes
    yield from rest


def _in_memory(placement: Placement, batches: Iterator[tuple[Tensor, Tensor]], numbers: Tensor) -> States:
    """States on the device, or in host memory from which a GPU copies by itself."""
    pinned = placement.place == "host" and placement.device.type == "cuda"
    place = placement.device if placement.place == "device" else torch.device("cpu")
    fields, sizes, whole, filled = list[Tensor](), list[Tensor](), None, 0
    for field, own in batches:
        if whole is None and not fields and len(field) == len(own):
            whole = torch.empty(len(numbers), *field.shape[1:], dtype=field.dtype, device=place)
        if whole is not None and field.shape[1:] == whole.shape[1:] and len(field) == len(own):
            whole[filled : filled + len(field)] = field
            filled += len(field)
        else:  # graphs, or another grid
            if whole is not None:
                fields, whole = [whole[:filled]], None
            fields.append(field.to(place))
        sizes.append(own)
    if whole is not None:
        states = States(whole, None, None, numbers)
    else:
        states = States.of(fields, torch.cat(sizes), numbers)
    values = states.values.pin_memory() if pinned else states.values
    return States(values, states.sizes, states.shapes, numbers, placement.device)


def _on_disk(placement: Placement, batches: Iterator[tuple[Tensor, Tensor]], numbers: Tensor) -> States:
    """States in a file without a name, which the system removes with the process."""
    assert placement.folder is not None
    placement.folder.mkdir(parents=True, exist_ok=True)
    path = placement.folder / f".starts-{os.getpid()}"
    shapes, sizes, rows = list[torch.Size](), list[Tensor](), 0
    with path.open("wb") as file:
        for field, own in batches:
            field.cpu().contiguous().view(torch.uint8).numpy().tofile(file)
            shapes += [field.shape[1:]] * len(own)
            sizes.append(own)
            dtype, rows = field.dtype, rows + field.numel()
    flat = torch.from_file(str(path), shared=True, size=rows, dtype=dtype)
    if sys.platform != "win32":  # which has no open files without a name
        with suppress(OSError):
            path.unlink()
    if len(set(shapes)) == 1:
        return States(flat.reshape(-1, *shapes[0]), torch.cat(sizes), None, numbers, placement.device)
    lengths = torch.tensor([shape.numel() for shape in shapes])
    return States(flat, lengths, shapes, numbers, placement.device)
