"""RIGNO refined on compressible flow: `python examples/studies/ce_gauss.py --seeds 0 1 2`.

Flows start from Gaussian vorticity and are sampled at scattered points. From two frames a RIGNO predicts the
change until the next one; a rollout has seven such steps. (One frame is not enough: at so few points it does
not determine the direction of sound waves.) The metric is the median relative error as in RIGNO's paper: on
normalised fields, separately for density, velocity and pressure, then averaged; in L1 and in L2.

The correction passes messages along the edges of the triangulation of the points, on the torus (`meshgraph`),
or between regions as the base does (`--correction rigno`). The refined model is compared with two one-shot
corrections: one with the same parameters, and one with as many rounds of messages as the refiner takes in all
of its steps.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from neuralop.data.transforms.normalizers import UnitGaussianNormalizer
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import (
    RIGNO,
    GraphDataset,
    IterativeRefiner,
    Recipe,
    RefinementLoss,
    Stepper,
    Trainer,
    Window,
    ce_gauss,
    rollout,
)

STEPS = 7
GROUPS = ((0,), (1, 2), (3,))
"""Density, velocity, pressure."""


@dataclass(frozen=True)
class Scale:
    """The size of a study.

    Attributes:
        flows: numbers of flows for training, validation and test.
        frames: frames of each flow.
        time: time of the last frame.
        bumps: vortices of each flow.
        widths: smallest and largest width of a vortex.
        density: initial density of the gas.
        points: points of each flow.
        resolution: cells per side of the solver's grid.
        width: channels of base and correction.
        rounds: rounds of messages of base and correction.
        steps: K.
        base_epochs: passes over all pairs of frames of the training flows, for the base.
        epochs: the same for the corrections.
    """

    flows: tuple[int, int, int]
    frames: int
    time: float
    bumps: int
    widths: tuple[float, float]
    density: float
    points: int
    resolution: int
    width: tuple[int, int]
    rounds: tuple[int, int]
    steps: int
    base_epochs: int
    epochs: int


SCALES = {
    "quick": Scale((8, 2, 4), 15, 0.7, 10, (0.15, 0.3), 1.0, 128, 32, (16, 16), (2, 1), 2, 2, 2),
    "small": Scale((256, 8, 32), 15, 0.7, 10, (0.15, 0.3), 1.0, 256, 32, (32, 48), (4, 3), 4, 6, 12),
    "paper": Scale(
        (1024, 128, 256), 21, 1.0, 100, (0.01, 0.1), 0.1, 16384, 128, (128, 128), (18, 18), 4, 100, 100
    ),
}


def what_is_seen(before: Tensor, now: Tensor, change: Tensor) -> Tensor:
    """The input of the models from two frames, ``(..., 8)``: the last one, and the normalised change."""
    return torch.cat([now, (now - before) / change], -1)


class Flows:
    """Trajectories, normalised by the statistics of the training flows.

    Args:
        scale: size of the study.
        seed: seed of the flows.
        folder: folder in which the flows are kept.
    """

    def __init__(self, scale: Scale, seed: int, folder: str) -> None:
        splits = ce_gauss(
            scale.flows, scale.points, scale.resolution, scale.frames, scale.time, (1,), scale.bumps,
            scale.widths, scale.density, seed, folder,
        )  # fmt: skip
        cloud = splits["train"].trajectories.cloud()
        known = splits["train"].trajectories.u
        std, mean = torch.std_mean(known, (0, 1, 2), correction=0)
        self.u = {name: (split.trajectories.u - mean) / std for name, split in splits.items()}
        edge_index, measure = cloud.neighbourhood
        self.points = {"pos": cloud.pos, "edge_index": edge_index, "measure": measure}
        self.points["period"] = torch.ones(1, 2)
        self.change = self.u["train"].diff(dim=1).std((0, 1, 2))

    def pairs(self, split: str) -> GraphDataset:
        """Two frames as x and the change until the next as y, for every flow and time."""
        u = self.u[split]
        places = [(flow, t) for flow in range(len(u)) for t in range(1, u.shape[1] - 1)]
        return GraphDataset(
            [
                Data(
                    x=what_is_seen(u[flow, t - 1], u[flow, t], self.change),
                    y=(u[flow, t + 1] - u[flow, t]) / self.change,
                    **self.points,
                )
                for flow, t in places
            ]
        )

    def rolled(self, model: nn.Module, split: str) -> Tensor:
        """Rollouts of seven frames, each predicted from the last two, ``(S, 7, N, 4)``."""
        change = self.change.to(next(model.parameters()).device)

        def answer(graph: Data) -> Tensor:
            graph.x = what_is_seen(*graph.x.chunk(2, -1), change)
            return model(graph)

        starts = [Data(x=u[:2].transpose(0, 1), **self.points) for u in self.u[split]]
        run = rollout(
            answer,
            Batch.from_data_list(starts).to(change.device),
            STEPS,
            window=Window(inputs=2),
            stepper=Stepper(
                "res", changes=UnitGaussianNormalizer(torch.zeros_like(change[None]), change[None])
            ),
        )
        return run.frames.unflatten(0, (len(starts), -1)).transpose(1, 2).cpu()

    def errors(self, model: nn.Module) -> dict[str, list[float]]:
        """The median relative errors after each of the seven steps, in L1 and L2."""
        truth = self.u["test"][:, 2 : STEPS + 2]
        difference = self.rolled(model.eval(), "test") - truth
        return {f"L{power}": median_error(difference, truth, power) for power in (1, 2)}


def median_error(difference: Tensor, truth: Tensor, power: int) -> list[float]:
    """The relative error of each group of fields, its median over the flows, then the mean of the groups."""
    sums = [field.abs().pow(power).sum(2) for field in (difference, truth)]
    groups = [[part[..., list(g)].sum(-1) for part in sums] for g in GROUPS]
    medians = [(error / size).pow(1 / power).median(0).values for error, size in groups]
    return torch.stack(medians).mean(0).tolist()


CORRECTIONS = {
    "meshgraph": {},
    "rigno": {"periodic": True, "domain": (0.0, 1.0), "frequencies": 0, "in_channels": 8, "out_channels": 4},
}


def refined(base: nn.Module, name: str, scale: Scale, rounds: int, steps: int) -> IterativeRefiner:
    correction = {"name": name, "width": scale.width[1], "steps": rounds, **CORRECTIONS[name]}
    return IterativeRefiner(base, correction, steps=steps, alpha=1.0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--scale", choices=SCALES, default="small")
    arguments.add_argument("--correction", choices=CORRECTIONS, default="meshgraph")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--data", default="data", help="folder in which flows are kept")
    arguments.add_argument("--json", type=Path, help="write the figures of all seeds to this file")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    tables = {str(seed): one_seed(options, SCALES[options.scale], seed) for seed in options.seeds}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {"threads": options.threads, "device": options.device}
        table = {"scale": options.scale, "correction": options.correction, "machine": machine}
        options.json.write_text(json.dumps({**table, "median_relative_error": tables}, indent=1))


def one_seed(options: argparse.Namespace, scale: Scale, seed: int) -> dict[str, dict[str, list[float]]]:
    """The errors of the base, the refined model and both controls."""
    flows = Flows(scale, seed, options.data)
    train_pairs, valid_pairs = flows.pairs("train"), flows.pairs("valid")

    def train(model: nn.Module, epochs: int, rate: float, loss: RefinementLoss | None = None) -> nn.Module:
        recipe = Recipe(
            optimizer="adamw",
            epochs=epochs,
            batch_size=8,
            learning_rate=rate,
            replay=4.0 if isinstance(model, IterativeRefiner) and model.steps > 1 else 0.0,
            seed=seed,
        )
        Trainer(model, recipe, loss, device=options.device, show=False).fit(train_pairs, valid_pairs)
        return model

    torch.manual_seed(seed)
    base = RIGNO(
        8, 4, periodic=True, domain=(0.0, 1.0), width=scale.width[0], steps=scale.rounds[0], time=False,
        edge_masking=0.0, frequencies=0,
    )  # fmt: skip
    start = time.perf_counter()
    train(base, scale.base_epochs, 2e-3)
    rows = {"base": flows.errors(base)}
    report(f"seed {seed}: base", rows["base"], start)
    variants = {
        "refined": (scale.rounds[1], scale.steps),
        "same parameters": (scale.rounds[1], 1),
        "same compute": (scale.rounds[1] * scale.steps, 1),
    }
    for name, (rounds, steps) in variants.items():
        torch.manual_seed(seed)
        start = time.perf_counter()
        model = refined(base, options.correction, scale, rounds, steps)
        rows[name] = flows.errors(train(model, scale.epochs, 3e-3, RefinementLoss()))
        report(name, rows[name], start)
    return rows


def report(name: str, errors: dict[str, list[float]], start: float) -> None:
    for norm, steps in errors.items():
        numbers = " ".join(f"{100 * error:7.3f}" for error in steps)
        print(f"{name:16} {norm} {numbers}   {time.perf_counter() - start:6.0f} s", flush=True)


if __name__ == "__main__":
    main()
