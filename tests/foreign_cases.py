"""Models of other packages by name at their smallest sizes, as stand-ins, and as real ones in tests/peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from interpreters import fresh
from torch import Tensor
from torch.utils.data import default_collate

from neuralop_irno import IterativeRefiner
from neuralop_irno.config import experiment
from neuralop_irno.registry import DATASETS
from neuralop_irno.training.run import read_run, train_experiment

N = 12
"""Points of a sample."""

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Case:
    """A base by name.

    Attributes:
        base: its config.
        shapes: of the entries of a sample.
        model: further options of the refiner.
        steps: whether it steps in time: whether y is the next x.
    """

    base: dict[str, Any]
    shapes: Shapes
    model: dict[str, Any] = field(default_factory=dict)
    steps: bool = True


@DATASETS.register("foreign_samples")
def samples(shapes: Shapes) -> Any:
    """Random samples with entries of these shapes; ``ind_dec`` are numbers of cells."""
    draw = torch.Generator().manual_seed(0)

    def one() -> dict[str, Tensor]:
        parts = {name: torch.rand(list(shape), generator=draw) for name, shape in shapes.items()}
        return {name: (25 * part).long() if name == "ind_dec" else part for name, part in parts.items()}

    return {
        split: [one() for _ in range(count)] for split, count in (("train", 4), ("valid", 2), ("test", 2))
    }


UNET = {"name": "unet", "width": 4, "depth": 0}
MESHGRAPH = {"name": "meshgraph", "width": 4, "steps": 1}
IMAGE = {"x": (1, 16, 16), "y": (1, 16, 16)}
SMALL = {"x": (2, 8, 8), "y": (2, 8, 8)}
ONE = {"x": (1, 8, 8), "y": (1, 8, 8)}
FNO = {"n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}
TOKENS = {"n_layers": 1, "n_hidden": 8, "n_head": 2, "slice_num": 4}
POINTS = {"correction": MESHGRAPH}


def physicsnemo(name: str, shapes: Shapes, model: Mapping[str, Any] | None = None, **options: Any) -> Case:
    return Case({"model_arch": f"physicsnemo:{name}", **options}, shapes, dict(model or {}))


def of_points(fields: str, pos: str) -> Shapes:
    return {fields: (N, 2), pos: (N, 2), "y": (N, 2)}


CASES = {
    "sfno": Case({"model_arch": "sfno", **FNO}, {"x": (2, 8, 16), "y": (2, 8, 16)}),
    "local_no": Case(
        {"model_arch": "local_no", **FNO, "default_in_shape": [8, 8], "radius_cutoff": 0.5}, SMALL
    ),
    "rno": Case({"model_arch": "rno", **FNO}, {"x": (3, 2, 8, 8), "y": (2, 8, 8)}, {"in_channels": 6}),
    "otno": Case(
        {"model_arch": "otno", **FNO, "fields": "normals"},
        {"x": (4, 5, 5), "ind_dec": (N,), "normals": (N, 3), "pos": (N, 2), "y": (N, 1)},
        {**POINTS, "in_channels": 3}, steps=False,
    ),
    "poseidon": Case(
        {
            "model_arch": "poseidon", "image_size": 16, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
            "skip_connections": [1, 0], "window_size": 2, "use_conditioning": True,
        },
        {**IMAGE, "time": ()},
    ),
    "pde_transformer": Case(
        {
            "model_arch": "pde_transformer", "sample_size": 16, "type": "PDE-S", "patch_size": 1,
            "window_size": 4, "max_hidden_size": 96,
        },
        IMAGE,
    ),
    "physicsnemo:FNO": physicsnemo(
        "FNO", ONE, latent_channels=4, num_fno_layers=1, num_fno_modes=2, padding=0, dimension=2
    ),
    "physicsnemo:AFNO": physicsnemo(
        "AFNO", ONE, inp_shape=[8, 8], patch_size=[2, 2], embed_dim=8, depth=1, num_blocks=2
    ),
    "physicsnemo:DiT": physicsnemo(
        "DiT", {**ONE, "t": ()}, input_size=8, patch_size=2, hidden_size=8, depth=1, num_heads=2
    ),
    "physicsnemo:Transolver": physicsnemo(
        "Transolver", of_points("fx", "embedding"), POINTS, embedding_dim=2, use_te=False, **TOKENS
    ),
    "physicsnemo:Transolver on a grid": physicsnemo(
        "Transolver", {"x": (8, 8, 2), "y": (8, 8, 2)}, structured_shape=[8, 8], unified_pos=True,
        use_te=False, **TOKENS,
    ),
    "physicsnemo:FLARE": physicsnemo(
        "FLARE", of_points("fx", "embedding"), POINTS, embedding_dim=2, **TOKENS
    ),
    "physicsnemo:GeoTransolver": physicsnemo(
        "GeoTransolver", of_points("local_embedding", "local_positions"), POINTS, **TOKENS
    ),
}  # fmt: skip


def config_of(case: Case, epochs: int) -> dict[str, Any]:
    """The experiment of a case; an epoch is two updates."""
    shapes = {name: list(shape) for name, shape in case.shapes.items()}
    return {
        "data": {"name": "foreign_samples", "shapes": shapes},
        "model": {"base": case.base, "correction": UNET, "steps": 1, **case.model},
        "training": {"epochs": epochs, "batch_size": 2, "precision": "float32"},
    }


def trained(case: Case, folder: Path, epochs: int) -> tuple[IterativeRefiner, dict[str, Any]]:
    """A refiner that was trained in a folder and read back, and the call of a batch; checks the updates."""
    found = experiment(config_of(case, epochs))
    history = train_experiment(found, folder, show=False, say=lambda line: None)
    assert history[-1]["update"] == 2 * epochs
    model = read_run(folder)[1].eval()
    batch = model.base.from_batch(default_collate(found.splits()["test"]))
    return model, {name: part for name, part in batch.items() if name != "y"}


READ_BACK = """
{before}
import torch
from neuralop_irno import IterativeRefiner
for folder in {folders}:
    call, answer = torch.load(f"{{folder}}/call.pt")
    model = IterativeRefiner.from_checkpoint(f"{{folder}}/model.safetensors").eval()
    with torch.no_grad():
        again = model.base.as_field(model(**call))
    assert torch.equal(again, answer), folder
"""


def read_back_in_a_fresh_process(folders: Sequence[Path], path: Sequence[str] = (), before: str = "") -> None:
    """Read the models of runs in another process, whose answers have to be those in ``call.pt``."""
    done = fresh(READ_BACK.format(before=before, folders=list(map(str, folders))), path)
    assert done.returncode == 0, done.stderr


@torch.no_grad()
def keep_answer(model: IterativeRefiner, call: Mapping[str, Any], folder: Path) -> None:
    """Write the call and the field of its answer to ``call.pt``."""
    torch.save((dict(call), model.base.as_field(model(**call))), folder / "call.pt")
