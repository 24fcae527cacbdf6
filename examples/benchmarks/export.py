"""Time of an exported graph over that of the same calls in eager mode, paired; and the agreement of both.

Times are those of the CPU, with one thread. Weights and data are drawn anew for each seed; the last line of a
problem is the median over the seeds.

python examples/benchmarks/export.py [--compiled] [--seeds 3] [--pairs 15] [--problems 1-D 2-D 3-D mesh]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from neuralop.models import FNO
from paired import paired
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCN

from neuralop_irno import IterativeRefiner, export
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.whole_batch import WholeBatch, by_steps

RTOL, MOST = 1e-2, 20
SIZES = {1: 1024, 2: 64, 3: 16}


def on_grid(dim: int) -> tuple[IterativeRefiner, torch.Tensor]:
    """FNO and U-Net, and a batch of four."""
    base = FNO(n_modes=(8,) * dim, in_channels=2, out_channels=1, hidden_channels=16, n_layers=4)
    correction = {"name": "unet", "width": 16, "depth": 3}
    size = {"cells": [SIZES[dim]] * dim}
    model = IterativeRefiner(base, correction, steps=4, alpha=0.5, resolution=size)
    return model, torch.randn(4, 2, *[SIZES[dim]] * dim)


def on_mesh() -> tuple[IterativeRefiner, Batch]:
    """Networks of messages, and a batch of four graphs with six neighbours for each of their nodes."""
    base = GCN(2, 32, num_layers=3, out_channels=1)
    model = IterativeRefiner(
        base,
        {"name": "meshgraph", "width": 32, "steps": 3},
        steps=4,
        alpha=0.5,
        in_channels=2,
        out_channels=1,
    )
    graphs = []
    for _ in range(4):
        pos = torch.rand(1000, 2)
        nearest = torch.cdist(pos, pos).topk(7, largest=False).indices[:, 1:]
        edges = torch.stack([nearest.flatten(), torch.arange(1000).repeat_interleave(6)])
        graphs.append(Data(x=torch.randn(1000, 2), pos=pos, edge_index=edges))
    return model, Batch.from_data_list(graphs)


def shaken(model: IterativeRefiner) -> IterativeRefiner:
    """The model with a correction that is not zero."""
    for parameter in model.correction.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def masked(model: IterativeRefiner, call: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loop of the file, in eager mode: all samples in every step, those that have ended under a mask."""
    problem = model.at_resolution(model.problem((), call))
    solve = WholeBatch(model.phi(problem), model.solver, Limits(rtol=RTOL), MOST)
    return problem.as_answer(solve.run(problem.start, by_steps)[0])


def measured(name: str, limits: dict[str, Any], compiled: bool, pairs: int, seed: int) -> float:
    """Print the row of one problem, one kind of program and one seed; returns the ratio of the times."""
    torch.manual_seed(seed)
    model, example = on_mesh() if name == "mesh" else on_grid(int(name[0]))
    shaken(model)
    call = model.arguments(example.to_dict()) if isinstance(example, Batch) else {"x": example}
    with tempfile.TemporaryDirectory() as folder:
        made = export(model, example, Path(folder) / "model.pt2", compiled=compiled, **limits)
        load = (
            torch._inductor.aoti_load_package if compiled else lambda path: torch.export.load(path).module()
        )
        program = load(str(made.path))
    parts = {**call, "counts": example.ptr.diff()} if isinstance(example, Batch) else call
    inputs = [parts[one["name"]] for one in made.inputs]
    value, _, _, steps = program(*inputs)
    own = model.solve(**call, **made.solve)
    eager = partial(masked, model, call) if limits else partial(model, **call)
    ratio = paired(partial(program, *inputs), eager, pairs, clock=time.process_time)
    difference = ((value - own.value).abs().max() / own.value.abs().max()).item()
    same = "the model's steps" if steps.tolist() == own.steps.tolist() else "OTHER STEPS"
    print(f"{name}, {made.solve}, {seed}: {ratio}, {difference:.1e}, {same} {steps.tolist()}", flush=True)
    return ratio.median


def main() -> None:
    """Print a row for each problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiled", action="store_true", help="packages of AOTInductor")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--problems", nargs="*", default=["1-D", "2-D", "3-D", "mesh"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("problem, program, seed: time over eager, largest difference over the largest value, steps")
    with torch.no_grad():
        for name in options.problems:
            for limits in ({}, {"rtol": RTOL, "max_steps": MOST}):
                ratios = [
                    measured(name, limits, options.compiled, options.pairs, seed)
                    for seed in range(options.seeds)
                ]
                print(f"{name}: {statistics.median(ratios):.3f}", flush=True)


if __name__ == "__main__":
    main()
