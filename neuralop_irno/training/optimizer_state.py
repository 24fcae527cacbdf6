"""The state of an optimizer as tensors by name, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from neuralop_irno.checkpoint import tensors_only
from neuralop_irno.sharded import divided


def flat_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The tensors of an optimizer's state, ``optimizer.<parameter>.<key>``, and its groups as plain data.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.SGD([weight], momentum=0.9)
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> list(flat_state(optimizer)[0])
        ['optimizer.0.momentum_buffer']
    """
    content = optimizer.state_dict()
    tensors = {
        f"optimizer.{place}.{key}": value
        for place, state in content["state"].items()
        for key, value in state.items()
    }
    return tensors, content["param_groups"]


def restore(optimizer: Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> None:
    """Load what `flat_state` returned; tensors of other names are ignored.

    The optimizer of a sharded model takes its parts of whole tensors.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors_only(tensors, "optimizer.").items():
        place, key = name.split(".", 1)
        state.setdefault(int(place), {})[key] = divided(value, weights[int(place)])
    optimizer.load_state_dict({"state": state, "param_groups": groups})
