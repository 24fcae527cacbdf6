"""Limits on the size of models built from a config, checked during construction."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from neuralop_irno.errors import expected

MOST_MODULES = 5_000
"""Largest number of modules of a model. The package's largest has some hundreds; each takes about 1 ms."""


def memory() -> int:
    """The memory of the machine in bytes, or the limit of this process if that is lower.

    Example:
        >>> memory() > 2**20
        True
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return whole if limit == resource.RLIM_INFINITY else min(whole, limit)


def free_memory() -> int:
    """The memory in bytes that is free on this machine, or could be freed; all of it where Linux is not.

    Example:
        >>> 2**20 < free_memory() <= memory()
        True
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return memory()
    return min(memory(), available, _left_to_group())


def _left_to_group() -> int:
    """What the limit of this process's group leaves, in a container; otherwise the memory of the machine."""
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such group, or no limit: "max"
        return memory()


def refuse_too_large(what: str, numbers: float, hint: str) -> None:
    """Raise ValueError for data that would not fit in memory, before they are allocated.

    Args:
        what: the data, as a noun phrase in the plural.
        numbers: how many numbers of four bytes they need.
        hint: what the user can do.

    Example:
        >>> refuse_too_large("flows", 1e30, "fewer frames")
        Traceback (most recent call last):
        ValueError: expected flows that fit in memory, got 1e+30 numbers; try fewer frames
    """
    if not 4 * numbers <= memory():
        raise ValueError(expected(f"{what} that fit in memory", f"{numbers:.0e} numbers", hint))


@contextmanager
def within_budget() -> Iterator[None]:
    """A context in which models with too many modules, or with weights beyond the memory, are refused.

    Example:
        >>> from torch import nn
        >>> with within_budget():
        ...     _ = nn.ModuleList(nn.ReLU() for _ in range(100_000))
        Traceback (most recent call last):
        ValueError: expected a model of at most 5000 modules, got more; try fewer layers
    """
    modules, taken, most = 0, 0, memory()

    def count_module(parent: Any, name: str, module: Any) -> None:
        nonlocal modules
        modules += 1
        if modules > MOST_MODULES:
            raise ValueError(expected(f"a model of at most {MOST_MODULES} modules", "more", "fewer layers"))

    def count_weights(module: Any, name: str, weight: Any) -> None:
        nonlocal taken
        # None and uninitialised lazy weights have no size.
        taken += weight.numel() * weight.element_size() if hasattr(weight, "untyped_storage") else 0
        if taken > most:
            wanted, got = f"weights of at most {most / 2**30:.0f} GiB", f"{taken / 2**30:.0f} GiB or more"
            raise ValueError(expected(wanted, got, "fewer channels"))

    hooks = (
        register_module_module_registration_hook(count_module),
        register_module_parameter_registration_hook(count_weights),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
