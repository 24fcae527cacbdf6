"""Phi by levels in a multigrid cycle: `python examples/studies/preconditioners.py --seeds 0 1 2`.

Darcy's equation -div(a grad h) + c h = f on n x n cells with h = 0 on the walls: a jumps between 1 and the
contrast on the level set of a random smooth field, f is another such field, both the same functions at every
n. Screened Poisson is the case a = 1. A small U-Net is trained on 64 x 64 cells only, on cases of all
contrasts, to propose updates at all levels of a multigrid cycle. The loss is the logarithm of the factor by
which one step of flexible conjugate gradients reduces the error in the norm of A; errors stay in a pool and
are reduced further, so that what is left of them is what the cycle reduces worst.

Printed, and written to docs/results/preconditioners.json: steps of `fcg` to a relative residual of 1e-8

    phi        multigrid with Phi at all levels
    shuffled   the same with the values of each weight tensor in random order
    classical  the same with Phi = 0
    smoother   with Phi = 0 and two smoothing steps before and after instead of one
    jacobi     the diagonal of A
    amg        pyamg's smoothed aggregation (its cycle, called by `fcg`)

and with `--times` medians of paired seconds of a solve, relative to `classical`, for one case and for 32.
Choices are made on the cases of `--draws validation` only. On meshes: preconditioners_on_meshes.py.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import CORRECTIONS, IterativeRefiner
from neuralop_irno.correction.correction import Correction
from neuralop_irno.domain.domain import Domain
from neuralop_irno.equations.elliptic import Darcy
from neuralop_irno.equations.equation import Equation
from neuralop_irno.solution import Outcome, Solution
from neuralop_irno.solver.fcg import FCG
from neuralop_irno.solver.multigrid import Multigrid
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

RESULTS = Path(__file__).resolve().parents[2] / "docs/results"
CASES = {"contrast 10": (10.0, 0.0), "contrast 100": (100.0, 0.0), "screened Poisson": (1.0, 100.0)}
"""Contrast and c."""
WAYS = ["phi", "shuffled", "classical", "smoother", "jacobi", "amg"]
DRAWS = {"validation": 1000, "test": 2000}
COUNTS = {64: 6, 128: 6, 256: 3, 512: 2}
"""Cases of each kind by size: those of a larger grid are the first of a smaller one."""
TRAINED, WAVES, POOL, KEPT = 64, 16, 64, 0.9
PHIS = {
    "unet": {"name": "unet", "width": 8, "depth": 1, "norm": "none", "padding": "zero"},
    "mgno": {"name": "mgno", "width": 8, "layers": 2, "levels": 2, "padding": "zero"},
}


def amplitudes(draws: torch.Generator) -> Tensor:
    """Of cos(pi k x) cos(pi l y) in a smooth random field."""
    k = torch.arange(WAVES + 1, dtype=torch.float64)
    size = torch.exp(-0.018 * (k[:, None] ** 2 + k**2))
    size[0, 0] = 0
    return torch.randn(len(k), len(k), generator=draws, dtype=torch.float64) * size


def smooth(n: int, draws: torch.Generator) -> Tensor:
    """A random sum of cosines with mean 0, the same function at every n, ``(1, 1, n, n)``."""
    return cosines(n, amplitudes(draws))


def cosines(n: int, amplitude: Tensor) -> Tensor:
    k = torch.arange(len(amplitude), dtype=torch.float64)
    waves = torch.cos(torch.pi * k[:, None] * (torch.arange(n, dtype=torch.float64) + 0.5) / n)
    return (waves.mT @ amplitude @ waves / amplitude.norm() * 2)[None, None]


def permeability(n: int, contrast: float, draws: torch.Generator) -> Tensor:
    return torch.where(smooth(n, draws) > 0, contrast, 1.0)


class Sourced(Darcy):
    """Darcy's equation with a smooth right side, the same function on every grid."""

    def __init__(self, amplitude: Tensor, screen: float) -> None:
        super().__init__(1.0, screen)
        self.amplitude = amplitude

    def terms(self, x: Tensor, domain: Domain) -> tuple[Tensor, float, Tensor]:
        a, screen, _ = super().terms(x, domain)
        return a, screen, cosines(x.shape[2], self.amplitude).to(x)


def cases_of(kind: str, n: int, draws: str) -> list[tuple[Tensor, Equation]]:
    """Cases of one kind: a, and the equation with its right side."""
    (contrast, screen), count = CASES[kind], COUNTS.get(n, 2)
    seeds = torch.Generator().manual_seed(DRAWS[draws])
    return [(permeability(n, contrast, seeds), Sourced(amplitudes(seeds), screen)) for _ in range(count)]


class Zero(nn.Module):
    """A base that knows nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class OfLogarithm(Correction):
    """A correction of log a and r."""

    def __init__(self, inner: Correction) -> None:
        super().__init__()
        self.inner, self.periodic = inner, inner.periodic

    def prepare(self, x: Tensor, domain: Domain) -> Any:
        return self.inner.prepare(torch.cat([x[:, :1].log() / 5, x[:, 1:]], 1), domain)

    def forward(self, x: Any, h: Tensor) -> Tensor:
        update: Tensor = self.inner(x, h)
        return update


def model_of(phi: str) -> IterativeRefiner:
    correction = CORRECTIONS.build({**PHIS[phi], "dim": 2}, in_channels=2, out_channels=1)
    return IterativeRefiner(Zero(), OfLogarithm(correction), equation=Darcy(1.0))


def system_of(model: IterativeRefiner, a: Tensor, equation: Equation) -> System:
    model.equation = equation
    return model.system((a,), {})[0]


def drawn(draws: torch.Generator) -> tuple[Tensor, float]:
    """A case of the training: contrast 100 in two of four, 10, or 1 with c up to 200."""
    number = int(torch.randint(4, (1,), generator=draws))
    contrast = (1.0, 10.0, 100.0, 100.0)[number]
    screen = 0.0 if number else 200 * float(torch.rand(1, generator=draws))
    return permeability(TRAINED, contrast, draws), screen


def trained(phi: str, seed: int, updates: int, proposals: int) -> IterativeRefiner:
    """A model with its Phi trained on 64 x 64 cells."""
    torch.manual_seed(seed)
    draws, model = torch.Generator().manual_seed(seed), model_of(phi)
    cycle = Multigrid(proposals=proposals)
    optimiser = torch.optim.Adam(model.correction.parameters(), lr=4e-3)
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: min(1.0, (k + 1) / 30) * max(0.02, 1 - k / updates)
    )

    def fresh() -> tuple[System, Tensor, Tensor, Tensor]:
        a, screen = drawn(draws)
        rough = torch.randn(a.shape, generator=draws, dtype=torch.float64)
        error = smooth(TRAINED, draws) + rough * torch.rand(1, generator=draws, dtype=torch.float64) / 2
        return system_of(model, a, Darcy(1.0, screen)), error, torch.zeros_like(a), torch.zeros_like(a)

    pool, mean = [fresh() for _ in range(POOL)], 0.0
    for update in range(updates):
        place = int(torch.randint(POOL, (1,), generator=draws))
        system, error, last, image_of_last = pool[place]
        r = system.physics.apply(error)
        p = cycle.of(system, torch.zeros_like(r), r)
        p = p - (image_of_last * p).sum() * last
        image = system.physics.apply(p)
        energy = (p * image).sum()
        left = 1 - (p * r).sum() ** 2 / (energy * (error * r).sum())
        loss = left.clamp(min=1e-12).log() / 2
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.correction.parameters(), 1.0)
        optimiser.step()
        rates.step()
        with torch.no_grad():
            last, image_of_last = p.detach() / energy.sqrt(), image.detach() / energy.sqrt()
            error = error - (last * r).sum() * last
            error = error / (error * system.physics.apply(error)).sum().sqrt()
        kept = float(torch.rand(1, generator=draws)) < KEPT
        pool[place] = (system, error, last, image_of_last) if kept else fresh()
        mean += (float(loss.detach()) - mean) / min(update + 1, 100)
        if (update + 1) % 200 == 0:
            print(f"seed {seed}, {phi}: {update + 1} updates, factor {math.exp(mean):.3f}", flush=True)
    return model.eval()


def model_for(options: argparse.Namespace, seed: int) -> IterativeRefiner:
    """A trained model, from the folder that keeps weights if it is there."""
    name = f"{options.phi}-{options.proposals}-{seed}-{options.updates}.pt"
    if options.weights and (options.weights / name).exists():
        model = model_of(options.phi).eval()
        model.load_state_dict(torch.load(options.weights / name))
        return model
    start = time.process_time()
    model = trained(options.phi, seed, options.updates, options.proposals)
    print(f"seed {seed}: {time.process_time() - start:.0f} seconds of training", flush=True)
    if options.weights:
        options.weights.mkdir(exist_ok=True)
        torch.save(model.state_dict(), options.weights / name)
    return model


def shuffled(model: IterativeRefiner, phi: str, seed: int) -> IterativeRefiner:
    """A model with the values of each weight tensor of Phi in random order."""
    torch.manual_seed(seed)
    other = model_of(phi).eval()
    other.load_state_dict(model.state_dict())
    for weight in other.correction.parameters():
        weight.data = weight.data.flatten()[torch.randperm(weight.numel())].reshape(weight.shape)
    return other


def solved(system: System, solver: FCG) -> Solution:
    start = torch.zeros_like(system.physics.x[:, :1])
    limits = Limits(rtol=1e-8, max_steps=5000)
    with torch.no_grad():
        solution = solve_equation(system, solver, start, 4, limits, lambda h: h)
    assert set(solution.outcomes) == {Outcome.CONVERGED}, solution
    return solution


def ways_of(
    model: IterativeRefiner, options: argparse.Namespace, seed: int
) -> dict[str, tuple[IterativeRefiner, FCG]]:
    cycle = Multigrid(proposals=options.proposals)
    ways = {
        "phi": (model, FCG(cycle)),
        "shuffled": (shuffled(model, options.phi, seed), FCG(cycle)),
        "classical": (model, FCG(Multigrid(phi=False))),
        "smoother": (model, FCG(Multigrid(phi=False, smoothing=2))),
        "jacobi": (model, FCG("jacobi")),
        "amg": (model, FCG("amg")),
    }
    return {name: way for name, way in ways.items() if name in options.ways}


def timed(ways: dict[str, tuple[IterativeRefiner, FCG]], a: Tensor, rounds: int) -> dict[str, float]:
    """Medians of the seconds of a solve over those of the classical cycle in the same round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (model, solver) in ways.items():
            start = time.process_time()
            solved(system_of(model, a, Darcy(1.0)), solver)
            found[name].append(time.process_time() - start)
    return {
        name: statistics.median(one / base for one, base in zip(each, found["classical"], strict=True))
        for name, each in found.items()
    }


def write(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1) + "\n")


def arguments_of(description: str | None) -> argparse.ArgumentParser:
    """The arguments of the study on grids and of that on meshes."""
    arguments = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    arguments.add_argument("--phi", choices=PHIS, default="unet")
    arguments.add_argument("--proposals", type=int, default=2, help="of Phi on each grid")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--updates", type=int, default=1400)
    arguments.add_argument("--draws", choices=DRAWS, default="test", help="which cases are solved")
    arguments.add_argument("--weights", type=Path, help="a folder that keeps trained weights")
    arguments.add_argument("--out", type=Path, default=RESULTS / "preconditioners.json")
    return arguments


def key_of(name: str, options: argparse.Namespace, seed: int) -> str:
    learned = name in ("phi", "shuffled")
    return f"{name} {options.phi} {options.proposals} {seed}" if learned else name


def main() -> None:
    arguments = arguments_of(__doc__)
    arguments.add_argument("--sizes", type=int, nargs="*", default=[64, 128, 256, 512])
    arguments.add_argument("--ways", nargs="+", default=WAYS)
    arguments.add_argument("--times", type=int, nargs="*", default=[], help="sizes, of batches of 1 and 32")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    for seed in options.seeds:
        ways = ways_of(model_for(options, seed), options, seed)
        for n in options.sizes:
            for case in CASES:
                cases = cases_of(case, n, options.draws)
                for name, (of, solver) in ways.items():
                    key = key_of(name, options, seed)
                    row = found.setdefault(options.draws, {}).setdefault(f"{case}, {n}", {})
                    if key not in row:
                        row[key] = [int(solved(system_of(of, *each), solver).steps) for each in cases]
                        print(f"seed {seed}, {case}, {n} x {n}: {key} {row[key]}", flush=True)
                        write(options.out, found)
        for n in options.times:
            for count in (1, 32):
                draws = torch.Generator().manual_seed(1000)
                a = torch.cat([permeability(n, 10.0, draws) for _ in range(count)])
                ratios = timed(ways, a, 3)
                found.setdefault("times", {}).setdefault(f"{n}, batch of {count}", {})[str(seed)] = ratios
                print(f"seed {seed}, {n} x {n}, batch of {count}: {ratios}", flush=True)
                write(options.out, found)


if __name__ == "__main__":
    main()
