"""The machines of a run, in a file of its folder."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from neuralop_irno import checkpoint
from neuralop_irno.version import VERSION

MACHINES = "machines.json"
"""The file of a run folder with a mapping for each machine that has trained the run, in their order."""


def machine(device: str | torch.device = "cpu") -> dict[str, str | int]:
    """Processor, cores, threads and PyTorch version.

    Example:
        >>> sorted(machine())
        ['cores', 'processor', 'threads', 'torch']
    """
    kind = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else platform.machine()
    return {
        "processor": kind,
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def add_machine(folder: Path, device: torch.device, processes: int) -> None:
    """Add this machine to those of a run, unless it is the last of them.

    Args:
        folder: of the run.
        device: of the training.
        processes: their number.
    """
    own = {**machine(device), "device": str(device), "processes": processes, "neuralop_irno": VERSION}
    known = read_machines(folder)
    if known[-1:] != [own]:
        checkpoint.write_json(folder / MACHINES, [*known, own])


def read_machines(folder: Path) -> list[dict[str, Any]]:
    """The machines of a run; none if their file is missing or damaged."""
    try:
        found = json.loads((folder / MACHINES).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
