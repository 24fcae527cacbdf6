"""Refined answers on other grids of one box: `python examples/benchmarks/finer_grids.py line --seeds 0 1 2`.

Samples are solved on a grid that is four times as fine as that of the training; coarser ones are made from
it by the restriction of the problem. Printed: the VRMSE of the base and of the refiner with Phi as it is
(native), at the resolution of its training, and on cosets; then each over that at 1x. Where waves are
truncated also the error of the refined answer in the waves that the grid of training shows ("in 1x"). For
burgers also in a box of twice the length at the spacing of training, where Phi is native.

============  =========================================================================================
line, darcy   of the scoreboard (`frozen_problems.py`), at once and twice the resolution
burgers       u_t + u u_x = nu u_xx on a ring, one frame to the next; 64 points, truncated waves
sampled       the same at every n-th point of the fine grid, as in FNO's data
turbulence    vorticity of Kolmogorov flow, one frame to the next; 32 x 32 points, truncated waves
torus         u - div(a grad u) = f on a torus, smooth log-normal a, (a, f) to u; 32 x 32, truncated waves
============  =========================================================================================
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import frozen_problems
import torch
from neuralop.models import FNO
from torch import Tensor, nn

from neuralop_irno import (
    FieldDataset,
    IterativeRefiner,
    Recipe,
    Resolution,
    Trainer,
    scores_per_step,
    summarise,
    vrmse,
)
from neuralop_irno.data.resampled import ResampledPairs
from neuralop_irno.data.solvers.burgers import Burgers
from neuralop_irno.data.solvers.turbulence import Turbulence

COUNTS = (256, 32, 64)
STEPS = 4
Fields = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        fields: number of samples and seed to x and y on the fine grid.
        coarsest: points along each axis in training.
        known: how coarse data are made from fine ones.
        padding: of the correction.
        base: builds the untrained base.
        depth: of the correction.
    """

    fields: Callable[[int, int], Fields]
    coarsest: int
    known: Resolution
    padding: str
    base: Callable[[], nn.Module]
    depth: int = 3


def frames(flow: Any, wait: float, warmup: float, scale: float) -> Callable[[int, int], Fields]:
    """Pairs of a frame and the next, four from each flow."""

    def fields(count: int, seed: int) -> Fields:
        series = flow.run(-(-count // 4), 8, wait, seed=seed, warmup=warmup) / scale
        x, y = (series[:, first::2].flatten(0, 1)[:count, None] for first in (0, 1))
        return x, y

    return fields


class WideBurgers(Burgers):
    """Burgers on a ring of twice the length, as u / 2 on one of length 2 pi."""

    peak, amplitude = 2 * Burgers.peak, Burgers.amplitude / 2

    def __init__(self, resolution: int, viscosity: float) -> None:
        super().__init__(resolution, viscosity=viscosity / 4)


def wide_burgers() -> FieldDataset:
    """Test samples in a box of twice the length, at the spacing of training."""
    x, y = frames(WideBurgers(512, 0.01), 0.2, 0.2, 0.5)(COUNTS[2], 2)
    coarse = ResampledPairs(FieldDataset(x, y), 0.25, WAVES, [True])
    pairs = [coarse[n] for n in range(len(coarse))]
    x, y = (torch.stack([pair[name] for pair in pairs]) for name in "xy")
    return FieldDataset(x, y)


def torus(count: int, seed: int, size: int = 128) -> Fields:
    """The screened equation by conjugate gradients, preconditioned by its constant part."""
    generator = torch.Generator().manual_seed(seed)
    k = 2 * torch.pi * torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    wave = torch.stack(torch.meshgrid(k, k, indexing="ij"))
    squared = wave.square().sum(0)

    def smooth(power: float) -> Tensor:
        noise = torch.randn(count, size, size, generator=generator, dtype=torch.float64)
        field = torch.fft.ifft2(torch.fft.fft2(noise) / (squared + 100) ** power).real
        return field / field.std((1, 2), keepdim=True)

    a, f = torch.exp(0.7 * smooth(2.0)), smooth(1.5)

    def operator(u: Tensor) -> Tensor:
        modes = torch.fft.fft2(u)
        flux = [a * torch.fft.ifft2(1j * component * modes).real for component in wave]
        divergence = sum(1j * c * torch.fft.fft2(each) for c, each in zip(wave, flux, strict=True))
        return u - 0.02 * torch.fft.ifft2(divergence).real

    def smoothed(r: Tensor) -> Tensor:
        return torch.fft.ifft2(torch.fft.fft2(r) / (1 + 0.02 * squared)).real

    u, r = torch.zeros_like(f), f.clone()
    z = smoothed(r)
    p, rz = z.clone(), (r * z).sum((1, 2), keepdim=True)
    for _ in range(60):
        ap = operator(p)
        step = rz / (p * ap).sum((1, 2), keepdim=True).clamp(min=1e-300)
        u, r = u + step * p, r - step * ap
        z = smoothed(r)
        new = (r * z).sum((1, 2), keepdim=True)
        p, rz = z + new / rz.clamp(min=1e-300) * p, new
    return torch.stack([a - 1, f], 1).float(), (4 * u[:, None]).float()


def sets_of(problem: Problem, factors: Sequence[float]) -> dict[str, FieldDataset]:
    """Training and validation set, and the test set by its resolution, in units of that of training."""
    train, valid, test = (problem.fields(count, seed) for seed, count in enumerate(COUNTS))
    fine = test[0].shape[-1]

    def at(fields: Fields, factor: float) -> FieldDataset:
        data = FieldDataset(*fields, resolution=problem.known)
        points = round(factor * problem.coarsest)
        if points == fine:
            return data
        axes = [problem.padding == "circular"] * (fields[0].dim() - 2)
        coarse = ResampledPairs(data, points / fine, problem.known, axes)
        x, y = (torch.stack([coarse[n][name] for n in range(len(coarse))]) for name in "xy")
        return FieldDataset(x, y, resolution=problem.known)

    if problem.known.pair == "points":
        factors = [factor for factor in factors if fine % round(factor * problem.coarsest) == 0]
    return {"train": at(train, 1), "valid": at(valid, 1), **{f"{f:g}": at(test, f) for f in factors}}


def frozen(name: str, known: Resolution) -> dict[str, FieldDataset]:
    """The sets of a problem of the scoreboard, at once and twice the resolution."""
    data = frozen_problems.PROBLEMS[name].data()
    sets = {"train": data.train, "valid": data.valid, "1": data.test, "2": data.finer}
    for each in sets.values():
        each.resolution = known
    return sets


FACTORS = (1.0, 0.5, 1.375, 2.0, 4.0)
WAVES = Resolution(extent="fixed", pair="waves")
EVERY_NTH = Resolution(extent="fixed", pair="points", layout="periodic")
BURGERS = Problem(
    frames(Burgers(256, viscosity=0.01), 0.2, 0.2, 1.0), 64, WAVES, "circular",
    lambda: FNO(n_modes=(16,), in_channels=1, out_channels=1, hidden_channels=16, n_layers=3),
)  # fmt: skip
PROBLEMS = {
    "burgers": BURGERS,
    "sampled": replace(BURGERS, known=EVERY_NTH),
    "turbulence": Problem(
        frames(Turbulence(128), 0.2, 4.0, 6.0), 32, WAVES, "circular",
        lambda: FNO(n_modes=(8, 8), in_channels=1, out_channels=1, hidden_channels=12, n_layers=3),
    ),
    "torus": Problem(
        torus, 32, WAVES, "circular",
        lambda: FNO(n_modes=(8, 8), in_channels=2, out_channels=1, hidden_channels=12, n_layers=3),
    ),
}  # fmt: skip
FROZEN = {
    "line": WAVES,
    "darcy": Resolution(extent="fixed", pair="points", layout="ends"),
}


def trained(name: str, sets: dict[str, FieldDataset], epochs: int, seed: int) -> IterativeRefiner:
    """A refiner, after its base."""
    torch.manual_seed(seed)
    if name in FROZEN:
        problem = frozen_problems.PROBLEMS[name]
        base, correction = problem.base(), problem.correction
    else:
        own = PROBLEMS[name]
        dim = sets["train"].x.dim() - 2
        base = own.base()
        correction = {"name": "unet", "dim": dim, "width": 12, "depth": own.depth, "padding": own.padding}
    first = Recipe(optimizer="adamw", epochs=20, batch_size=16, seed=seed)
    Trainer(base, first, show=False).fit(sets["train"], sets["valid"])
    torch.manual_seed(seed)
    model = IterativeRefiner(base, correction, steps=STEPS, alpha=1.0)
    recipe = Recipe(epochs=epochs, batch_size=16, weight_decay=0.1, replay=24.0, seed=seed)
    Trainer(model, recipe, show=False).fit(sets["train"], sets["valid"])
    return model


@torch.no_grad()
def seen_at_once(model: IterativeRefiner, data: FieldDataset, size: torch.Size) -> float:
    """The VRMSE of the refined answer on a finer grid, in the waves of the grid of training."""
    answer = model.eval().iterates(data.x, steps=STEPS)[-1]
    maps = model.resolution.maps(data.y.shape[2:], size, [True] * len(size))
    return float(vrmse(maps.restrict(answer), maps.restrict(data.y)).mean())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("problem", choices=[*PROBLEMS, *FROZEN])
    arguments.add_argument("--epochs", type=int, default=40)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = arguments.parse_args()
    torch.set_num_threads(1)
    name = options.problem
    sets = frozen(name, FROZEN[name]) if name in FROZEN else sets_of(PROBLEMS[name], FACTORS)
    if name == "burgers":
        sets["box 2"] = wide_burgers()
    for seed in options.seeds:
        model = trained(name, sets, options.epochs, seed)
        known = model.resolution
        print(f"{name}, seed {seed}: {known}")
        print(f"{'':>6}{'base':>9}{'native':>9}{'refined':>9}{'cosets':>9}   each / 1x; in 1x")
        first: list[float] = []
        for factor in [key for key in sets if key not in ("train", "valid")]:
            whole = factor in ("1", "2", "4") and known.layout != "ends"
            ways = [{"extent": "grows"}, {}, *([{"detail": "cosets"}] if whole else [])]
            ways = [{"extent": "grows"}] * 2 if factor.startswith("box") else ways
            errors: list[float] = []
            for changes in ways:
                model.resolution = replace(known, **changes)
                steps = [summarise(each).mean for each in scores_per_step(model, sets[factor], STEPS)]
                errors += [steps[-1]] if errors else [steps[0], steps[-1]]
            model.resolution = known
            first = first or errors
            ratios = "".join(f"{error / one:7.2f}" for error, one in zip(errors, first, strict=False))
            if known.pair == "waves" and factor in ("1.375", "2", "4"):
                ratios += f"; {seen_at_once(model, sets[factor], sets['1'].y.shape[2:]):.4f}"
            print(f"{factor:>6}" + "".join(f"{error:9.4f}" for error in errors) + "  " + ratios, flush=True)


if __name__ == "__main__":
    main()
