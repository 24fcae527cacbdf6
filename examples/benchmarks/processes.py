"""Memory, traffic and bytes written of a training in several processes.

    python examples/benchmarks/processes.py

A refiner with a frozen FNO trains with replay on the CPU (gloo), with its states in memory and on disk. For
each number N of processes are printed, of the process that needs most:

- memory: the peak of its own memory (without mapped files), beyond that of a process that has trained once
  on a few samples; over the sum of base, correction (weights, gradients, momentum, best weights), states / N
  and activations of its share of a batch
- traffic: bytes that a process sends in an update (ring), over those of the correction's gradients
- written: bytes that all processes write in an epoch, over those of the correction's weights; states in
  files by themselves
- foretold: the memory by `irno plan`
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from neuralop.models import FNO
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno import IterativeRefiner, Recipe, Trainer, checkpoint
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.study.cost import peak_mib
from neuralop_irno.study.forecast import Cost, Devices, phase
from neuralop_irno.training.disk_states import DiskStates

MIB, SIZE, BATCH, EPOCHS = 2**20, 96, 16, 2


class Drawn(Dataset[dict[str, Tensor]]):
    """Samples that are computed when they are read, and so take no memory."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index >= self.samples:
            raise IndexError(index)
        x = torch.randn(1, SIZE, SIZE, generator=torch.Generator().manual_seed(index))
        return {"x": x, "y": x.roll(1, -1)}


def refiner() -> IterativeRefiner:
    """A frozen FNO and a U-Net."""
    torch.manual_seed(0)
    base = FNO(n_modes=(32, 32), in_channels=1, out_channels=1, hidden_channels=32, n_layers=2)
    return IterativeRefiner(base, {"name": "unet", "width": 24, "depth": 3}, steps=4)


def size(tensors: Any) -> float:
    """Their size in MiB."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MIB


def own_memory() -> float:
    """The memory of this process without files, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


@contextmanager
def watched(peak: list[float]) -> Iterator[None]:
    """Put the peak of `own_memory` during a block into a list."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            peak[0] = max(peak[0], own_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    over.set()
    thread.join()


def counted(bytes_of: Counter[str]) -> None:
    """Count the bytes of collective calls and of files from now on."""

    def reduced(tensor: Tensor, *given: Any, call: Any = dist.all_reduce, **options: Any) -> Any:
        bytes_of["sent"] += tensor.numel() * tensor.element_size()
        return call(tensor, *given, **options)

    def sent(tensor: Tensor, *given: Any, call: Any = dist.broadcast, **options: Any) -> Any:
        bytes_of["sent"] += tensor.numel() * tensor.element_size() // 2  # it is not reduced first
        return call(tensor, *given, **options)

    def written(path: Path, content: bytes, call: Any = checkpoint.write_bytes) -> Path:
        bytes_of["written"] += len(content)
        return call(path, content)

    def stored(self: DiskStates, place: int, value: Tensor, call: Any = DiskStates.write) -> None:
        bytes_of["states"] += value.numel() * value.element_size()
        call(self, place, value)

    dist.all_reduce, dist.broadcast = reduced, sent
    checkpoint.write_bytes, DiskStates.write = written, stored  # type: ignore[method-assign]


def measure(folder: str, samples: int, states: str, place: dict[str, str], answer: Any) -> None:
    """Train as one of several processes, and send the figures."""
    os.environ.update(place)
    torch.set_num_threads(1)
    world = int(place["WORLD_SIZE"])
    recipe = {"batch_size": BATCH, "replay": 4.0, "precision": "float32", "states": states}
    few = Path(folder) / "few"
    Trainer(refiner(), Recipe(epochs=1, **recipe), folder=few, show=False).fit(Drawn(BATCH))
    before, peak, bytes_of = own_memory(), [0.0], Counter[str]()
    counted(bytes_of)
    with watched(peak):
        model = refiner()
        trainer = Trainer(model, Recipe(epochs=EPOCHS, **recipe), folder=Path(folder) / "run", show=False)
        trainer.fit(Drawn(samples))
    trained = [p for p in model.parameters() if p.requires_grad]
    fields = torch.stack([Drawn(samples)[i]["x"] for i in range(max(1, BATCH // world))])
    taken = torch.ones(len(fields), dtype=torch.long)

    def update() -> None:
        model.train()(fields, y=fields, start=fields, taken=taken).last.square().mean().backward()

    answer.send({
        "peak": peak[0] - before,
        "base": size([*model.base.parameters(), *model.base.buffers()]),
        "correction": size(trained),
        "activations": peak_mib(update),
        "sent": bytes_of["sent"] / MIB / (EPOCHS * -(-samples // BATCH)) * 2 * (world - 1) / world,
        "written": bytes_of["written"] / MIB / EPOCHS,
        "stored": bytes_of["states"] / MIB / EPOCHS,
    })  # fmt: skip


def together(samples: int, states: str, world: int) -> list[dict[str, float]]:
    """The figures of several processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for rank in map(str, range(world)):
            place = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": str(world),
                "LOCAL_WORLD_SIZE": str(world),
            }
            place |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
            near, far = context.Pipe(duplex=False)
            process = context.Process(target=measure, args=(folder, samples, states, place, far))
            process.start()
            started.append((process, near))
        found = [near.recv() for _, near in started]
        for process, _ in started:
            process.join()
    return found


def foretold(samples: int, states: str, processes: list[int]) -> tuple[Cost, ...]:
    """What is planned for each number of processes."""
    splits: Any = {"train": Drawn(samples), "valid": Drawn(1)}
    recipe = Recipe(epochs=EPOCHS, batch_size=BATCH, replay=4.0, precision="float32", states=states)
    return phase("refiner", refiner(), recipe, RefinementLoss(), splits, Devices(processes)).costs


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--samples", type=int, default=128)
    arguments.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    options = arguments.parse_args()
    # Large blocks go back to the system when they are freed, so that they do not hide later ones.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)
    os.environ["OMP_NUM_THREADS"] = "1"
    print("states   N  memory MiB  foretold  of the sum  traffic  written  states written MiB  seconds")
    for states in ("device", "disk"):
        costs = foretold(options.samples, states, options.processes)
        for world, cost in zip(options.processes, costs, strict=True):
            begun = time.monotonic()
            found = together(options.samples, states, world)
            one = found[0]
            held = 2 * options.samples * SIZE**2 * 4 / MIB / world if states == "device" else 0.0
            whole = one["base"] + 4 * one["correction"] + held + one["activations"]
            peak = max(each["peak"] for each in found)
            written = sum(each["written"] for each in found) / one["correction"]
            stored = sum(each["stored"] for each in found)
            sent = one["sent"] / one["correction"]
            print(
                f"{states:7s} {world:2d} {peak:11.1f} {cost.together / MIB:9.1f} {peak / whole:11.2f}"
                f" {sent:8.2f} {written:8.2f} {stored:19.1f} {time.monotonic() - begun:8.0f}"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
