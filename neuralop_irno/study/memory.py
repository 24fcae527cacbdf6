"""Peak memory of the tensors that a function allocates."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MIB = 2**20


def peak_mib(work: Callable[[], object], device: str = "cpu") -> float:
    """The peak memory of tensors allocated during a call, in MiB, not counting earlier ones.

    On a GPU it is read from the allocator. On a CPU, where freed memory stays with the process, allocations
    and deletions of tensors are tracked instead; temporary memory inside kernels is not counted.

    Example:
        >>> x = torch.zeros(2**18)
        >>> peak_mib(lambda: [x + 1, x + 2]), peak_mib(lambda: x.add_(1))
        (2.0, 0.0)
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    with _Watch() as watch:
        work()
    return watch.most / MIB


class _Watch(TorchDispatchMode):
    """Tracks the storage that every operation allocates, until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            self._meet(tensor, new=False)
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            self._meet(tensor, new=True)
        return made

    def _meet(self, tensor: Any, new: bool) -> None:
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        place = storage.data_ptr()  # views share the storage
        if place in self._sizes:
            return
        self._sizes[place] = storage.nbytes() if new else 0
        self.now += self._sizes[place]
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, place)

    def _forget(self, place: int) -> None:
        self.now -= self._sizes.pop(place, 0)
