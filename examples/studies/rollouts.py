"""Rollouts of base and refiner: `python examples/studies/rollouts.py` (twenty minutes, one thread).

Three problems are rolled out for a hundred frames: the Kuramoto-Sivashinsky equation, forced turbulence, and
waves on meshes with holes. For each, a small base is trained on one frame, then a refiner around the frozen
base, and as a control the same correction evaluated once, with as many updates. A rollout is valid until its
VRMSE first exceeds 0.4, and has diverged when it is not finite or ten times larger than any reference frame.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GraphSAGE

from neuralop_irno import (
    GraphDataset,
    IterativeRefiner,
    Recipe,
    Refine,
    Trainer,
    Window,
    evaluate_rollout,
    rollout,
    waves,
    windows,
)
from neuralop_irno._neuralop import FNO
from neuralop_irno.data.solvers.flow import PeriodicFlow
from neuralop_irno.data.solvers.kuramoto_sivashinsky import KuramotoSivashinsky
from neuralop_irno.data.solvers.turbulence import Turbulence
from neuralop_irno.diagnostics.report_files import as_json
from neuralop_irno.diagnostics.rollout_report import RolloutReport

SHORT, LONG, THRESHOLD = 7, 100, 0.4
SHOWN = (*range(1, SHORT + 1), 10, 20, 50, LONG)
SCORES = ("vrmse", "relative_l2")
FLOWS = {"train": 48, "valid": 4, "test": 16}
MESHES = {"train": 96, "valid": 8, "test": 16}


@dataclass(frozen=True)
class Problem:
    """A problem: data, base and refiner.

    Attributes:
        frame: the time between two frames.
        inputs: frames in the model's input.
        train: pairs for training.
        valid: pairs of other flows for validation.
        start: the initial frames of held-out flows, for `rollout`.
        static: constant inputs of the model.
        truth: the frames that follow.
        base: builds the base.
        base_recipe: recipe of the base.
        correction: config of the correction.
        steps: K.
        recipe: recipe of the refiner.
    """

    frame: float
    inputs: int
    train: Dataset[Any]
    valid: Dataset[Any]
    start: Any
    static: Tensor | None
    truth: Tensor
    base: Callable[[], nn.Module]
    base_recipe: Recipe
    correction: Mapping[str, Any]
    steps: int
    recipe: Recipe


def kuramoto_sivashinsky(seed: int) -> Problem:
    """The Kuramoto-Sivashinsky equation on a line of length 36, at 64 points."""
    return on_grid(
        flow=KuramotoSivashinsky(64),
        seed=seed,
        frame=2.0,
        warmup=100.0,
        size=64,
        stride=1,
        base=lambda: FNO(n_modes=(12,), in_channels=1, out_channels=1, hidden_channels=8, n_layers=2),
        base_recipe=Recipe(optimizer="adamw", epochs=10, seed=seed),
        correction={"name": "unet", "width": 16, "depth": 3},
        steps=4,
        recipe=Recipe(
            optimizer="adamw", epochs=24, learning_rate=6e-3, weight_decay=0.1, replay=24.0, seed=seed
        ),
    )


def turbulence(seed: int) -> Problem:
    """Turbulence at 32x32; with the forcing in x the problem is translation invariant."""
    flow, size = Turbulence(64), 32
    stirring = flow.grid.coarsen(flow.grid.transform(flow.forcing), size)
    return on_grid(
        flow=flow,
        seed=seed,
        frame=0.2,
        warmup=4.0,
        size=size,
        stride=3,
        static=stirring / stirring.std(),
        base=lambda: FNO(n_modes=(8, 8), in_channels=2, out_channels=1, hidden_channels=16, n_layers=4),
        base_recipe=Recipe(optimizer="adamw", epochs=12, seed=seed),
        correction={"name": "unet", "width": 16, "depth": 3},
        steps=4,
        recipe=Recipe(
            optimizer="adamw",
            epochs=14,
            batch_size=8,
            learning_rate=6e-3,
            weight_decay=0.1,
            replay=24.0,
            seed=seed,
        ),
    )


def on_grid(
    flow: PeriodicFlow,
    seed: int,
    frame: float,
    warmup: float,
    size: int,
    stride: int,
    static: Tensor | None = None,
    **models: Any,
) -> Problem:
    """A problem on a periodic grid, in units of the training flows' standard deviation; 40 frames each."""
    frames = {"train": 40, "valid": 40, "test": LONG + 1}
    fields = {
        split: flow.run(count, frames[split], frame, 3 * seed + place, warmup, size)
        for place, (split, count) in enumerate(FLOWS.items())
    }
    fields = {split: field / fields["train"].std() for split, field in fields.items()}
    test = fields["test"].unsqueeze(2)
    return Problem(
        frame=frame,
        inputs=1,
        train=windows(fields["train"], stride=stride, static=static),
        valid=windows(fields["valid"], stride=stride, static=static),
        start=test[:, :1],
        static=None if static is None else static[None, None],
        truth=test[:, 1:],
        **models,
    )


def mesh(seed: int) -> Problem:
    """Waves between walls and holes, each flow on its own mesh: from two frames to the next.

    A single frame does not determine the direction of a wave.
    """
    frame = 0.1
    data = waves(tuple(MESHES.values()), spacing=0.07, time=frame, outputs=LONG + 1, seed=seed)

    def calls(split: str) -> GraphDataset:
        """Pairs of every eighth frame."""
        found = []
        for graph in data[split]:
            u, wall = torch.cat([graph.x[:, :1], graph.y], 1), graph.x[:, 1:]
            for t in range(0, LONG, 8):
                found.append(on(graph, x=torch.cat([u[:, t : t + 2], wall], 1), y=u[:, t + 2 : t + 3]))
        return GraphDataset(found)

    held_out = Batch.from_data_list(
        [
            on(g, x=torch.stack([g.x[:, :1], g.y[:, :1]], 1), wall=g.x[:, 1:], truth=g.y[:, 1:, None])
            for g in data["test"]
        ]
    )
    return Problem(
        frame=frame,
        inputs=2,
        train=calls("train"),
        valid=calls("valid"),
        start=held_out,
        static=held_out.wall,
        truth=held_out.truth,
        base=lambda: GraphSAGE(in_channels=3, hidden_channels=32, num_layers=3, out_channels=1),
        base_recipe=Recipe(optimizer="adamw", epochs=12, batch_size=8, learning_rate=3e-3, seed=seed),
        correction={"name": "meshgraph", "width": 32, "steps": 4, "in_channels": 3, "out_channels": 1},
        steps=3,
        recipe=Recipe(optimizer="adamw", epochs=12, batch_size=8, learning_rate=3e-3, replay=6.0, seed=seed),
    )


def on(graph: Data, **fields: Tensor) -> Data:
    """A graph with new fields on the mesh of another one."""
    return Data(**fields, pos=graph.pos, face=graph.face, edge_index=graph.edge_index, measure=graph.measure)


PROBLEMS = {"kuramoto_sivashinsky": kuramoto_sivashinsky, "turbulence": turbulence, "mesh": mesh}


def trained(problem: Problem, seed: int) -> Iterator[tuple[str, IterativeRefiner, int]]:
    """The models by name, with their refinement steps per call."""

    def fitted(model: nn.Module, recipe: Recipe) -> nn.Module:
        Trainer(model, recipe, show=False).fit(problem.train, problem.valid)
        return model.eval()

    def corrected(steps: int, **words: Any) -> IterativeRefiner:
        torch.manual_seed(seed)
        return IterativeRefiner(base, problem.correction, steps=steps, alpha=1.0, **words)

    torch.manual_seed(seed)
    base = fitted(problem.base(), problem.base_recipe)
    yield "base", corrected(problem.steps).eval(), 0
    yield "refined", fitted(corrected(problem.steps), problem.recipe), problem.steps
    # A network evaluated once has no states to replay; the rest of the recipe is the same.
    recipe = replace(problem.recipe, replay=0.0)
    yield "one shot", fitted(corrected(1, gradient="unrolled"), recipe), 1


def judged(problem: Problem, model: IterativeRefiner, steps: int) -> RolloutReport:
    """The report on the rollouts of all held-out flows; its times are in frames."""
    window, refinement = Window(problem.inputs), Refine(steps)
    run = rollout(model, problem.start, LONG, window=window, static=problem.static, refinement=refinement)
    graph = problem.start if isinstance(problem.start, Batch) else None
    return evaluate_rollout(run.frames, problem.truth, graph=graph, threshold=THRESHOLD)


def figures(report: RolloutReport) -> dict[str, Tensor]:
    """The stored figures of a report: median and mean over the flows, and valid frames of each flow."""
    found = {"valid_frames": report.valid_time.long(), "sound_frames": report.sound}
    for name in SCORES:
        # Non-finite errors count as infinite.
        score = report.scores[name][:, [frame - 1 for frame in SHOWN], 0].double().nan_to_num(torch.inf)
        found[f"median {name}"] = score.median(0).values.round(decimals=4)
        found[f"mean {name}"] = score.mean(0).round(decimals=4)
    return found


def verdict(base: RolloutReport, refined: RolloutReport) -> dict[str, Any]:
    """Whether refinement improves the rollouts."""
    better = []
    for name in SCORES:
        before, after = (report.scores[name][:, :SHORT, 0] for report in (base, refined))
        better += [after.median(0).values < before.median(0).values, after.mean(0) < before.mean(0)]
    return {
        "better_at_every_step": bool(torch.stack(better).all()),
        "median_valid_frames": [int(report.valid_time.median()) for report in (base, refined)],
        "blown_up": [int(report.blown_up[-1]) for report in (base, refined)],
        "lost_by_refinement": int(((base.sound == LONG) & (refined.sound < LONG)).sum()),
    }


def table(found: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Medians, and means in brackets, by frame; then the valid frames of the flows."""
    lines = [" " * 12 + "".join(f"{f'{name}, {score}':>23}" for score in SCORES for name in found)]
    for place, frame in enumerate(SHOWN):
        cells = [
            f"{kept[f'median {score}'][place]:.4f} ({kept[f'mean {score}'][place]:.4f})"
            for score in SCORES
            for kept in found.values()
        ]
        lines.append(f"  frame {frame:<4}" + "".join(f"{cell:>23}" for cell in cells))
    for name, kept in found.items():
        valid, lost = kept["valid_frames"].sort().values.tolist(), int((kept["sound_frames"] < LONG).sum())
        lines.append(f"  {name}: valid for {valid} frames, {lost} of {len(valid)} blow up")
    return "\n".join(lines)


def keep(path: Path, row: dict[str, Any]) -> None:
    """Add a row to the file, replacing an older one for the same problem and seed."""
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [old for old in rows if (old["problem"], old["seed"]) != (row["problem"], row["seed"])]
    rows = sorted([*rows, row], key=lambda each: (each["problem"], each["seed"]))
    heads = {"machine": f"{os.cpu_count()} CPU cores, one thread", "threshold": THRESHOLD, "frames": SHOWN}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**heads, "rows": rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.seeds:
        for name in options.problems:
            started = time.process_time()
            problem = PROBLEMS[name](seed)
            reports = {who: judged(problem, model, steps) for who, model, steps in trained(problem, seed)}
            found = {who: figures(report) for who, report in reports.items()}
            answer = verdict(reports["base"], reports["refined"])
            seconds = round(time.process_time() - started)
            print(f"{name}, seed {seed}, frames of {problem.frame}, {seconds} s of one core")
            print(f"{table(found)}\n  {answer}\n", flush=True)
            if options.json:
                row = {"problem": name, "seed": seed, "frame": problem.frame, "steps": problem.steps}
                models = {
                    who: {key: as_json(values) for key, values in kept.items()} for who, kept in found.items()
                }
                keep(options.json, {**row, "seconds": seconds, "models": models, "verdict": answer})


if __name__ == "__main__":
    main()
