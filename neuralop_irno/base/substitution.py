"""Replace tensors among the arguments of a call, also those that a graph in it holds."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from neuralop_irno.errors import expected


def with_tensors(
    args: Sequence[Any], kwargs: Mapping[str, Any], changes: Sequence[tuple[Tensor, Tensor]]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call with other tensors; graphs are copied, and keep all other parts.

    Args:
        args: positional arguments.
        kwargs: keyword arguments.
        changes: the tensors to replace, and those to put in their places.

    Raises:
        ValueError: a tensor is not an argument, or is several of them.

    Example:
        >>> import torch
        >>> x, half = torch.ones(2), torch.full((2,), 0.5)
        >>> with_tensors((x, 3), {"other": x + 1}, [(x, half)])
        ([tensor([0.5000, 0.5000]), 3], {'other': tensor([2., 2.])})
    """
    places: list[Any] = [dict(enumerate(args)), dict(kwargs)]
    for arguments in tuple(places):
        for key, value in arguments.items():
            if hasattr(value, "stores"):  # a graph of PyTorch Geometric
                arguments[key] = copy.copy(value)
                places += arguments[key].stores
    for old, new in changes:
        found = [(place, key) for place in places for key, value in place.items() if value is old]
        if len(found) != 1:
            hint = "x=x.clone(), a tensor of its own, as an argument of the call"
            raise ValueError(expected("the input as one argument of the call", f"{len(found)}", hint))
        place, key = found[0]
        place[key] = new
    return list(places[0].values()), places[1]
