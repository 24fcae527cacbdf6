"""Phi by levels on meshes: `python examples/studies/preconditioners_on_meshes.py --seeds 0 1 2`.

Darcy's equation -div(a grad h) = 1 on Delaunay triangles of random points of the unit square, with the cases,
the training on grids of 64 x 64 cells and the names of preconditioners.py. Printed, and written to
docs/results/preconditioners.json: steps of `fcg` to a relative residual of 1e-8 and their seconds, the
preparation of the preconditioner included. phi, shuffled and classical are cycles of `auxiliary_grid`; amg is
pyamg's smoothed aggregation of the assembled matrix; jacobi is left out beyond 20000 nodes.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch
from preconditioners import (
    CASES,
    DRAWS,
    WAVES,
    amplitudes,
    arguments_of,
    key_of,
    model_for,
    shuffled,
    solved,
    write,
)
from pyamg import smoothed_aggregation_solver
from scipy.spatial import Delaunay
from torch import Tensor

from neuralop_irno import IterativeRefiner
from neuralop_irno.correction.preconditioning import Preconditioning
from neuralop_irno.correction.residual import WithResidual
from neuralop_irno.domain.condition import Condition
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.equations.elliptic import Darcy
from neuralop_irno.equations.equation import BoundEquation
from neuralop_irno.equations.meshes import MeshDarcy, elements_of
from neuralop_irno.solution import unchanged
from neuralop_irno.solver.auxiliary_grid import AuxiliaryGrid
from neuralop_irno.solver.fcg import FCG
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.system import System


def mesh_of(nodes: int) -> tuple[Tensor, Tensor]:
    """Delaunay triangles of random points of the unit square, with points along its sides."""
    side = int(nodes**0.5)
    inner = np.random.default_rng(0).random((nodes - 4 * side, 2))
    t, zero = np.arange(side) / side, np.zeros(side)
    walls = [np.stack(each, 1) for each in ((t, zero), (zero + 1, t), (1 - t, zero + 1), (zero, 1 - t))]
    pos = np.concatenate([inner, *walls])
    cells = Delaunay(pos).simplices.T.astype("int64")
    return torch.from_numpy(pos), torch.from_numpy(cells)


def mesh_system(model: IterativeRefiner, mesh: tuple[Tensor, Tensor], contrast: float, seed: int) -> System:
    """Darcy's equation on a mesh, with a Phi for the grid that covers it."""
    pos, cells = mesh
    amplitude = amplitudes(torch.Generator().manual_seed(seed))
    k = torch.arange(WAVES + 1, dtype=torch.float64)
    x, y = (torch.cos(torch.pi * along[:, None] * k) for along in pos.unbind(1))
    a = torch.where((x @ amplitude * y).sum(1, keepdim=True) > 0, contrast, 1.0).double()
    domain = GraphDomain.of(a, {"pos": pos, "face": cells})
    physics = MeshDarcy(1.0).bind(a, domain)
    assert isinstance(model.correction, WithResidual)
    phi = Preconditioning(model.correction, physics, a.float(), unchanged, Resolution(), Condition())
    return System(physics, phi)


class MeshAMG(Preconditioner):
    """pyamg's smoothed aggregation for the matrix of `mesh_darcy` between the inner nodes."""

    def of(self, system: System, h: Tensor, r: Tensor) -> Tensor:
        inner, cycle = system.prepared(self, lambda: self._cycle(system.physics))
        update = np.zeros(len(r))
        update[inner] = cycle.matvec(r[:, 0].numpy()[inner])
        return torch.from_numpy(update)[:, None]

    @staticmethod
    def _cycle(physics: BoundEquation) -> tuple[Any, Any]:
        _, elements = elements_of(physics.domain)
        inner = np.flatnonzero(physics.project(torch.ones_like(physics.x[:, :1])).numpy())
        a = physics.x[:, 0].numpy()[elements.cells].mean(0)
        matrix = elements.assemble(a[:, None, None] * elements.stiffness).tocsr()[inner][:, inner]
        return inner, smoothed_aggregation_solver(matrix).aspreconditioner()


def main() -> None:
    arguments = arguments_of(__doc__)
    arguments.add_argument("--meshes", type=int, nargs="*", default=[1000, 10000, 100000], help="nodes")
    arguments.add_argument("--ways", nargs="+", default=["phi", "shuffled", "classical", "jacobi", "amg"])
    options = arguments.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    for seed in options.seeds:
        model = model_for(options, seed)
        other = shuffled(model, options.phi, seed)
        for nodes in options.meshes:
            mesh = mesh_of(nodes)
            for case in ("contrast 10", "contrast 100"):
                row = found.setdefault("meshes", {}).setdefault(f"{case}, {nodes}", {})
                for name in options.ways:
                    key = key_of(name, options, seed)
                    if key in row or (name == "jacobi" and nodes > 20000):
                        continue
                    grid = AuxiliaryGrid(Darcy(1.0), phi=name != "classical", proposals=options.proposals)
                    others: dict[str, str | Preconditioner] = {"jacobi": "jacobi", "amg": MeshAMG()}
                    of = other if name == "shuffled" else model
                    system = mesh_system(of, mesh, CASES[case][0], DRAWS[options.draws])
                    start = time.process_time()
                    steps = int(solved(system, FCG(others.get(name, grid))).steps)
                    row[key] = {"steps": steps, "seconds": round(time.process_time() - start, 2)}
                    print(f"seed {seed}, {case}, {nodes} nodes: {key} {row[key]}", flush=True)
                    write(options.out, found)


if __name__ == "__main__":
    main()
