"""SHA-256 digests of tensors, plain data and files.

Files that are read back or continued contain the digests of their content and of the data they belong to.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ENDS = 2**20
"""Bytes read at each end of a data file; reading many GB would take minutes."""


def of_json(content: Any) -> str:
    """The digest of plain data, independent of the order of keys.

    Example:
        >>> of_json({"a": 1, "b": 2}) == of_json({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The digest of the names, dtypes, shapes and bytes of tensors.

    Example:
        >>> of_tensors({"w": torch.zeros(2)}) == of_tensors({"w": torch.tensor([0.0, -0.0])})
        False
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def of_file(path: str | os.PathLike[str], whole: bool = False) -> dict[str, Any]:
    """The name, the size and the digest of a file.

    Args:
        path: the file.
        whole: read all bytes instead of only the first and the last MiB.

    Returns:
        ``{"name": .., "size": .., "ends": ..}``, or with ``whole`` in place of ``ends``.
    """
    source = Path(path)
    size = source.stat().st_size
    total = hashlib.sha256()
    with source.open("rb") as file:
        if whole:
            while block := file.read(ENDS):
                total.update(block)
        else:
            total.update(file.read(ENDS))
            file.seek(max(size - ENDS, 0))
            total.update(file.read(ENDS))
    return {"name": source.name, "size": size, "whole" if whole else "ends": total.hexdigest()}
