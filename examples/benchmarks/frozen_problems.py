"""The four problems of the scoreboard, with the correction by default on grids.

Data and bases never change, so that different commits can be compared.

=============  =====================================================================================
turbulence     the demo's: vorticity of Kolmogorov flow at 32 x 32 to its next four frames
line           u_t + c(x) u_x = nu u_xx on a ring, (u_0, c) to u(0.12), 64 points
darcy          -div(a grad u) = 1 between walls with u = 0, a in {3, 12}, a to u, 17 x 17 points
waves          waves from zero velocity between reflecting walls and holes, each sample on its own mesh
=============  =====================================================================================

Each also has a test set at twice the resolution: the same samples on grids, different meshes of half the
spacing for `waves`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from neuralop.models import FNO
from scipy.fft import idctn
from scipy.sparse.linalg import splu
from torch import Tensor, nn

from neuralop_irno import RIGNO, FieldDataset, waves, windows
from neuralop_irno.data.solvers.turbulence import Turbulence


@dataclass(frozen=True)
class Data:
    """The data sets of a problem.

    Attributes:
        train: training set.
        valid: validation set, for the choice of the best weights.
        test: test set.
        finer: test set at twice the resolution.
    """

    train: Any
    valid: Any
    test: Any
    finer: Any


@dataclass(frozen=True)
class Problem:
    """One problem, with its base.

    Attributes:
        data: builds the data sets.
        base: builds the untrained base.
        base_epochs: passes over the training set for the base.
        correction: the config of Phi.
        epochs: passes over the training set for the refiner and for the correction evaluated once.
        batch_size: samples per update.
        base_batch_size: samples per update of the base.
        steps: K.
    """

    data: Callable[[], Data]
    base: Callable[[], nn.Module]
    base_epochs: int
    correction: dict[str, Any]
    epochs: int
    batch_size: int
    base_batch_size: int = 16
    steps: int = 4


def turbulence() -> Data:
    """64, 4 and 16 flows; the finer test set has all 64 points of the solver."""
    flow = Turbulence(64)

    def run(count: int, place: int) -> Tensor:
        return flow.run(count, 40, 0.1, seed=place, warmup=4.0, size=64)

    fine = [run(count, place) for place, count in enumerate((64, 4, 16))]
    coarse = [flow.grid.coarsen(flow.grid.transform(frames), 32) for frames in fine]
    scale = coarse[0].std()
    forcing = {size: flow.grid.coarsen(flow.grid.transform(flow.forcing), size) for size in (32, 64)}

    def pairs(frames: Tensor, stride: int) -> FieldDataset:
        steady = forcing[frames.shape[-1]]
        return windows(frames / scale, 1, 4, stride, steady / forcing[32].std())

    return Data(pairs(coarse[0], 3), pairs(coarse[1], 4), pairs(coarse[2], 4), pairs(fine[2], 4))


def line() -> Data:
    """512, 32 and 128 samples, solved with 256 points; every fourth (finer: every second) point is kept."""
    points, time, viscosity, steps = 256, 0.12, 1e-3, 96
    wavenumber = 2 * np.pi * np.fft.rfftfreq(points, 1 / points)
    kept = np.arange(points // 2 + 1) <= points // 3

    def smooth(rng: np.random.Generator, count: int, waves: int) -> np.ndarray:
        modes = np.zeros((count, points // 2 + 1), complex)
        places = np.arange(1, waves + 1)
        draws = rng.standard_normal((2, count, waves))
        modes[:, places] = (draws[0] + 1j * draws[1]) / (1 + (places / 6) ** 2)
        fields = np.fft.irfft(modes, points)
        return fields / fields.std(axis=1, keepdims=True)

    def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        u, speed = smooth(rng, count, 20), 1 + 0.5 * smooth(rng, count, 3)
        decay = np.exp(-viscosity * wavenumber**2 * time / steps / 2)

        def rate(modes: np.ndarray) -> np.ndarray:
            slope = np.fft.irfft(1j * wavenumber * modes, points)
            return np.fft.rfft(-speed * slope) * kept

        modes, dt = np.fft.rfft(u) * kept, time / steps
        for _ in range(steps):  # Runge-Kutta of order four, diffusion exactly
            a = rate(modes)
            b = rate(decay * (modes + dt / 2 * a))
            c = rate(decay * modes + dt / 2 * b)
            d = rate(decay**2 * modes + dt * decay * c)
            modes = decay**2 * modes + dt / 6 * (decay**2 * a + 2 * decay * (b + c) + d)
        return np.stack([u, speed], 1), np.fft.irfft(modes, points)[:, None]

    def pairs(x: np.ndarray, y: np.ndarray, every: int) -> FieldDataset:
        return FieldDataset(*(torch.from_numpy(each[..., ::every].copy()).float() for each in (x, y)))

    test = samples(128, 2)
    return Data(pairs(*samples(512, 0), 4), pairs(*samples(32, 1), 4), pairs(*test, 4), pairs(*test, 2))


def darcy() -> Data:
    """512, 32 and 128 samples, solved with 65 x 65 points including walls; every fourth point is kept."""
    size = 65
    wavenumber = np.pi * np.sqrt(np.add.outer(np.arange(size) ** 2, np.arange(size) ** 2))

    def permeability(rng: np.random.Generator) -> np.ndarray:
        modes = rng.standard_normal((size, size)) / (wavenumber**2 + 9) ** 1.0
        modes[0, 0] = 0
        return np.where(idctn(modes, type=1) > 0, 12.0, 3.0)

    def solve(a: np.ndarray) -> np.ndarray:
        inner = size - 2
        number = np.arange(inner**2).reshape(inner, inner)
        rows, columns, values = [], [], []
        diagonal = np.zeros((inner, inner))
        middle = a[1:-1, 1:-1]
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            beside = np.roll(a, -shift, axis)[1:-1, 1:-1]
            flux = 2 * middle * beside / (middle + beside) * (size - 1) ** 2
            diagonal += flux
            there = np.roll(number, -shift, axis)
            inside = np.ones((inner, inner), bool)
            np.moveaxis(inside, axis, 0)[-1 if shift == 1 else 0] = False
            rows.append(number[inside])
            columns.append(there[inside])
            values.append(-flux[inside])
        rows.append(number.ravel())
        columns.append(number.ravel())
        values.append(diagonal.ravel())
        matrix = sp.csc_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))))
        field = np.zeros((size, size))
        field[1:-1, 1:-1] = splu(matrix).solve(np.ones(inner**2)).reshape(inner, inner)
        return field

    def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        a = np.stack([permeability(rng) for _ in range(count)])
        return a, np.stack([solve(each) for each in a])

    train = samples(512, 0)
    scale = train[1].std()

    def pairs(a: np.ndarray, u: np.ndarray, every: int) -> FieldDataset:
        fields = ((a - 7.5) / 4.5, u / scale)
        kept = (torch.from_numpy(each[:, None, ::every, ::every].copy()).float() for each in fields)
        return FieldDataset(*kept)

    test = samples(128, 2)
    return Data(pairs(*train, 4), pairs(*samples(32, 1), 4), pairs(*test, 4), pairs(*test, 2))


def waves_on_meshes() -> Data:
    """96, 8 and 16 meshes of about 180 nodes; 16 finer ones of half the spacing."""
    sets = waves([96, 8, 16], spacing=0.08, seed=0)
    finer = waves([1, 1, 16], spacing=0.04, seed=0)
    return Data(sets["train"], sets["valid"], sets["test"], finer["test"])


PROBLEMS = {
    "turbulence": Problem(
        turbulence,
        lambda: FNO(n_modes=(8, 8), in_channels=2, out_channels=4, hidden_channels=16, n_layers=4),
        15,
        {"name": "residual_unet", "padding": "circular"},
        24,
        8,
    ),
    "line": Problem(
        line,
        lambda: FNO(n_modes=(16,), in_channels=2, out_channels=1, hidden_channels=16, n_layers=3),
        20,
        {"name": "residual_unet", "dim": 1, "padding": "circular"},
        40,
        16,
    ),
    "darcy": Problem(
        darcy,
        lambda: FNO(n_modes=(8, 8), in_channels=1, out_channels=1, hidden_channels=16, n_layers=3),
        20,
        {"name": "residual_unet", "padding": "zero"},
        40,
        16,
    ),
    "waves": Problem(
        waves_on_meshes,
        lambda: RIGNO(in_channels=2, out_channels=1, width=24, steps=3, levels=3, time=False),
        24,
        {"name": "meshgraph", "width": 24, "steps": 2},
        60,
        4,
        base_batch_size=4,
    ),
}
