"""What a call of a base may not be given: holes, complex numbers, sets of points as if they were lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def check_finite(field: Tensor, name: str) -> None:
    """Refuse what is no real field; and, on a CPU, values that are not finite.

    An input with holes is an error of the caller; an iterate that blows up is an outcome. On other devices
    looking would wait for all work that is queued there: holes end up in the answer, and `solve` marks their
    samples ``NOT_FINITE``. Compiled and exported calls do not look either.
    """
    if not isinstance(field, Tensor):
        raise TypeError(expected(f"{name} as a tensor", type(field).__name__, f"torch.as_tensor({name})"))
    if field.layout is not torch.strided:
        raise TypeError(expected(f"{name} as a dense tensor", field.layout, f"{name}.to_dense()"))
    if field.is_complex():
        hint = f"torch.view_as_real({name}), the two parts as channels"
        raise TypeError(expected(f"{name} in real numbers", field.dtype, hint))
    if field.is_floating_point() and field.dtype.itemsize < 2:  # torch computes nothing in them
        raise TypeError(expected(f"{name} in 16 bits or more", field.dtype, f"{name}.float()"))
    if torch.compiler.is_compiling() or field.device.type != "cpu":
        return
    if not torch.isfinite(field).all():
        bad = int((~torch.isfinite(field)).sum())
        raise ValueError(
            expected(f"{name} to be finite", f"{bad} values that are NaN or infinite", "cleaning the data")
        )


def refuse_points(module: nn.Module, x: Tensor, h: Tensor, channels: str, given: Sequence[Any]) -> None:
    """Refuse a set of points ``(B, N, C)``, which would be refined as if it were a line of N grid points.

    On one axis these are signs of a set: coordinates of two or three numbers for each point beside another
    argument for each point; an answer with the x's N where its channels were said to be; a network whose
    layers act on single points, or on all of them without an order.

    Args:
        module: the base.
        x: the input, laid out like h.
        h: the answer, channels first.
        channels: where the base has its own.
        given: all arguments of the call.
    """
    if h.dim() != 3:
        return
    number = h.shape[-1] if channels == "last" else h.shape[1]
    tensors = [part for part in given if isinstance(part, Tensor) and part.dim() in (2, 3)]
    by_point = [part.shape[-1] for part in tensors if part.shape[-2] == number]
    located = len(by_point) > 1 and bool({2, 3} & set(by_point))
    if channels == "last":
        a_set = located or unordered(module, number)
    else:
        a_set = located or (x.shape[1] == number > max(x.shape[2], h.shape[2]) and x.shape[2] != h.shape[2])
    if a_set:
        hint = "a base called with x (N, C), pos and batch; or a function around it, if they are a line"
        raise ValueError(expected("a field on a grid", f"one on a set of {number} points, (B, N, C)", hint))


def unordered(module: nn.Module, number: int) -> bool:
    """Whether linear layers are all that a module has along an axis of so many points."""
    parts = list(module.modules())
    tensors = [*module.parameters(), *module.buffers()]
    along = any(isinstance(p, CONVOLUTIONS) and max(p.kernel_size) > 1 for p in parts)
    ordered = along or any(isinstance(p, nn.RNNBase) for p in parts)
    # A spectral layer has complex weights; a position embedding or a map of the whole line has its length.
    ordered = ordered or any(t.is_complex() or number in t.shape for t in tensors)
    return not ordered and any(isinstance(p, nn.Linear) for p in parts)


def graph_among(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The graph among the arguments of a call, if there is one."""
    for value in (*args, *kwargs.values()):
        if any(c.__module__.startswith("torch_geometric.data.") for c in type(value).__mro__):
            return value
    return None


def refuse_graphs(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse a graph for a base that is called as one on a grid: nothing in it shows that it takes graphs."""
    if graph_among(args, kwargs) is not None or kwargs.get("edge_index") is not None:
        kind = type(module).__name__.strip("_")
        got = f"a graph for a base ({kind}) in which nothing shows that it takes one"
        hint = "OnGraphs(base) of neuralop_irno.base.pyg as the base"
        raise TypeError(expected("a field on a grid", got, hint))
