"""Spectra on meshes, timed against direct implementations: `python examples/benchmarks/spectrum.py`.

Ratios of times, ours / theirs, measured alternately; and the growth of the time of Chebyshev bands with the
size of the mesh.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse.linalg as spla
import torch
from paired import paired, seconds
from torch import Tensor

from neuralop_irno.spectrum.chebyshev import ChebyshevBands
from neuralop_irno.spectrum.eigenpairs import eigenpairs
from neuralop_irno.spectrum.laplacian import Laplacian, mesh_laplacian

CENTRES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05)
CHANNELS = 4


def uneven_square(side: int) -> Laplacian:
    """A triangulated unit square with randomly displaced inner nodes."""
    random = np.random.default_rng(0)
    line = np.linspace(0, 1, side)
    pos = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    pos[1:-1, 1:-1] += random.uniform(-0.25, 0.25, (side - 2, side - 2, 2)) / (side - 1)
    node = np.arange(side * side).reshape(side, side)
    corners = node[:-1, :-1], node[1:, :-1], node[:-1, 1:], node[1:, 1:]
    a, b, c, d = (corner.ravel() for corner in corners)
    cells = np.concatenate([[a, b, c], [b, d, c]], 1)
    return mesh_laplacian(torch.from_numpy(pos.reshape(-1, 2)), torch.from_numpy(cells))


class Textbook:
    """Filters g_b(A) by a Chebyshev series with PyTorch's sparse matrices and autograd."""

    def __init__(self, ours: ChebyshevBands, laplacian: Laplacian) -> None:
        starts, columns, entries = ours.matrix
        self.matrix = torch.sparse_csr_tensor(starts, columns, entries.float())
        self.weight = ours.weight.float()[:, None]
        # The energy of a filter has twice its order, so this order gives the same resolution as ours.
        self.series = ours.polynomials[0, :, : ours.order + 1].float()

    def energies(self, field: Tensor) -> Tensor:
        before = field * self.weight
        now = self.matrix @ before / 2
        terms = [before, now]
        for _ in range(self.series.shape[1] - 2):
            before, now = now, self.matrix @ now - before
            terms.append(now)
        filtered = torch.einsum("bp,pnc->bnc", self.series, torch.stack(terms))
        return filtered.square().sum(1).T


def eigen_solver(laplacian: Laplacian, modes: int, pairs: int) -> None:
    matrix = laplacian.symmetric.tocsc()

    def theirs() -> object:
        return spla.eigsh(matrix, k=modes, sigma=-1e-2)

    print(f"lowest {modes} modes of {laplacian.nodes} nodes, ours / eigsh with a negative shift")
    print(
        f"  solved      {paired(lambda: eigenpairs(laplacian, modes), theirs, pairs, warmup=0)}", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        eigenpairs(laplacian, modes, cache=folder)
        # The file is memory-mapped: the sum over the vectors forces them to be read.
        recalled = paired(
            lambda: eigenpairs(laplacian, modes, cache=folder).vectors.sum(), theirs, pairs, warmup=0
        )
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
        print(f"  from cache  {recalled.median:.5f}   a file of {size:.0f} MiB", flush=True)


def gradients(laplacian: Laplacian, order: int, pairs: int) -> None:
    bands = ChebyshevBands([laplacian], CENTRES, order)
    textbook = Textbook(bands, laplacian)
    field = torch.randn(laplacian.nodes, CHANNELS, requires_grad=True)
    print(f"Chebyshev forward and backward, order {order}, {laplacian.nodes} nodes, {CHANNELS} channels")
    ratio = paired(
        lambda: bands.energies(field).sum((0, 1))[1].backward(),
        lambda: textbook.energies(field).sum(0)[1].backward(),
        pairs,
    )
    print(f"  ours / sparse_csr under autograd  {ratio}", flush=True)


def growth(largest: int, order: int, repeats: int) -> None:
    print(f"Chebyshev bands forward and backward, order {order}, {CHANNELS} channels")
    sizes, times = [], []
    for side in (100, 316, 1000):
        if side * side > largest:
            continue
        laplacian = uneven_square(side)
        bands = ChebyshevBands([laplacian], CENTRES, order)
        field = torch.randn(laplacian.nodes, CHANNELS, requires_grad=True)
        taken = min(
            seconds(lambda bands=bands, field=field: bands.energies(field).sum((0, 1))[1].backward())
            for _ in range(repeats + 1)
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"  {laplacian.nodes:8} nodes  {taken:8.4f} s   peak memory {peak:.2f} GiB", flush=True)
        sizes.append(math.log(laplacian.nodes))
        times.append(math.log(taken))
    if len(sizes) > 1:
        print(f"  slope of log time over log nodes {np.polyfit(sizes, times, 1)[0]:.3f}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--side", type=int, default=128)
    arguments.add_argument("--modes", type=int, default=256)
    arguments.add_argument("--order", type=int, default=32)
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--largest", type=int, default=1_000_000)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    growth(options.largest, options.order, options.pairs)  # first, since peak memory never decreases
    laplacian = uneven_square(options.side)
    gradients(laplacian, options.order, 3 * options.pairs)
    eigen_solver(laplacian, options.modes, options.pairs)


if __name__ == "__main__":
    main()
