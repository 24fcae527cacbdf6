"""Comparison of the Laplacians: `python examples/studies/laplacians.py` (a minute, one thread).

Eigenvalues of the unit square (Neumann) by each Laplacian relative to the exact ones, on three sets of nodes;
the ratio of the spectral losses of a fine and a coarse wave; and the time to build the matrix.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from scipy.spatial import Delaunay
from torch import Tensor

from neuralop_irno import SpectralLoss, Trajectory
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.spectrum.choice import LAPLACIANS, SpectrumChoice, laplacian_of
from neuralop_irno.spectrum.eigenpairs import eigenpairs

COMPARED = slice(1, 65)


def nodes(kind: str, side: int, random: np.random.Generator) -> np.ndarray:
    """Points of the unit square: a randomly displaced grid, random points, or a grid denser at one corner."""
    if kind == "random":
        return random.random((side * side, 2))
    line = np.linspace(0, 1, side)
    pos = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    pos[1:-1, 1:-1] += random.uniform(-0.25, 0.25, (side - 2, side - 2, 2)) / (side - 1)
    pos = pos.reshape(-1, 2)
    return pos**1.7 if kind == "graded" else pos


def graph(pos: np.ndarray) -> GraphDomain:
    cells = Delaunay(pos).simplices
    corners = pos[cells]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    cells = cells[abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) > 1e-9]
    edges = np.concatenate([cells[:, [0, 1]], cells[:, [1, 2]], cells[:, [2, 0]]]).T
    known = {"pos": torch.from_numpy(pos), "face": torch.from_numpy(cells.T.astype(np.int64))}
    known["edge_index"] = torch.from_numpy(edges.astype(np.int64))
    return GraphDomain.of(torch.zeros(len(pos), 1), known)


def wave(pos: Tensor, number: int) -> Tensor:
    return torch.cos(number * math.pi * pos[:, :1])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--side", type=int, default=48)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    waves = np.pi**2 * np.add.outer(np.arange(40) ** 2, np.arange(40) ** 2)
    exact = np.sort(waves.ravel())
    print(f"{'nodes':8} {'Laplacian':9} {'w_k / exact, k = 1..64':>24} {'fine / coarse':>14} {'build':>9}")
    for kind in ("shaken", "graded", "random"):
        where = graph(nodes(kind, options.side, np.random.default_rng(options.seed)))
        for name in LAPLACIANS:
            choice = SpectrumChoice(laplacian=name)
            start = time.perf_counter()
            laplacian = laplacian_of(where, choice)
            taken = time.perf_counter() - start
            found = eigenpairs(laplacian, 70).values[COMPARED] / exact[COMPARED]
            found = (
                found / np.median(found) if name == "edges" else found
            )  # edge weights have no unit of length
            truth = torch.zeros(len(where.batch), 1, dtype=torch.float64)
            loss = SpectralLoss(lambda_start=1.0, lambda_end=1.0, spectrum={"laplacian": name})
            cost = []
            for number in (2, options.side // 3):
                h = wave(where.pos, number)
                h = h / where.norm(h).item()
                cost.append(loss.per_sample(Trajectory((h,), (torch.ones(1),), where), truth).item())
            low, middle, high = np.quantile(found, [0, 0.5, 1])
            row = f"{low:.3f} / {middle:.3f} / {high:.3f}"
            print(f"{kind:8} {name:9} {row:>24} {cost[1] / cost[0]:14.3f} {taken:8.3f}s")


if __name__ == "__main__":
    main()
