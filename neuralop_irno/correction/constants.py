"""Lipschitz constants in h of corrections by name, composed from the norms of their layers.

Unlike those of `neuralop_irno.lipschitz.constants` they have gradients with respect to the weights, and there
is one for each sample where they depend on its graph. Layers are composed with x, positions and attributes of
edges held constant: constants of consecutive layers are multiplied, those of a sum are added, and those of
concatenated channels are added in square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache, singledispatch
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.correction.antialias import doubled, halved
from neuralop_irno.correction.mgno import MgNO
from neuralop_irno.correction.unet import UNet
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.padding import beside_poles
from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.constants import CONSTANTS
from neuralop_irno.lipschitz.norms import operator_norm_of
from neuralop_irno.models.multigrid import MultigridCycle, SeparableProlongation

GELU = CONSTANTS[nn.GELU]


class Where(NamedTuple):
    """The domain that a constant holds on.

    Attributes:
        shape: cells along each axis of a grid; empty on graphs.
        domain: the graphs; None on grids.
    """

    shape: tuple[int, ...]
    domain: GraphDomain | None = None

    @classmethod
    def of(cls, x: Tensor, domain: Domain) -> Where:
        """The place of x."""
        return cls((), domain) if isinstance(domain, GraphDomain) else cls(tuple(x.shape[2:]))


@singledispatch
def constant_in_h(part: nn.Module, where: Where) -> Tensor:
    """An upper bound on the Lipschitz constant of a correction in h, or of a part of one in its input.

    Args:
        part: the correction or layer; register your own with ``@constant_in_h.register``.
        where: the domain.

    Shapes:
        - returns: a scalar, or ``(samples,)`` on graphs

    Raises:
        TypeError: a layer has no rule; its type is named.

    Example:
        >>> layers = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
        >>> _ = nn.init.eye_(layers[0].weight)
        >>> round(constant_in_h(layers, Where(())).item(), 2)
        1.0
    """
    slope = CONSTANTS.get(type(part))
    if slope is not None:
        return torch.tensor(slope)
    norm = operator_norm_of(part)
    if norm is None:
        raise unbounded(part)
    return norm.of(part)


def unbounded(part: nn.Module, hint: str = "unet with norm: none, mgno, fno or pyg:GraphSAGE") -> TypeError:
    """The error for a layer without a rule."""
    wanted = "a correction whose layers all have a known Lipschitz constant"
    return TypeError(expected(wanted, f"one with {type(part).__name__}", hint))


def product(parts: Iterable[nn.Module], where: Where) -> Tensor:
    """The constant of consecutive layers."""
    return math.prod((constant_in_h(part, where) for part in parts), start=torch.ones(()))


@constant_in_h.register
def _(part: nn.Sequential, where: Where) -> Tensor:
    return product(part, where)


@constant_in_h.register
def _(part: nn.LayerNorm | nn.GroupNorm, where: Where) -> Tensor:
    raise unbounded(part, "norm: none, if the correction has that option")


@constant_in_h.register
def _(part: UNet, where: Where) -> Tensor:
    if part.across_poles or part.film is not None:
        raise unbounded(part.film or part, "a flat grid, and no scalars")
    total = _twice(part.entry, where)
    if part.coarse is not None:
        total = total * _coarse(part.coarse, where, part.padding)
    return total * constant_in_h(part.last, where)


def _twice(part: Any, where: Where) -> Tensor:
    """Convolution, norm and gelu, twice."""
    layers = (part.first, part.first_norm, part.second, part.second_norm)
    return product(layers, where) * GELU**2


def _coarse(part: Any, where: Where, modes: tuple[str, ...]) -> Tensor:
    """The coarse part of a U-Net, on a grid, with the skip connection."""
    below = Where(tuple((n + 1) // 2 for n in where.shape))
    inner = _twice(part.down, below)
    if part.coarser is not None:
        inner = inner * _coarse(part.coarser, below, beside_poles(modes))
    inner = inner * constant_in_h(part.get_submodule(part.merging), where)
    smooth = part.merging == "merge"
    for n, mode in zip(where.shape, modes, strict=True):
        inner = inner * _resizing(n, mode, smooth)
    return _twice(part.up, where) * (1 + inner.square()).sqrt()


@cache
def _resizing(n: int, mode: str, smooth: bool) -> float:
    """A bound on the norm of halving an axis of n cells, times that of doubling it.

    All weights are positive, and the square of a norm is at most the largest sum of a row times that of a
    column (Schur's test).
    """
    if not smooth:  # the last cell of an odd axis is copied, pairs are averaged
        return math.sqrt(2) if n % 2 else 1.0
    half: Callable[[Tensor], Tensor] = lambda field: halved(field, [mode])  # noqa: E731
    double: Callable[[Tensor], Tensor] = lambda field: doubled(field, [n], [mode])  # noqa: E731
    found = 1.0
    with torch.inference_mode(False), torch.enable_grad():
        for resize, size in ((half, n), (double, (n + 1) // 2)):
            field = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
            rows = resize(field)
            (columns,) = torch.autograd.grad(rows.sum(), field)
            found *= math.sqrt(rows.max().item() * columns.max().item())
    return found


@constant_in_h.register
def _(part: MgNO, where: Where) -> Tensor:
    if part.across_poles or part.film is not None:
        raise unbounded(part.film or part, "a flat grid, and no scalars")
    total = constant_in_h(part.lift, where)
    for cycle, linear in zip(part.cycles, part.maps, strict=True):
        total = total * GELU * (constant_in_h(cycle, where) + constant_in_h(linear, where))
    return total * constant_in_h(part.last, where)


@constant_in_h.register
def _(part: MultigridCycle, where: Where) -> Tensor:
    smooth = constant_in_h(part.smooth, where)
    if part.coarse is None:
        return smooth
    operator = constant_in_h(part.operator, where)
    below = constant_in_h(part.restrict, where) * (1 + operator * smooth)
    once = constant_in_h(part.coarse, where)
    error = once * below
    for _ in range(part.visits - 1):
        error = error + once * (below + constant_in_h(part.coarse.operator, where) * error)
    u = smooth + constant_in_h(part.prolong, where) * error
    return u + constant_in_h(part.smooth_again, where) * (1 + operator * u)


@constant_in_h.register
def _(part: SeparableProlongation, where: Where) -> Tensor:
    return constant_in_h(part.mix, where) * constant_in_h(part.alone, where)


FUNCTIONS: dict[Any, float] = {
    F.gelu: GELU,
    F.silu: CONSTANTS[nn.SiLU],
    F.relu: 1.0,
    torch.relu: 1.0,
    torch.tanh: 1.0,
    F.softplus: 1.0,
}
"""Maximum slopes of activations that are functions."""


def slope_of(part: nn.Module, function: Any) -> float:
    """The maximum slope of an activation, a function or a module."""
    slope = CONSTANTS.get(type(function)) if isinstance(function, nn.Module) else FUNCTIONS.get(function)
    if slope is None:
        name = getattr(function, "__name__", type(function).__name__)
        wanted = f"an activation with a known slope in {type(part).__name__}"
        raise TypeError(expected(wanted, name, "torch.nn.functional.gelu"))
    return slope
