"""Checks of the arguments of a base: unknown names, NaN, complex numbers, point sets passed as grids."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.errors import did_you_mean, expected

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

BY_CHANNEL = (nn.Linear, nn.LayerNorm, nn.MultiheadAttention)
"""Layers whose weights have sizes of channels only."""

COLLATED = (Tensor, list, tuple, Mapping)
"""Types of the other entries of a sample after collation; single numbers become tensors."""


def check_finite(field: Tensor, name: str) -> None:
    """Raise if a field is not a dense real tensor or, on a CPU, has values that are not finite.

    A non-finite input is an error of the caller; a diverging iterate is an outcome. On other devices the
    check would synchronise, and is skipped: non-finite inputs give non-finite answers, which `solve` marks as
    ``NOT_FINITE``. Compiled and exported calls skip it too.
    """
    if not isinstance(field, Tensor):
        raise TypeError(expected(f"{name} as a tensor", type(field).__name__, f"torch.as_tensor({name})"))
    if field.layout is not torch.strided:
        raise TypeError(expected(f"{name} as a dense tensor", field.layout, f"{name}.to_dense()"))
    if field.is_complex():
        hint = f"torch.view_as_real({name}), the two parts as channels"
        raise TypeError(expected(f"{name} in real numbers", field.dtype, hint))
    if field.is_floating_point() and field.dtype.itemsize < 2:  # torch has no arithmetic for 8-bit floats
        raise TypeError(expected(f"{name} in 16 bits or more", field.dtype, f"{name}.float()"))
    if torch.compiler.is_compiling() or field.device.type != "cpu":
        return
    if not torch.isfinite(field).all():
        bad = int((~torch.isfinite(field)).sum())
        wanted = f"{name} to be finite"
        raise ValueError(expected(wanted, f"{bad} values that are NaN or infinite", "cleaning the data"))


def refuse_points(module: nn.Module, x: Tensor, h: Tensor, channels: str, given: Sequence[Any]) -> None:
    """Refuse a set of points ``(B, N, C)``, which would be refined as a one-dimensional grid of N points.

    With one axis, these indicate a set: coordinates of two or three numbers per point together with another
    argument per point; an answer or another argument with the N of x on its channel axis, and another number
    of channels behind it; a network whose layers act on single points, or on all of them without an order.

    Args:
        module: the base.
        x: the input, laid out like h.
        h: the answer, channels first.
        channels: channel axis of the base, ``first`` or ``last``.
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
        widths = {x.shape[2], h.shape[2], *by_point}
        a_set = located or (x.shape[1] == number > max(widths) and len(widths) > 1)
    if a_set:
        ways = "irno.PointOperator(base, fields=.., pos=..)", "a graph"
        hint = f"{', '.join(ways)}, or layout='B L C' or a function around the base for a line"
        raise ValueError(expected("a field on a grid", f"one on a set of {number} points, (B, N, C)", hint))


def unordered(module: nn.Module, number: int) -> bool:
    """Whether a module has linear layers but no layer for an ordered axis of ``number`` points.

    Layers with as many channels as there are points say nothing of an order.
    """
    parts = list(module.modules())
    along = any(isinstance(p, CONVOLUTIONS) and max(p.kernel_size) > 1 for p in parts)
    ordered = along or any(isinstance(p, nn.RNNBase) for p in parts)
    by_channel = {id(t) for p in parts if isinstance(p, BY_CHANNEL) for t in p.parameters(recurse=False)}
    others = [t for t in (*module.parameters(), *module.buffers()) if id(t) not in by_channel]
    # A spectral layer has complex weights; an embedding of places has the length of the line.
    ordered = ordered or any(t.is_complex() or number in t.shape for t in others)
    return not ordered and any(isinstance(p, nn.Linear) for p in parts)


def graph_among(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The graph among the arguments of a call, if there is one."""
    for value in (*args, *kwargs.values()):
        if any(c.__module__.startswith("torch_geometric.data.") for c in type(value).__mro__):
            return value
    return None


def refuse_graphs(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse a graph for a base on grids."""
    if graph_among(args, kwargs) is not None or kwargs.get("edge_index") is not None:
        kind = type(module).__name__.strip("_")
        hint = "a base on graphs (model_arch: rigno), or irno.GraphOperator(base)"
        raise TypeError(expected("a field on a grid", f"a graph for {kind}, a base on grids", hint))


def refuse_unread(
    keys: Iterable[str],
    given: Mapping[str, Any],
    method: Callable[..., Any],
    read: Iterable[str],
    solve: Callable[..., Any],
    sample: bool,
) -> None:
    """Raise TypeError for a keyword argument of a call that is not read.

    Args:
        keys: the names that are not read.
        given: all keyword arguments by name.
        method: what was called.
        read: the names that the base reads.
        solve: the method whose own arguments are named where one of them is meant.
        sample: whether the arguments are a collated sample: its entries are then left out, unless their
            names resemble one that is read.
    """
    names = [*read, *_keywords(method)]
    for key in keys:
        meant = get_close_matches(key, [*names, *_keywords(solve)], n=1, cutoff=0.8)
        if sample and isinstance(given[key], COLLATED) and not meant:
            continue
        hint = f"{did_you_mean(key, names)}, or IterativeRefiner(..., ignore=[{key!r}])"
        if meant and meant[0] not in names:
            hint = f"model.solve(..., {meant[0]}=...), which takes it, or {hint}"
        raise TypeError(expected(f"an argument of {method.__name__}", repr(key), hint))


def _keywords(method: Callable[..., Any]) -> list[str]:
    """The names of a method's own keyword arguments."""
    return [p.name for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY]
