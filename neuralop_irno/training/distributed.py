"""Training in one process or in several: devices, shares of batches, sums of gradients."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from neuralop_irno.errors import expected


def local_device(device: torch.device | str) -> torch.device:
    """The device of this process: under torchrun, which sets LOCAL_RANK, each process gets its own GPU.

    Args:
        device: where to train. ``cuda`` without an index means one GPU for each process.

    Raises:
        ValueError: there are more processes than GPUs, or all of them would share one.

    Example:
        >>> local_device("cpu")
        device(type='cpu')
    """
    device = torch.device(device)
    rank, processes = (int(os.environ.get(f"LOCAL_{word}", default)) for word, default in _LOCAL.items())
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    if device.index is not None and processes > 1:
        raise ValueError(
            expected("one GPU for each process", f"{device} for all {processes}", "the device cuda")
        )
    if processes > torch.cuda.device_count():
        raise ValueError(
            expected(
                "at most as many processes as GPUs",
                f"{processes} processes and {torch.cuda.device_count()} GPUs",
                f"torchrun --nproc-per-node {torch.cuda.device_count()}",
            )
        )
    return device if device.index is not None else torch.device("cuda", rank)


_LOCAL = {"RANK": "0", "WORLD_SIZE": "1"}


@dataclass(frozen=True)
class Peers:
    """The processes that train together.

    Attributes:
        rank: the rank of this process, from 0.
        world: the number of processes.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Peers:
        """Join the processes that torchrun started; without torchrun a single process.

        Args:
            device: of this process; see `local_device`.
        """
        if "RANK" not in os.environ or not dist.is_available():
            return cls()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    def answers_for(self, rank: int) -> bool:
        """Whether this process removes the files of a rank: its own, or the first those beyond the last."""
        return rank == self.rank or (self.first and rank >= self.world)

    def total(self, value: Tensor) -> Tensor:
        """The sum of a value over all processes."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def gather(self, content: Any) -> list[Any]:
        """Plain data of all processes, by rank."""
        found: list[Any] = [content] * self.world
        if self.world > 1:
            dist.all_gather_object(found, content)
        return found

    def add_gradients(self, parameters: Sequence[nn.Parameter], numbers: Tensor) -> Tensor:
        """Sum gradients over all processes, in place, and return the sums of some numbers.

        A parameter without a gradient in one process counts as zero there (one that belongs to a step which
        only another process took); without a gradient in all of them it stays without one.

        Args:
            parameters: in the same order in all processes.
            numbers: ``(n,)``, float64.
        """
        if self.world == 1:
            return numbers
        has = torch.tensor([float(p.grad is not None) for p in parameters]).to(numbers)
        sums = self.total(torch.cat([numbers, has]))
        used = [p for p, count in zip(parameters, sums[len(numbers) :].tolist(), strict=True) if count]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        _flat([p.grad for p in used if p.grad is not None], dist.all_reduce)
        return sums[: len(numbers)]

    def share_out(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors of all processes by those of the first one, in place."""
        if self.world > 1:
            _flat([tensor.detach() for tensor in tensors], lambda flat: dist.broadcast(flat, 0))

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        if self.world > 1:
            dist.barrier()


def _flat(tensors: Iterable[Tensor], act: Callable[[Tensor], object]) -> None:
    """Apply a collective in place, on one flat tensor per dtype: few large messages."""
    groups: defaultdict[torch.dtype, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        plain = real.view(torch.uint8) if real.dtype == torch.bool else real
        groups[plain.dtype].append(plain)
    for group in groups.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        act(flat)
        for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
            tensor.copy_(part.view(tensor.shape))
