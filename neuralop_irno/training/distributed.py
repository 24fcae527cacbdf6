"""One process or many: what the trainer needs to know of its peers."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Peers:
    """The processes that train together.

    Attributes:
        rank: the place of this one.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Peers:
        """Join the processes that torchrun started; alone without it."""
        if "RANK" not in os.environ or not dist.is_available():
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    def together(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over the processes."""
        return DistributedDataParallel(model) if self.world > 1 else model

    def share(self, index: Tensor) -> Tensor:
        """This process's part of a batch of sample numbers."""
        return index[self.rank :: self.world]

    def total(self, value: Tensor) -> Tensor:
        """The sum of a value over all processes."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.world > 1:
            dist.barrier()
