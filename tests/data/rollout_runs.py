"""Runs with untrained models on data with time of every kind, and their rollouts in Python."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from flow_data import FLOWS
from torch import Tensor

from neuralop_irno import flows_of, rollout, rollout_options, side_by_side
from neuralop_irno.config import experiment
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training.folder import MODEL
from neuralop_irno.training.run import CONFIG, read_run
from neuralop_irno.yaml_files import written

FNO = {"model_arch": "fno", "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}
UNET = {"name": "unet", "width": 4, "depth": 1}
ON_GRIDS = {"base": FNO, "correction": UNET, "steps": 2}
RIGNO = {"model_arch": "rigno", "width": 4, "steps": 1}
ON_POINTS = {"base": RIGNO, "correction": {"name": "rigno", "width": 4, "steps": 1}, "steps": 2}
MESHGRAPH = {"name": "meshgraph", "width": 4, "steps": 1}
MODELS: dict[str, Mapping[str, Any]] = {
    "windows": {**ON_GRIDS, "base": {**FNO, "n_modes": [4]}},
    "sphere": {**ON_GRIDS, "base": {**FNO, "model_arch": "sfno"}},
    "points": ON_POINTS,
    "rigno": ON_POINTS,
    "meshes": {**ON_POINTS, "base": {**RIGNO, "time": False}},
    "mesh files": {**ON_POINTS, "base": {**RIGNO, "time": False, "dim": 3}, "correction": MESHGRAPH},
    "wind": {**ON_POINTS, "base": {**RIGNO, "time": False}, "correction": MESHGRAPH},
}  # fmt: skip


RunOf = Callable[[str], Path]
"""From the kind of data to the folder of its run."""


def runs_in(folders: pytest.TempPathFactory) -> RunOf:
    """A run on each kind of data, made when it is first asked for; its weights are random."""

    @cache
    def run_of(kind: str) -> Path:
        place = folders.mktemp("rollout")
        content = {"data": FLOWS[kind](place / "data"), "model": MODELS.get(kind, ON_GRIDS)}
        known = experiment(content)
        splits = known.splits()
        refiner = known.build_refiner(known.build_base(splits), getattr(splits["train"], "padding", None))
        with torch.no_grad():  # a new correction adds nothing to the base
            for weight in refiner.correction.parameters():
                weight += 0.05 * torch.randn_like(weight)
        refiner.save(place / MODEL)
        (place / CONFIG).write_bytes(written(known.content))
        return place

    return run_of


def in_python(folder: Path, refinement: Any, **options: Any) -> tuple[Tensor, Any]:
    """The frames of all flows of the test set, and their flow, by `irno.rollout`."""
    model, flows = loaded(folder)
    flow = side_by_side(flows[:])
    frames = rollout(
        model, flow.first, flows.steps, **{**rollout_options(flows, flow), **options}, refinement=refinement
    ).frames
    assert frames is not None
    return frames, flow


def loaded(folder: Path) -> tuple[IterativeRefiner, Any]:
    """The model of a run, and the flows of its test set."""
    known, model = read_run(folder)
    return model, flows_of(known.splits()["test"])
