"""Trainings by the trainer with weights in parts, beside the same ones with whole weights."""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from sharded_runs import attempted, difference, mesh_of_all, perturbed
from torch import Tensor, nn

from neuralop_irno import FieldDataset, IterativeRefiner, Recipe, RefinementLoss, Trainer, parallel
from neuralop_irno.sharded import whole

History = list[dict[str, Any]]
RECIPE: dict[str, Any] = {
    "epochs": 2, "batch_size": 4, "precision": "float32", "learning_rate": 1e-2, "optimizer": "adamw",
    "accumulate": 2, "ema": 0.9, "save_every": 1, "clip": 0.1,
}  # fmt: skip


class Complex(nn.Module):
    """A small Fourier layer in double precision."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.modes = nn.Parameter(torch.randn(1, 3, dtype=torch.complex128))
        self.point = nn.Conv1d(1, 1, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        return self.point(torch.fft.irfft(spectrum[..., :3] * self.modes, n=x.shape[-1])) + x


def problem(samples: int, seed: int = 5) -> FieldDataset:
    """From a field to the same field moved, in double precision."""
    x = torch.randn(samples, 1, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return FieldDataset(x, x.roll(1, -1))


def refiner(frozen: bool) -> IterativeRefiner:
    """A refiner of a Fourier layer."""
    torch.manual_seed(0)
    options = {"steps": 2, "alpha": 0.5, "gradient": "unrolled", "freeze_base": frozen}
    phi = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
    return perturbed(IterativeRefiner(Complex(), phi, in_channels=1, out_channels=1, **options).double())


class Interrupted(RefinementLoss):
    """A loss that ends a training in its third update, as control-C does."""

    on = False

    def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
        if Interrupted.on and self.training and self.updates == 2:
            raise KeyboardInterrupt
        return super().per_sample(trajectory, y)


def fit(model: nn.Module, folder: Path | None = None, valid: bool = True, **options: Any) -> History:
    """Train in the model's precision; the folder's last snapshot is continued."""
    dtype = next(model.parameters()).real.dtype
    data, held_out = (FieldDataset(d.x.to(dtype), d.y.to(dtype)) for d in (problem(7), problem(3, 6)))
    trainer = Trainer(model, Recipe(**RECIPE | options), Interrupted(), folder, show=False)
    return trainer.fit(data, held_out if valid else None, resume=folder is not None)


def numbers(history: History) -> Tensor:
    """Losses and scores of a history."""
    rows = [[record["loss"], *record.get("valid", [])] for record in history]
    return torch.tensor(rows, dtype=torch.float64)


def beside_whole_weights(model: nn.Module, valid: bool, **options: Any) -> float:
    """The largest difference to a training of the same processes with whole weights."""
    own = parallel.shard(copy.deepcopy(model), mesh_of_all())
    found, wanted = fit(own, None, valid, **options), fit(model, None, valid, **options)
    return max(difference(own, model), (numbers(found) - numbers(wanted)).abs().max().item())


def resumed(folder: Path, in_parts: bool, frozen: bool) -> dict[str, float]:
    """How a training differs that ends in its third update and goes on, in parts or with whole weights.

    In single precision: safetensors has no complex numbers in double.
    """
    mesh = mesh_of_all()
    never, ended = (parallel.shard(refiner(frozen).float(), mesh) for _ in range(2))
    wanted = fit(never, folder / "never")
    Interrupted.on = True
    with suppress(KeyboardInterrupt):
        fit(ended, folder / "ended")
    Interrupted.on = False
    model = refiner(frozen).float()
    found = fit(parallel.shard(model, mesh) if in_parts else model, folder / "ended")
    dist.barrier()
    loaded = refiner(frozen).float()
    loaded.load_state_dict(whole(model.state_dict()))
    base = refiner(frozen).float().base.module
    stored = IterativeRefiner.from_checkpoint(folder / "ended" / "model.safetensors", base=base)
    return {
        "weights": difference(never, loaded),
        "history": (numbers(found) - numbers(wanted)).abs().max().item(),
        "file": difference(stored, loaded),
    }


def muon() -> str:
    try:
        fit(parallel.shard(refiner(True), mesh_of_all()), optimizer="muon")
    except ValueError as error:
        return str(error)
    return "nothing"


def trainings(folder: Path) -> dict[str, Any]:
    """All of the above."""
    found: dict[str, Any] = {}
    for frozen in (False, True):
        found[f"frozen={frozen}"] = attempted(beside_whole_weights, refiner(frozen), True)
    found["last weights"] = attempted(lambda: beside_whole_weights(refiner(False), False, ema=0.0))
    found["plain"] = attempted(beside_whole_weights, Complex(), True)
    found["sgd"] = attempted(lambda: beside_whole_weights(refiner(False), True, optimizer="sgd"))
    for name, in_parts, frozen in (("parts", True, False), ("whole", False, False), ("frozen", True, True)):
        found[f"resumed {name}"] = attempted(resumed, folder / name, in_parts, frozen)
    found["muon"] = attempted(muon)
    return found
