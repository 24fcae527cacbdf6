"""Config files of this package's own bases, the data sets that they need, and what a fresh process reads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno import rollout
from neuralop_irno.data import dataset  # noqa: F401 - fills the register
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.registry import DATASETS
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.run import read_run


class Sensed(Dataset[dict[str, Tensor]]):
    """Values at nine sensors, and at seven other points, which differ from sample to sample."""

    def __init__(self, count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.pos = torch.rand(9, 2, generator=draw)
        self.queries = torch.rand(count, 7, 2, generator=draw)
        self.x, self.resolution = torch.randn(count, 9, 1, generator=draw), Resolution()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        x, queries = self.x[place], self.queries[place]
        return {"x": x, "pos": self.pos, "queries": queries, "y": x.mean() * queries[:, :1].sin()}


@DATASETS.register("own_bases_sensed")
def sensed() -> dict[str, Sensed]:
    return {split: Sensed(count, count) for split, count in (("train", 4), ("valid", 2), ("test", 3))}


LINE = {"name": "burgers", "trajectories": [2, 1, 1], "frames": 3, "size": 8}
PLANE = {**LINE, "dim": 2}
SENSED = {"name": "own_bases_sensed"}
MESHES = {"name": "advection_diffusion", "samples": [4, 1, 2], "spacing": 0.3, "holes": 1}
AT_SENSORS = {"fields": "x", "pos": "pos", "queries": "queries"}
LSM = {"model_arch": "lsm", "width": 4, "levels": 1, "tokens": 2, "basis": 2, "heads": 2}
TRANSOLVER = {"model_arch": "transolver", "width": 4, "layers": 1, "heads": 2, "slices": 2}
DEEP = {"model_arch": "deeponet", "sensors": 3, "functions": 2, "width": 4, "depth": 1}
MULTI = {"model_arch": "multionet", "sensors": 3, "functions": 2, "depth": 2}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lsm on a line": (LSM, LINE),
    "lsm on a plane": (LSM, PLANE),
    "mgno": ({"model_arch": "mgno", "width": 4, "layers": 1, "levels": 1}, PLANE),
    "multionet": (MULTI, PLANE),
    "multionet at points": ({"model_arch": "points", "net": MULTI, **AT_SENSORS}, SENSED),
    "deeponet at points": (
        {"model_arch": "points", "net": {**DEEP, "scattered": 9}, **AT_SENSORS}, SENSED,
    ),
    "transolver": (TRANSOLVER, MESHES),
}  # fmt: skip


def config(base: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Ten epochs of two updates."""
    on_grid = data["name"] == "burgers"
    correction = {"name": "unet", "depth": 0} if on_grid else {"name": "meshgraph", "steps": 1}
    if "dim" not in data and on_grid:
        base = {**base, "dim": 1}
    return {
        "data": data,
        "model": {"base": base, "correction": {**correction, "width": 4}, "steps": 2},
        "training": {"epochs": 10, "batch_size": 2},
    }


def seen(folder: Path) -> dict[str, Any]:
    """What a run answers: its scores on the test set, and a digest of two frames where it steps in time."""
    experiment, model = read_run(folder)
    model.eval()
    data = experiment.splits()["test"]
    found: dict[str, Any] = {"scores": scores_per_step(model, data).tolist()}
    if isinstance(data, Sensed):
        return found
    if hasattr(data, "graphs"):
        whole = data[0].clone()
        static = whole.x[:, 1:]
        whole.x = whole.x[:, :1]
        frames = rollout(model, whole, 2, static=static).frames
    else:
        frames = rollout(model, data.x[:2], 2).frames
    found["finite"] = bool(frames.isfinite().all())
    found["frames"] = [list(frames.shape), hashlib.sha256(frames.numpy().tobytes()).hexdigest()]
    return found
