"""All GPU benchmarks in one command: `python examples/benchmarks/gpu.py --json docs/results/gpu.json`.

1. `tests/device`: numerical laws and one training of each kind, on the CPU and on CUDA.
2. Update and solve in units of the textbook loop, float32 and bfloat16, eager and compiled correction, at
   64 x 64 and 256 x 256; a training step of RIGNO-12, eager and compiled; paired, medians.
3. Peak memory of an update by gradient rule.
4. The demo on CUDA.

At most 8 minutes on one H100. Requires Python 3.12, torch 2.11 and PyTorch Geometric 2.8; downloads nothing.
Without a GPU it runs only the CPU part of 1, prints a note, and exits with 0.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from paired import paired
from rigno import Case as RignoCase
from textbook import TextbookUNet, textbook_solve, textbook_update
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss, UNet

ROOT = Path(__file__).parents[2]
STEPS, ALPHA, CHANNELS = 6, 0.2, 4
RULES = ("unrolled", "checkpointed", "detached", "implicit")


class Case:
    """A refiner and the textbook loop around one network, on one device.

    Args:
        size: points per side.
        batch: samples.
        device: torch device.
        half: whether Phi is evaluated in bfloat16; the textbook loop stays in float32.
        compiled: whether the correction is compiled.
        rule: the gradient rule.
    """

    def __init__(
        self,
        size: int,
        batch: int,
        device: str,
        half: bool = False,
        compiled: bool = False,
        rule: str = "unrolled",
    ) -> None:
        torch.manual_seed(0)
        self.device, self.half = device, half
        self.x, self.start, self.y = torch.randn(3, batch, CHANNELS, size, size, device=device)
        phi = UNet(CHANNELS, CHANNELS, width=16, depth=4, blur=False)
        nn.init.normal_(phi.last.weight, std=0.1)
        self.textbook = TextbookUNet(CHANNELS, CHANNELS, 16, 4)
        self.textbook.copy_weights(phi)
        self.textbook.to(device)
        self.refiner = IterativeRefiner(self.base, phi, steps=STEPS, alpha=ALPHA, gradient=rule).to(device)
        self.loss = RefinementLoss(spectral=1.0, fixed_point=0.01, reduction="mean")
        # A learning rate of 0 keeps the weights of both equal.
        self.ours_optimizer = torch.optim.Adam(phi.parameters(), lr=0.0)
        self.theirs_optimizer = torch.optim.Adam(self.textbook.parameters(), lr=0.0)
        if compiled:
            phi.compile()

    def base(self, x: Tensor) -> Tensor:
        """A base without cost."""
        return self.start

    def update(self) -> None:
        """One update of the refiner."""
        self.ours_optimizer.zero_grad()
        with self._precision():
            trajectory = self.refiner.train()(self.x, y=self.y)
        self.loss(trajectory, self.y).backward()
        self.ours_optimizer.step()
        self.wait()

    def textbook_update(self) -> None:
        """One update of the textbook loop."""
        textbook_update(self.textbook, self.theirs_optimizer, self.x, self.start, self.y, STEPS)
        self.wait()

    def solve(self) -> Tensor:
        """The refiner's output."""
        with torch.no_grad(), self._precision():
            answer = self.refiner.eval()(self.x)
        self.wait()
        return answer

    def textbook_solve(self) -> Tensor:
        """The textbook loop's output."""
        answer = textbook_solve(self.textbook, self.x, self.start, STEPS)
        self.wait()
        return answer

    def wait(self) -> None:
        """Synchronise the device, so that its work is included in the timing."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def _precision(self) -> Any:
        return torch.autocast(self.device, torch.bfloat16) if self.half else nullcontext()


def laws(mark: str) -> dict[str, Any]:
    """Run the device tests; returns exit code, summary and failures."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        mark,
        "-W",
        "default",
        str(ROOT / "tests" / "device"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines = done.stdout.strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    print("\n".join([*failed, lines[-1] if lines else done.stderr]), flush=True)
    return {"exit": done.returncode, "summary": lines[-1] if lines else "", "failed": failed}


def times(pairs: int) -> list[dict[str, Any]]:
    """Time ratios of update and solve, refiner / textbook loop."""
    rows = []
    for size, batch in ((64, 16), (256, 4)):
        for half in (False, True):
            for compiled in (False, True):
                case = Case(size, batch, "cuda", half, compiled)
                row = {
                    "size": size,
                    "precision": "bfloat16" if half else "float32",
                    "correction": "compiled" if compiled else "eager",
                    "update": paired(case.update, case.textbook_update, pairs, warmup=3).median,
                    "solve": paired(case.solve, case.textbook_solve, pairs, warmup=3).median,
                }
                difference = (case.solve() - case.textbook_solve()).abs().max()
                row["difference"] = (difference / case.textbook_solve().abs().max()).item()
                rows.append(row)
                print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{v}" for k, v in row.items()))
    return rows


def rigno(pairs: int) -> dict[str, float]:
    """Time ratios of RIGNO-12 on CUDA, compiled / eager."""
    case = RignoCase("cuda")
    twin = torch.compile(case.model, dynamic=False)

    def timed(call: Callable[[nn.Module], Tensor], model: nn.Module) -> Callable[[], None]:
        def run() -> None:
            call(model)
            torch.cuda.synchronize()

        return run

    ratios = {
        name: paired(timed(call, twin), timed(call, case.model), pairs, warmup=3).median
        for name, call in (("forward", case.forward), ("training step", case.training_step))
    }
    print(f"RIGNO-12, compiled / eager: {ratios}", flush=True)
    return ratios


def memory() -> dict[str, float]:
    """Peak memory of one update in MiB, by gradient rule; 256 x 256, 4 samples, K = 6."""
    result = {}
    for rule in RULES:
        case = Case(256, 4, "cuda", rule=rule)
        case.update()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        case.update()
        result[rule] = (torch.cuda.max_memory_allocated() - before) / 2**20
    print({rule: round(size) for rule, size in result.items()}, flush=True)
    return result


def demo() -> dict[str, Any]:
    """The report of `irno demo --device cuda`, which has a larger scale on a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "neuralop_irno", "demo", "--device", "cuda", "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        print(done.stdout[-2500:], done.stderr[-1000:], flush=True)
        report = Path(folder) / "report.json"
        return json.loads(report.read_text()) if report.exists() else {"exit": done.returncode}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    content: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu": laws("not cuda"),
    }
    if torch.cuda.is_available():
        content["device"] = torch.cuda.get_device_name()
        content["cuda"] = laws("cuda")
        content["times"] = times(options.pairs)
        content["rigno"] = rigno(options.pairs)
        content["memory"] = memory()
        content["demo"] = demo()
    else:
        print("no CUDA device: only the CPU part was run")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(content["cpu"]["exit"] or content.get("cuda", {}).get("exit", 0))


if __name__ == "__main__":
    main()
