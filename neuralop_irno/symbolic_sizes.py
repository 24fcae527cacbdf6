"""Layers traced for files: with sizes that are symbols, so that an exported graph takes others.

Three parts of neuraloperator read sizes as numbers: the order of a contraction, the grid that is remembered
from the last call, and `torch.linspace`. In a loop that is part of a graph, the grid may not be remembered
and a part of the weights may not become a module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import opt_einsum
import tensorly as tl
import torch
from tltorch.factorized_tensors.factorized_tensors import DenseTensor
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import optimization_hint
from torch.overrides import TorchFunctionMode

OF_EMBEDDINGS = ("grid", "grid_boundaries", "_grid", "_res")
"""What the embeddings of grids have, and no other layer."""


@contextmanager
def symbolic_sizes(model: nn.Module) -> Iterator[None]:
    """Trace a model inside of the block, in which embeddings of grids remember none.

    Args:
        model: it may contain layers of neuraloperator.
    """
    embeddings = [part for part in model.modules() if all(hasattr(part, name) for name in OF_EMBEDDINGS)]
    for part in embeddings:
        vars(part)["grid"] = partial(_grid_of, part)
    part_of_weights = DenseTensor.__getitem__
    DenseTensor.__getitem__ = _tensor_at  # in place of a new module, which a loop in a graph may not make
    manager, before = tl.backend.BackendManager, tl.backend.current_backend().einsum
    manager.register_backend_method("einsum", _contracted)
    try:
        with _Linspace():
            yield
    finally:
        manager.register_backend_method("einsum", before)
        DenseTensor.__getitem__ = part_of_weights
        for part in embeddings:
            del vars(part)["grid"]


def _tensor_at(weights: Any, places: Any) -> Tensor:
    part: Tensor = weights.to_tensor()[places]
    return part


class _Unremembered:
    """What the method ``grid`` of an embedding reads and writes."""

    def __init__(self, grid_boundaries: Any) -> None:
        self.grid_boundaries, self._grid, self._res = grid_boundaries, None, None


def _grid_of(embedding: Any, *args: Any, **kwargs: Any) -> Any:
    """The grid of an embedding, which stays as it was: a loop in a graph changes nothing outside of it."""
    return type(embedding).grid(_Unremembered(embedding.grid_boundaries), *args, **kwargs)


def _contracted(equation: str, *operands: Tensor) -> Tensor:
    """``einsum`` in the order that is best for the sizes of the example."""
    if len(operands) == 2:
        return torch.einsum(equation, *operands)  # there is one order
    shapes = [[optimization_hint(size) for size in each.shape] for each in operands]
    result: Tensor = opt_einsum.contract_expression(equation, *shapes, optimize="optimal")(*operands)
    return result


class _Linspace(TorchFunctionMode):
    """`torch.linspace` for a number of points that is a symbol."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if function is torch.linspace and len(args) == 3 and isinstance(args[2], torch.SymInt):
            return linspace(*args, **named)
        return function(*args, **named)


class ContiguousVolumes(TorchFunctionMode):
    """Convolutions in 3-D of contiguous tensors, for AOTInductor reads others in wrong order (torch 2.13)."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is torch.conv3d:
            args = (*(part.contiguous() for part in args[:2]), *args[2:])
        return function(*args, **dict(kwargs or {}))


def linspace(start: float, end: float, steps: Any, **options: Any) -> Tensor:
    """`torch.linspace` by its formula, from both ends to the middle.

    Example:
        >>> torch.equal(linspace(0, 1, 33), torch.linspace(0, 1, 33))
        True
    """
    place = torch.arange(steps, **{"dtype": torch.get_default_dtype(), **options})
    step = torch.full_like(place, end - start) / (steps - 1)
    return torch.where(place < steps // 2, start + step * place, end - step * (steps - 1 - place))
