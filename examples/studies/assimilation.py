"""Errors of a turbulent rollout with one observed point in twenty, in every fifth frame.

    python examples/studies/assimilation.py --seed 1 --json docs/results/assimilation.json

Turbulence at 32x32, 50 frames of 0.1 from the true first frame: a refiner alone, and with sensors at random
points whose noise is a tenth of the field's standard deviation. The mean of an ensemble is smoother than a
field and has a smaller error for this reason alone: the ensemble mean without observations is the control.
Means over four held-out flows and several draws of sensors. Settings were chosen on the flows of seed 0. Five
minutes on one core, a third of it for training.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import torch
from neuralop.models import FNO
from torch import Tensor

from neuralop_irno import (
    Amendment,
    Ensemble,
    Interpolation,
    IterativeRefiner,
    JoinedTrajectories,
    ModelError,
    Nudging,
    Observations,
    Recipe,
    Trainer,
    join_pairs,
    moments,
    rollout,
    turbulence,
    vrmse,
)
from neuralop_irno.checkpoint import write_bytes

SIZE, STEPS, FRAME, EVERY, SHARE, NOISE = 32, 50, 0.1, 5, 0.05, 0.1
TORUS = {"sides": 2 * math.pi, "periodic": True}


def trained(seed: int) -> tuple[IterativeRefiner, JoinedTrajectories, Tensor]:
    """A refiner, held-out flows, and the refiner's one-step errors on the training flows."""
    data = turbulence(
        (48, 2, 4), STEPS + 1, FRAME, SIZE, resolution=32, outputs=1, stride=2, seed=seed, viscosity=2e-2
    )
    torch.manual_seed(seed)
    base = FNO(n_modes=(8, 8), in_channels=2, out_channels=1, hidden_channels=12, n_layers=3)
    Trainer(base, Recipe(optimizer="adamw", epochs=5, batch_size=8, seed=seed), show=False).fit(
        data["train"], data["valid"]
    )
    model = IterativeRefiner(base, {"name": "unet", "width": 16, "depth": 3}, steps=3, alpha=1.0)
    recipe = Recipe(
        optimizer="adamw",
        epochs=6,
        batch_size=8,
        learning_rate=6e-3,
        weight_decay=0.1,
        replay=12.0,
        seed=seed,
    )
    Trainer(model, recipe, show=False).fit(data["train"], data["valid"])
    model.eval()
    x, y = data["train"].x[::4], data["train"].y[::4]
    with torch.no_grad():
        return model, join_pairs(data["test"], STEPS), y - model(x)


def sensors(truth: Tensor, seed: int) -> Observations:
    """Noisy observations at random points, the same points in every flow."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(SIZE**2, generator=generator)[: round(SHARE * SIZE**2)]
    mask = torch.zeros(SIZE**2, dtype=torch.bool)
    mask[chosen] = True
    frames = range(EVERY - 1, STEPS, EVERY)
    values = truth[:, list(frames)]
    noise = NOISE * torch.randn(values.shape, generator=generator)
    return Observations(mask.reshape(SIZE, SIZE), values + noise * truth.std(), frames)


class Study:
    """Rollouts of one refiner with different amendments."""

    def __init__(
        self, model: IterativeRefiner, flow: JoinedTrajectories, errors: Tensor, members: int
    ) -> None:
        self.model, self.flow, self.members = model, flow, members
        self.model_error = ModelError(errors[None], members, scale=3.0)

    def alone(self, *amend: Amendment) -> dict[str, float]:
        """Errors of one rollout per flow."""
        started = time.process_time()
        frames = rollout(
            self.model, self.flow.start[:, 0], STEPS, static=self.flow.static, amend=amend
        ).frames
        return self._judged(frames, 1, started)

    def together(self, *amend: Amendment) -> dict[str, float]:
        """Errors of the mean of an ensemble per flow, and the ratio of spread to error."""
        started = time.process_time()
        start, static = (
            field.repeat_interleave(self.members, 0) for field in (self.flow.start[:, 0], self.flow.static)
        )
        run = rollout(self.model, start, STEPS, static=static, amend=[self.model_error, *amend])
        mean, spread = moments(run.frames, self.members)
        row = self._judged(mean, self.members, started)
        wrong = (mean - self.flow.frames).square().mean().sqrt()
        return {**row, "spread_over_error": (spread.square().mean().sqrt() / wrong).item()}

    def _judged(self, frames: Tensor, members: int, started: float) -> dict[str, float]:
        seconds = time.process_time() - started
        error = vrmse(frames, self.flow.frames, space=2).mean((0, 2))
        return {
            "mean": error.mean().item(),
            "last": error[-1].item(),
            "members": members,
            "seconds": seconds,
        }


def methods(seen: Observations, told: float, members: int) -> dict[str, Amendment]:
    """The assimilation methods by name."""
    return {
        "nudged": Nudging(seen, gain=0.9),
        "interpolated": Interpolation(seen, reach=0.3, noise=0.6, **TORUS),
        "ensemble": Ensemble(seen, members, noise=told, radius=4.0, **TORUS),
    }


def show(rows: dict[str, list[dict[str, float]]]) -> None:
    """Print a table of means over the sensors, absolute and relative to no observations."""
    free = rows["no observations"][0]
    print(f"\n{'':38}{'members':>8}{'seconds':>9}{'mean':>8}{'last':>8}   in units of no observations")
    for name, found in rows.items():
        members, seconds, mean, last = (
            statistics.mean(row[column] for row in found) for column in ("members", "seconds", "mean", "last")
        )
        shares = f"{mean / free['mean']:8.2f}{last / free['last']:8.2f}"
        print(f"{name:38}{members:8}{seconds:9.1f}{mean:8.3f}{last:8.3f}{shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="seed of flows and training")
    parser.add_argument("--sensors", type=int, nargs="+", default=[0, 1, 2], help="seeds of the sensors")
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.process_time()
    model, flow, errors = trained(options.seed)
    print(f"trained in {time.process_time() - started:.0f} s of CPU time", flush=True)
    study = Study(model, flow, errors, options.members)
    rows = {"no observations": [study.alone()], "no observations, mean of the members": [study.together()]}
    told = NOISE * flow.frames.std().item()
    for seed in options.sensors:
        for name, method in methods(sensors(flow.frames, seed), told, options.members).items():
            row = study.together(method) if isinstance(method, Ensemble) else study.alone(method)
            rows.setdefault(name, []).append(row)
            print(
                f"sensors {seed}  {name:14}", {key: round(value, 3) for key, value in row.items()}, flush=True
            )
    show(rows)
    if options.json:
        content = {"seed": options.seed, "sensors": options.sensors, "rows": rows}
        write_bytes(options.json, json.dumps(content, indent=1).encode())


if __name__ == "__main__":
    main()
