"""Tensors that several processes hold in parts: put together for files, and taken from whole ones."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from neuralop_irno.errors import expected

Method = TypeVar("Method", bound=Callable[..., Any])

GROUPS = "_weight_groups"
"""The attribute of a part of a model with the groups of its weights; see `neuralop_irno.parallel`."""


def reads_weights(method: Method) -> Method:
    """Let a method of a refiner gather its weights, once for a call, if they are in parts."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        groups = self.__dict__.get(GROUPS)
        if groups is None:
            return method(self, *args, **kwargs)
        return groups.over(functools.partial(method, self), args, kwargs)

    return cast(Method, call)


def needs_whole_weights(method: Method) -> Method:
    """Let a method raise RuntimeError if its refiner's weights are in parts, and not gathered."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        groups = self.__dict__.get(GROUPS)
        if groups is not None and not groups.inside:
            hint = "with irno.parallel.gathered(model): .."
            raise RuntimeError(expected(f"whole weights for {method.__name__}", "a sharded model", hint))
        return method(self, *args, **kwargs)

    return cast(Method, call)


def is_part(tensor: Any) -> bool:
    """Whether a process holds a part of this tensor only (a ``DTensor``).

    Example:
        >>> is_part(torch.zeros(2))
        False
    """
    # Importing DTensor takes time; without it there is none.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole_tensor(tensor: Tensor) -> Tensor:
    """A tensor with all of its parts, in every process; a call of all processes if it is in parts."""
    if not is_part(tensor):
        return tensor
    with torch.no_grad():
        part: Any = tensor.detach()
        if part.is_complex():  # NCCL has no complex numbers
            pairs: Any = torch.view_as_real(part)
            return torch.view_as_complex(pairs.full_tensor())
        whole: Tensor = part.full_tensor()
        return whole


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`whole_tensor` of each, those in parts on the CPU.

    Example:
        >>> whole({"weight": torch.ones(1)})
        {'weight': tensor([1.])}
    """
    return {
        name: whole_tensor(tensor).cpu() if is_part(tensor) else tensor for name, tensor in tensors.items()
    }


def divided(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, divided as another one is; the same in all processes.

    Args:
        tensor: whole; one in parts is returned as it is.
        like: of the same shape; if it is whole, the tensor stays whole.
    """
    if not is_part(like) or is_part(tensor) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    own: Any = like
    part: Tensor = distribute_tensor(
        tensor.detach().to(own.device), own.device_mesh, own.placements, src_data_rank=None
    )
    return part


def divided_like(tensors: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`divided` for tensors by name; entries of other names are left as they are."""
    return {
        name: divided(value, own[name]) if isinstance(value, Tensor) and name in own else value
        for name, value in tensors.items()
    }


def writes_files(tensors: Iterable[Tensor]) -> bool:
    """Whether this process writes the files of a model: the first of those that hold its parts."""
    part: Any = next(filter(is_part, tensors), None)
    return part is None or part.device_mesh.get_rank() == int(part.device_mesh.mesh.flatten()[0])


def wait_for_others(tensors: Iterable[Tensor]) -> None:
    """Wait until all processes that hold parts of the same tensors have reached this call."""
    part: Any = next(filter(is_part, tensors), None)
    if part is not None:
        torch.distributed.barrier(part.device_mesh.get_group())
