"""What a model costs: arithmetic, memory, and the machine that it was measured on."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.batches import Sample, load_all, to_device

MIB = 2**20


def answer(model: nn.Module, sample: Sample) -> Any:
    """The answer to a sample without its y, of which a model gets what it takes."""
    call = model if isinstance(model, IterativeRefiner) else wrap_operator(model, frozen=False)
    return call(**sample)


def device_of(model: nn.Module) -> torch.device:
    """Where a model is."""
    return next(model.parameters(), torch.zeros(())).device


@torch.no_grad()
def megaflops(model: nn.Module, data: Dataset[Sample]) -> float:
    """The arithmetic of one answer to one sample; of a refiner, that on top of its base.

    Torch counts matrix products and convolutions. Fourier transforms and pointwise work are free.

    Example:
        >>> from neuralop_irno.data.dataset import FieldDataset
        >>> megaflops(nn.Conv1d(1, 1, 1), FieldDataset(torch.zeros(1, 1, 500), torch.zeros(1, 1, 500)))
        0.001
    """
    training = model.training
    model.eval()
    _, sample = next(load_all(data, 1))
    sample = to_device(sample, device_of(model))
    sample.pop("y")
    total = _count(model, sample)
    if isinstance(model, IterativeRefiner):
        total -= _count(model.base, sample)
    model.train(training)
    return total / 1e6


def _count(model: nn.Module, sample: Sample) -> int:
    with FlopCounterMode(display=False) as counter:
        answer(model, sample)
    return counter.get_total_flops()


def forget_peak(device: str = "cpu") -> None:
    """Let `peak_mib` start anew, as far as the system can."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # other systems, and containers that forbid it
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the largest resident set


def peak_mib(device: str = "cpu") -> float:
    """The most memory since `forget_peak`, in MiB: a GPU's tensors, or the resident set of this process."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine(device: str = "cpu") -> dict[str, str | int]:
    """The kind of machine, and of PyTorch.

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
