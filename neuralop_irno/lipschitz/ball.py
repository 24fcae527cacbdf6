"""Lipschitz constants on a ball, of modules that have none on the whole space."""

from __future__ import annotations

import math
from functools import singledispatch

from torch import nn

from neuralop_irno.lipschitz.constants import check_unaltered, constant_of
from neuralop_irno.lipschitz.graph import Graph
from neuralop_irno.lipschitz.layers import Residual


@singledispatch
def constant_on_ball(module: nn.Module, radius: float, graph: Graph | None) -> float:
    """The Lipschitz bound of one type of module on the ball |u| <= r; call `lipschitz_bound` instead.

    By default it is the bound on the whole space. Register modules without one, such as polynomials, with
    ``@constant_on_ball.register``.

    Args:
        module: the layer.
        radius: r, in the Euclidean norm of a sample.
        graph: the graph of graph convolutions; pass it on to submodules.
    """
    return constant_of(module, graph)


@constant_on_ball.register
def _(module: nn.Sequential, radius: float, graph: Graph | None) -> float:
    check_unaltered(module, constant_on_ball.registry)
    parts = list(module)
    # The first part maps the ball to a set of unknown size: the others need a bound on the whole space.
    after = math.prod(constant_of(part, graph) for part in parts[1:])
    return after * (constant_on_ball(parts[0], radius, graph) if parts else 1.0)


@constant_on_ball.register
def _(module: Residual, radius: float, graph: Graph | None) -> float:
    check_unaltered(module, constant_on_ball.registry)
    return 1 + constant_on_ball(module.branch, radius, graph)
