"""Detection of flipped bits by the file readers: `python examples/benchmarks/flips.py [500]`.

Each kind of file is written once by the package. Then one bit is flipped at a time, half of them in the
header and half in the numbers, and the file is read. A flip counts as refused if the reader raises a
ValueError, and as harmless if the content read is the same.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import neuralop_irno as irno
from neuralop_irno import FieldDataset, Recipe, Trainer, ce_gauss, checkpoint
from neuralop_irno.models.rigno.store import GraphStore

UNET = {"name": "unet", "width": 4, "depth": 1}


def make(folder: Path) -> dict[str, Path]:
    """One file of each kind, by name."""
    torch.manual_seed(0)
    model = irno.IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), UNET, steps=2)
    x = torch.randn(4, 1, 8)
    recipe = Recipe(epochs=1, replay=2)
    run = folder / "run"
    Trainer(model, recipe, folder=run, show=False).fit(FieldDataset(x, 2 * x), FieldDataset(x, 2 * x))
    GraphStore({"levels": 2}, folder / "rigno").graph_of(torch.rand(24, 2))
    ce_gauss((1, 1, 1), points=8, resolution=16, frames=2, time=0.01, folder=str(folder / "ce_gauss"))
    (own,) = run.glob(".snapshot-*.rank0.safetensors")
    (base,) = run.glob("base-*.safetensors")
    (graph,) = (folder / "rigno").iterdir()
    return {
        "checkpoint": run / "model.safetensors",
        "base of a checkpoint": base,
        "snapshot": run / "snapshot.safetensors",
        "snapshot of a process": own,
        "cache of a region graph": graph,
        "cache of ce_gauss": min((folder / "ce_gauss").iterdir()),
    }


def places(content: bytes, count: int, seed: int) -> Iterator[int]:
    """Bits to flip in a safetensors file, alternating between its header and its tensors."""
    generator = torch.Generator().manual_seed(seed)
    body = 8 + int.from_bytes(content[:8], "little")
    for number in range(count):
        low, high = (0, body) if number % 2 else (body, len(content))
        yield int(torch.randint(8 * low, 8 * high, (), generator=generator))


def outcomes(path: Path, count: int, seed: int = 0) -> dict[str, int]:
    """The numbers of flips that were refused, harmless (same content) and missed (different content)."""
    whole, found = path.read_bytes(), {"refused": 0, "harmless": 0, "missed": 0}
    tensors, config = checkpoint.read(path)
    for place in places(whole, count, seed):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            again, content = checkpoint.read(path)
        except ValueError:
            found["refused"] += 1
        else:
            found["harmless" if content == config and same(again, tensors) else "missed"] += 1
    path.write_bytes(whole)
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors have the same names, dtypes and bits."""
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def main(count: int) -> None:
    """Print one line per kind of file."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, path in make(Path(folder)).items():
            print(f"{kind:24}", *(f"{name} {number}" for name, number in outcomes(path, count).items()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 500)
