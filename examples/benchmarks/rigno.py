"""Time of RIGNO-12 on a CPU, eager and compiled: `python examples/benchmarks/rigno.py --threads 1 2`.

1024 points of a periodic square, four variables, two samples on one mesh, float32. A training step is a
forward pass over half of the edges, the mean square error, the backward pass and AdamW. Eager and compiled
runs alternate, and every figure is a median.

The official code (JAX) is not run: its figures are constants from an earlier measurement. The comparison uses
CPU times, summed over the threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from neuralop_irno import RIGNO

POINTS, VARIABLES, SAMPLES, STEPS = 1024, 4, 2, 12
OFFICIAL_CPU_SECONDS = {"forward": 0.200, "training step": 0.491}
"""For the same sizes, compiled by JAX 0.10.2, on two shared cores."""


class Case:
    """A model and a batch, with the calls to time, for the model or its compiled version."""

    def __init__(self, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.model = RIGNO(VARIABLES, VARIABLES, periodic=True, domain=(0.0, 1.0), steps=STEPS).to(device)
        self.graph = self.model.graphs.graph_of(torch.rand(POINTS, 2)).to(device)
        self.x, self.y = torch.randn(2, SAMPLES * POINTS, VARIABLES).to(device)
        self.batch = torch.arange(SAMPLES, device=device).repeat_interleave(POINTS)
        self.t, self.tau = torch.tensor([0.1, 0.2], device=device), torch.tensor([0.1, 0.3], device=device)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        # A learning rate of 0 keeps the weights constant.
        self.optimizer = torch.optim.AdamW(self.parameters, lr=0.0, fused=True)

    def forward(self, model: nn.Module) -> Tensor:
        """The output."""
        model.eval()
        with torch.no_grad():
            return self._answer(model)

    def training_step(self, model: nn.Module) -> Tensor:
        """The gradient; the same edges are left out each time."""
        model.train()
        torch.manual_seed(0)
        self.optimizer.zero_grad()
        (self._answer(model) - self.y).square().mean().backward()
        self.optimizer.step()
        return torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])

    def _answer(self, model: nn.Module) -> Tensor:
        return model(self.x, None, self.batch, self.t, self.tau, self.graph)


def in_turns(calls: dict[str, Callable[[], object]], repetitions: int) -> dict[str, dict[str, float]]:
    """The median time of each call, in wall seconds and in CPU seconds of all threads."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for repetition in range(repetitions):
        for name in list(calls)[:: 1 if repetition % 2 else -1]:
            wall, cpu = time.perf_counter(), time.process_time()
            calls[name]()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: map(statistics.median, zip(*pairs, strict=True)) for name, pairs in times.items()}
    return {name: dict(zip(("wall", "cpu"), both, strict=True)) for name, both in medians.items()}


def measure(case: Case, what: str, repetitions: int) -> dict[str, object]:
    """Measure and print the figures of a forward pass or of a training step."""
    run = {"forward": case.forward, "training step": case.training_step}[what]
    twin = torch.compile(case.model, dynamic=False)
    reference, start = run(case.model), time.perf_counter()
    difference = ((run(twin) - reference).abs().max() / reference.abs().max()).item()
    compilation = time.perf_counter() - start
    ways = {"eager": lambda: run(case.model), "compiled": lambda: run(twin)}
    in_turns(ways, repetitions=2)  # to warm up
    costs = in_turns(ways, repetitions)
    for way, cost in costs.items():
        cost["cpu_over_official"] = cost["cpu"] / OFFICIAL_CPU_SECONDS[what]
        milliseconds = f"{1e3 * cost['wall']:4.0f} ms, CPU {1e3 * cost['cpu']:4.0f} ms"
        print(f"  {what:13} {way:8} {milliseconds}   CPU, ours / official {cost['cpu_over_official']:.3f}")
    ratio = costs["compiled"]["wall"] / costs["eager"]["wall"]
    print(f"  {what:13} compiled / eager {ratio:.3f}   largest difference {difference:.0e}")
    print(f"  {what:13} compiled in {compilation:.0f} s", flush=True)
    return {**costs, "compiled_over_eager": ratio, "difference": difference, "compilation": compilation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.compiler.config.force_disable_caches = True  # measure compilation without caches
    case = Case()
    parameters = sum(p.numel() for p in case.model.parameters())
    print(f"RIGNO-{STEPS}: {parameters:,} parameters, {POINTS} points, {SAMPLES} samples")
    content: dict[str, object] = {"parameters": parameters, "repetitions": options.repetitions}
    content["official_cpu_seconds"] = OFFICIAL_CPU_SECONDS
    for threads in options.threads:
        print(f"{threads} thread(s)", flush=True)
        torch.set_num_threads(threads)
        torch.compiler.reset()  # compiled code keeps its number of threads
        content[f"threads_{threads}"] = {
            what: measure(case, what, options.repetitions) for what in OFFICIAL_CPU_SECONDS
        }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
