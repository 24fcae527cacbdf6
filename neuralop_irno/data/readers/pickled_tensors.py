"""Read tensors of PyTorch from plain pickles without running code in them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from neuralop_irno.data.readers.pickled import ADMITTED, DAMAGE, Stored, Unpickler, array_of, damaged
from neuralop_irno.errors import DamageError


class _Storage(Stored):
    """The bytes of a storage, as `torch.save` writes them."""


class _Tensor(Stored):
    """The arguments that a tensor is rebuilt from: storage, offset, size, stride and others."""


def _no_hooks() -> dict[Any, Any]:
    return {}


class _OfTensors(Unpickler):
    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {
        **ADMITTED,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
        ("torch.storage", "_load_from_bytes"): _Storage,
        ("collections", "OrderedDict"): _no_hooks,
    }


def read_tuples(path: Path, parts: int) -> list[tuple[NDArray[Any], ...]]:
    """A list of tuples, whose parts are tensors, numpy arrays or lists of whole numbers.

    Args:
        path: a file written by ``pickle.dump``.
        parts: the parts of each tuple.

    Raises:
        ValueError: the file holds something else, is damaged, or names other functions.
    """
    try:
        content = _OfTensors(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        if not isinstance(content, list):
            raise DamageError(f"a {type(content).__name__}")
        for each in content:
            if not isinstance(each, (tuple, list)) or len(each) != parts:
                raise DamageError(f"a {type(each).__name__} in place of a tuple of {parts}")
        return [tuple(_numbers(part) for part in each) for each in content]
    except (*DAMAGE, RuntimeError) as error:
        raise damaged(path, f"a list of tuples of {parts} tensors", error) from error


def _numbers(part: Any) -> NDArray[Any]:
    if isinstance(part, _Tensor):
        return _tensor(*part.arguments[:4])
    if isinstance(part, list):
        if not all(type(number) is int for number in part):
            raise DamageError("a list of something else than whole numbers")
        return np.array(part, dtype=np.int64)
    return array_of(part)


def _tensor(stored: Any, offset: Any, size: Any, stride: Any) -> NDArray[Any]:
    """The numbers of a tensor, which may not reach beyond its storage."""
    if not isinstance(stored, _Storage):
        raise DamageError(f"a {type(stored).__name__.strip('_')} in place of a storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(number) is int and number >= 0 for number in numbers):
        raise DamageError(f"a tensor of the size {size} with the strides {stride}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of torch, about its own class of storages
        storage = torch.load(io.BytesIO(stored.arguments[0]), map_location="cpu", weights_only=True)
        known = torch.empty(0, dtype=storage.dtype).set_(storage)
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if prod(size) > len(known) or (prod(size) and last >= len(known)):
        raise DamageError(f"a tensor of the size {size} in {len(known)} numbers")
    return known.as_strided(size, stride, offset).numpy().copy()
