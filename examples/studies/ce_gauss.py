"""RIGNO refined on compressible flow: `python examples/studies/ce_gauss.py` (about an hour, one thread).

Flows start from Gaussian vorticity and are seen at scattered points. A RIGNO carries them over two of the
set's 20 intervals; seven such steps, each from the last answer, make a rollout. Scored is the median relative
L1 error, as RIGNO's authors score: on normalised fields, density, velocity and pressure apart, then their mean.

Beside the refined model stand two that answer in one step: a residual correction with the same parameters,
and one with as many rounds of messages as the refiner goes through in all of its steps.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.data.ce_gauss import ce_gauss
from neuralop_irno.data.trajectories import FramePairs, PointTrajectories
from neuralop_irno.models.rigno import RIGNO, Statistics, TimeStepper
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.trainer import Trainer

LEAD, STEPS = 2, 7
GROUPS = ((0,), (1, 2), (3,))
"""Density, velocity, pressure."""


@dataclass(frozen=True)
class Scale:
    """How large a study.

    Attributes:
        flows: for training, validation and test.
        points: of each flow.
        resolution: cells a side of the solver's grid.
        width: of the networks.
        rounds: in which regions talk to each other, of base and correction.
        steps: K.
        base_epochs: passes over all pairs of frames of the training flows.
        epochs: the same for what is trained on the base.
    """

    flows: tuple[int, int, int]
    points: int
    resolution: int
    width: int
    rounds: tuple[int, int]
    steps: int
    base_epochs: int
    epochs: int


SCALES = {
    "quick": Scale((8, 2, 4), 128, 32, 16, (2, 1), 2, 2, 2),
    "small": Scale((96, 8, 32), 256, 64, 48, (6, 3), 4, 20, 16),
    "paper": Scale((1024, 128, 256), 16384, 128, 128, (18, 18), 4, 100, 100),
}


def normalised(scale: Scale, seed: int, folder: str) -> dict[str, FramePairs]:
    """Pairs of frames, every channel shifted and scaled by what the training flows say."""
    splits = ce_gauss(scale.flows, scale.points, scale.resolution, leads=(LEAD,), seed=seed, folder=folder)
    known = splits["train"].trajectories.u
    std, mean = torch.std_mean(known, (0, 1, 2), correction=0)
    result = {}
    for name, split in splits.items():
        whole = split.trajectories
        u = (whole.u - mean) / std
        result[name] = FramePairs(PointTrajectories(u, whole.cloud(), whole.times), (LEAD,))
    return result


def rolled(model: nn.Module, graph: Any, start: Tensor) -> Tensor:
    """Seven answers, each to the last one, for flows side by side, ``(S, 7, N, 4)``."""
    count, nodes = start.shape[:2]
    pos, batch = graph.pos.repeat(count, 1), torch.arange(count).repeat_interleave(nodes)
    field, frames = start.flatten(0, 1), []
    with torch.no_grad():
        for _ in range(STEPS):
            field = model(x=field, pos=pos, batch=batch)
            frames.append(field.reshape(count, nodes, -1))
    return torch.stack(frames, 1)


def errors(model: nn.Module, split: FramePairs) -> list[float]:
    """The median relative L1 error after each of the seven steps."""
    u = split.trajectories.u
    truth = u[:, LEAD : LEAD * STEPS + 1 : LEAD]
    found = rolled(model.eval(), split[0], u[:, 0])
    difference, size = (found - truth).abs().sum(2), truth.abs().sum(2)
    groups = [difference[..., g].sum(-1) / size[..., g].sum(-1) for g in map(list, GROUPS)]
    return torch.stack([group.median(0).values for group in groups]).mean(0).tolist()


def refined(base: nn.Module, scale: Scale, rounds: int, steps: int) -> IterativeRefiner:
    correction = {
        "name": "rigno", "width": scale.width, "steps": rounds, "is_periodic": True, "box": (0.0, 1.0),
        "frequencies": 0, "in_channels": 4, "out_channels": 4,
    }  # fmt: skip
    return IterativeRefiner(base, correction, steps=steps, alpha=1.0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--scale", choices=SCALES, default="small")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--data", default="data", help="where flows are kept")
    arguments.add_argument("--json", type=Path, help="write the figures to this file")
    arguments.add_argument("--only", nargs="*", help="of refined, same parameters, same compute")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    scale = SCALES[options.scale]
    data = normalised(scale, options.seed, options.data)

    def train(model: nn.Module, epochs: int, rate: float, loss: RefinementLoss | None = None) -> nn.Module:
        recipe = Recipe(epochs=epochs, batch_size=8, learning_rate=rate, seed=options.seed)
        Trainer(model, recipe, loss, device=options.device, show=False).fit(data["train"], data["valid"])
        return model

    torch.manual_seed(options.seed)
    network = RIGNO(
        4,
        4,
        periodic=True,
        domain=(0.0, 1.0),
        width=scale.width,
        steps=scale.rounds[0],
        time=False,
        edge_masking=0.0,
        frequencies=0,
    )
    whole = data["train"].trajectories
    statistics = Statistics.of(whole.u[:, ::LEAD], whole.times[::LEAD], longest=1)
    base = TimeStepper(network, statistics, rule="res")
    start = time.perf_counter()
    train(base, scale.base_epochs, 2e-3)
    rows = {"base": errors(base, data["test"])}
    report("base", rows["base"], start)

    variants = {
        "refined": (scale.rounds[1], scale.steps),
        "same parameters": (scale.rounds[1], 1),
        "same compute": (scale.rounds[1] * scale.steps, 1),
    }
    for name, (rounds, steps) in variants.items():
        if options.only is None or name in options.only:
            torch.manual_seed(options.seed)
            start = time.perf_counter()
            model = train(refined(base, scale, rounds, steps), scale.epochs, 2e-3, RefinementLoss())
            rows[name] = errors(model, data["test"])
            report(name, rows[name], start)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {"threads": options.threads, "device": options.device}
        table = {"scale": options.scale, "seed": options.seed, "machine": machine, "median_relative_l1": rows}
        options.json.write_text(json.dumps(table, indent=1))


def report(name: str, steps: list[float], start: float) -> None:
    numbers = " ".join(f"{100 * error:7.3f}" for error in steps)
    print(f"{name:16} {numbers}   {time.perf_counter() - start:6.0f} s", flush=True)


if __name__ == "__main__":
    main()
