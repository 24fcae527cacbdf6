"""Algebraic multigrid by the optional package pyamg as a preconditioner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuralop_irno.elsewhere import Elsewhere, module_lack
from neuralop_irno.equations.assembly import assembled
from neuralop_irno.registry import PRECONDITIONERS
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.system import System


def _load() -> Any:
    from pyamg import smoothed_aggregation_solver

    return smoothed_aggregation_solver


PYAMG = Elsewhere(
    "pyamg for the preconditioner amg", "pip install pyamg", lambda: module_lack("pyamg"), _load
)


@PRECONDITIONERS.register("amg")
class AMG(Preconditioner):
    """M r is one V-cycle of algebraic multigrid (smoothed aggregation of pyamg, on the CPU).

    It needs the package pyamg (``pip install 'neuralop_irno[amg]'``), and the matrix of the equation,
    see `neuralop_irno.equations.assembly`, which is assembled once per solve, for the samples of a batch
    together. https://doi.org/10.1007/BF02238511.

    Example:
        >>> AMG()
        AMG()
    """

    def __init__(self) -> None:
        PYAMG.constructor()

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        cycle = system.prepared(self, lambda: self._cycle(system, h))
        return torch.from_numpy(cycle.matvec(r.flatten().cpu().numpy())).to(r).reshape(r.shape)

    def _cycle(self, system: System, h: Tensor) -> Any:
        matrix = assembled(system.physics, system.physics.linearised(h), h)
        return PYAMG.constructor()(matrix.tocsr()).aspreconditioner()
