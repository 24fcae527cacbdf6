"""Any module as a correction: x and h concatenated along the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.correction.correction import Correction, shape_or_type, zeroed
from neuralop_irno.correction.graph import JoinedOnGraph, on_graphs
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS


class Joined(Correction):
    """Phi(x, h) = module([x, h]), with a module of the user.

    Its weights are not modified: unlike the corrections by name, it need not start at zero.

    Args:
        module: takes ``(B, in + out, *S)`` or ``(N, in + out)``, and returns something laid out like h.

    Example:
        >>> phi = Joined(nn.Conv2d(3, 1, kernel_size=3, padding=1))
        >>> phi(torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 1, 8, 8])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        joined = torch.cat([x, h], 1)
        takes = _first_channels(self.module)
        if takes not in (None, joined.shape[1]):
            wanted = f"a correction of x and h joined, {x.shape[1]} + {h.shape[1]} channels"
            hint = f"in_channels={joined.shape[1]}"
            raise ValueError(expected(wanted, f"one of {takes} channels", hint))
        update = self.module(joined)
        if not isinstance(update, Tensor) or update.shape != h.shape:
            wanted = f"an update laid out like h {tuple(h.shape)}"
            hint = "a module that returns one channel for each of h"
            raise ValueError(expected(wanted, shape_or_type(update), hint))
        return update


class WithHead(Correction):
    """A module followed by a pointwise linear layer that starts at zero.

    Args:
        module: takes ``(B, in + out, *S)``, returns ``(B, features, *S)``.
        features: channels of its output.
        out_channels: channels of h.
    """

    def __init__(self, module: nn.Module, features: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.module = module
        self.head = zeroed(nn.Linear(features, out_channels))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        features = self.module(torch.cat([x, h], 1))
        update: Tensor = self.head(features.movedim(1, -1)).movedim(-1, 1)
        return update


def _first_channels(module: nn.Module) -> int | None:
    """``in_channels`` of a module, or of the first layer of an ``nn.Sequential``; None if not stated."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[0]
    channels = getattr(module, "in_channels", None)
    return channels if isinstance(channels, int) else None


def build_inner(
    correction: Any,
    in_channels: int,
    out_channels: int,
    dim: int | None,
    padding: str | Sequence[str] | None,
) -> Correction:
    """The correction inside a correction by name.

    Args:
        correction: name or config.
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions, if the correction has that option.
        padding: padding, if the correction has that option and its config does not set it.
    """
    known = {"in_channels": in_channels, "out_channels": out_channels, "dim": dim, "padding": padding}
    given = {name: value for name, value in known.items() if value is not None}
    return as_correction(CORRECTIONS.build(correction, **given))


def as_correction(part: Any) -> Correction:
    """A `Correction` unchanged; any other module as `Joined`, or as `JoinedOnGraph` if it takes a graph."""
    if hasattr(part, "_orig_mod"):
        hint = "correction.compile(), which compiles in place"
        raise TypeError(expected("a correction that is compiled in place", "one from torch.compile", hint))
    if isinstance(part, Correction):
        return part
    if isinstance(part, nn.Module):
        return JoinedOnGraph(part) if on_graphs(part) else Joined(part)
    wanted = "a correction"
    raise TypeError(expected(wanted, type(part).__name__, "a name, a config, or an nn.Module of [x, h]"))
