"""Smoothing steps of multigrid."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.equations.equation import BoundEquation, Map
from neuralop_irno.errors import check_least, expected


def damped_jacobi(
    equation: BoundEquation, apply: Map, r: Tensor, steps: int, damping: float, residual: bool = True
) -> tuple[Tensor, Tensor]:
    r"""The update of u by damped Jacobi steps, and the residual that is left.

    .. math:: u \leftarrow u + \omega D^{-1} (b - A u)

    Args:
        equation: with the diagonal D of A.
        apply: v -> A v.
        r: the residual at u.
        steps: their number, at least 1.
        damping: :math:`\omega`.
        residual: whether the residual after the last step is computed; else that before it is returned.
    """
    diagonal = equation.diagonal
    if diagonal is None:
        got, hint = "one that does not state it", "LinearEquation(.., diagonal=lambda x: ...)"
        raise ValueError(expected("an equation with the diagonal of A", got, hint))
    total = torch.zeros_like(r)
    for step in range(steps):
        update = equation.project(damping * r / diagonal)
        total = total + update
        if residual or step < steps - 1:
            r = r - apply(update)
    return total, r


def check_smoothing(smoothing: int, damping: float) -> None:
    """Raise ValueError for less than one step, or a damping that is not between 0 and 1."""
    check_least(1, 1, smoothing=smoothing)
    if not 0 < damping <= 1:
        raise ValueError(expected("damping from 0 to 1", damping, "damping=0.8"))
