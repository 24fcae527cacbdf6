"""Lipschitz constants of each type of layer, used by `lipschitz_bound`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from torch import nn

from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.graph import Graph
from neuralop_irno.lipschitz.layers import MaxMin, Residual
from neuralop_irno.lipschitz.norms import operator_norm_of


@singledispatch
def constant_of(module: nn.Module, graph: Graph | None) -> float:
    """The Lipschitz bound of one type of module; call `lipschitz_bound` instead.

    Args:
        module: the layer.
        graph: the graph of graph convolutions; pass it on to submodules.

    Example:
        >>> constant_of(nn.ReLU(), graph=None)
        1.0
    """
    kind = type(module)
    constant = CONSTANTS.get(kind)
    if constant is not None:
        return constant
    norm = operator_norm_of(module)
    if norm is None:
        raise _unknown(kind.__name__)
    check_unaltered(module, operator_norm_of.registry)
    return float(norm.of(module))


def check_unaltered(module: nn.Module, known: Mapping[Any, object]) -> None:
    """Raise a TypeError for a subclass that overrides the forward of the class that has a rule.

    Args:
        module: the layer.
        known: the classes with a rule.
    """
    kind = type(module)
    ancestor: Any = next(ancestor for ancestor in kind.__mro__ if ancestor in known)
    if kind.forward is not ancestor.forward:
        raise _unknown(f"{kind.__name__}, a {ancestor.__name__} with a forward of its own")


def _unknown(got: str) -> TypeError:
    hint = "@constant_of.register, or solve(x) without lipschitz=..., which estimates it"
    return TypeError(expected("layers whose Lipschitz constant is known", got, hint))


CONSTANTS: dict[type[nn.Module], float] = {
    **dict.fromkeys(
        (
            nn.Identity, nn.Flatten, nn.Unflatten, nn.ReLU, nn.ReLU6, nn.Tanh, nn.Hardtanh, nn.Softplus,
            nn.Softsign, nn.Softshrink, nn.Tanhshrink, nn.LogSigmoid, nn.CELU, MaxMin,
        ),
        1.0,
    ),
    nn.Sigmoid: 0.25,
    nn.Hardsigmoid: 1 / 6,
    nn.GELU: 1.1291,  # at sqrt(2), exact form; the tanh approximation stays below
    nn.SiLU: 1.0999,  # at 2.3994
    nn.Mish: 1.0885,  # at 1.5
    nn.Hardswish: 1.5,
    nn.SELU: 1.7581,  # its scale times its alpha, just below zero
}  # fmt: skip
"""Maximum slope of each activation, rounded up; 1 for layers that only rearrange values."""


@constant_of.register
def _(module: nn.Sequential, graph: Graph | None) -> float:
    check_unaltered(module, constant_of.registry)
    return math.prod(constant_of(part, graph) for part in module)


@constant_of.register
def _(module: Residual, graph: Graph | None) -> float:
    check_unaltered(module, constant_of.registry)
    return 1 + constant_of(module.branch, graph)


@constant_of.register
def _(module: nn.LeakyReLU, graph: Graph | None) -> float:
    return max(1.0, abs(module.negative_slope))


@constant_of.register
def _(module: nn.PReLU, graph: Graph | None) -> float:
    return max(1.0, float(module.weight.abs().max()))


@constant_of.register
def _(module: nn.ELU, graph: Graph | None) -> float:
    return max(1.0, abs(module.alpha))


@constant_of.register
def _(module: nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d, graph: Graph | None) -> float:
    if module.training and module.p == 1:
        return 0.0
    return 1 / (1 - module.p) if module.training else 1.0


@constant_of.register
def _(module: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, graph: Graph | None) -> float:
    if module.training or module.running_var is None:
        wanted = "batch norm with running statistics"
        raise ValueError(expected(wanted, "statistics of each batch", "block.eval()"))
    scale = (module.running_var + module.eps).rsqrt()
    return float((scale if module.weight is None else scale * module.weight.abs()).max())


@constant_of.register
def _(module: nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d, graph: Graph | None) -> float:
    # The square of a mean is at most the mean of squares, and a cell lies in at most `windows` windows.
    sizes, strides = module.kernel_size, module.stride
    axes = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}[type(module)]
    each_size = sizes if isinstance(sizes, tuple) else (sizes,) * axes
    each_stride = strides if isinstance(strides, tuple) else (strides,) * axes
    windows = math.prod(math.ceil(k / s) for k, s in zip(each_size, each_stride, strict=True))
    padded = any(module.padding) if isinstance(module.padding, tuple) else module.padding
    cut = module.ceil_mode or (padded and not module.count_include_pad)  # windows of fewer cells at the ends
    if getattr(module, "divisor_override", None) is not None:
        raise ValueError(expected("an average", "divisor_override", "divisor_override=None"))
    return math.sqrt(windows if cut else windows / math.prod(each_size))
