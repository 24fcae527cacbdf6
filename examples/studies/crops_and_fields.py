"""Training on crops, test on whole fields: `python examples/studies/crops_and_fields.py` (six minutes).

Super-resolution networks are trained on crops of weather fields, but evaluated on whole fields. A network
that is not local computes a different function there, and a refiner may gain by repairing this mismatch only.
To separate both effects, every model is evaluated in three ways:

    crops      the field is cut into squares of the size of the training crops, and each is scored
    stitched   the same predictions, assembled and scored as a field
    whole      the model is called with the whole field

`crops` and `stitched` have the same predictions, but norms and maxima of squares or of fields. `stitched` and
`whole` are scored equally, but the model's input differs: their difference is the mismatch.

The bases are bicubic interpolation and the networks of SuperBench, trained on crops; around each of the
three, the same correction is trained on crops and on whole fields, iterated and evaluated once, with equally
many points per update.

With `--scale era5 --folder FOLDER`, data, networks and epochs are those of SuperBench. At small scale,
generated data are written in its layout first: a turbulent flow, periodic along the second axis like
longitude, and cut open along the first; the three fields are speed, streamfunction and vorticity.

With `--work FOLDER` every model has a folder there, and an interrupted study resumes.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import Tensor, nn

from neuralop_irno import (
    Crops,
    IterativeRefiner,
    Recipe,
    RefinementLoss,
    Scaling,
    SuperResolution,
    Tiles,
    Trainer,
    acc,
    psnr,
    relative_l2,
    ssim,
    summarise,
)
from neuralop_irno._neuralop import build_model
from neuralop_irno.data.patches import View, Whole
from neuralop_irno.data.readers.superbench import ERA5, ERA5_FIELDS, SuperBench
from neuralop_irno.data.solvers.turbulence import Turbulence
from neuralop_irno.study import controls

WAYS = ("crops", "stitched", "whole")
VALID = ("valid_1", "valid_2")


@dataclass(frozen=True)
class Scale:
    """The size of a study.

    Attributes:
        factor: how many times coarser x is.
        crop: points per side of a crop.
        crops: crops per field.
        test: number of test fields.
        bases: config and recipe of each network.
        unet: config of the correction around each.
        steps: K.
        training: recipe of the corrections.
    """

    factor: int
    crop: int
    crops: int
    test: int
    bases: dict[str, tuple[dict[str, Any], Recipe]]
    unet: dict[str, Any]
    steps: int
    training: Recipe


SCALES = {
    "small": Scale(
        4, 32, 8, 32,
        {
            "fno2d_sr": (
                {"modes": 8, "width": 12, "layers": 3},
                Recipe(optimizer="adamw", epochs=16, learning_rate=4e-3),
            ),
            "wdsr": ({"width": 16, "blocks": 4}, Recipe(optimizer="adamw", epochs=24, learning_rate=1e-2)),
        },
        {"width": 8, "depth": 2}, 4,
        Recipe(optimizer="adamw", epochs=6, learning_rate=4e-3, replay=12),
    ),
    "era5": Scale(
        8, 128, 8, 24,
        {
            "fno2d_sr": ({}, Recipe(optimizer="adamw", epochs=500, batch_size=32, learning_rate=1e-3)),
            "wdsr": ({}, Recipe(optimizer="adamw", epochs=300, batch_size=256, learning_rate=8e-4)),
        },
        {"width": 16, "depth": 4}, 4,
        Recipe(optimizer="adamw", epochs=20, batch_size=64, learning_rate=1e-3, cache_base=False),
    ),
}  # fmt: skip


def write_stand_ins(folder: Path, seed: int) -> None:
    """Write generated flows in the layout of SuperBench, one file per folder."""
    for place, (part, flows) in enumerate({"train": 6, "valid_1": 1, "valid_2": 1, "test_1": 3}.items()):
        flow = Turbulence(resolution=128)
        vorticity = flow.run(flows, frames=12, frame=0.5, seed=10 * seed + place, warmup=3.0).flatten(0, 1)
        (folder / part).mkdir(parents=True)
        with h5py.File(folder / part / "2008.h5", "w") as file:
            file["fields"] = fields_of(vorticity, flow)[..., :65, :].numpy()


def fields_of(vorticity: Tensor, flow: Turbulence) -> Tensor:
    """Speed, streamfunction and vorticity, ``(N, 3, n, n)``."""
    kx, ky = flow.grid.wavenumbers
    streamfunction = flow.grid.transform(vorticity) / flow.grid.squared.clamp(min=1)
    velocity = flow.grid.values(torch.stack([1j * ky * streamfunction, -1j * kx * streamfunction]))
    return torch.stack([velocity.norm(dim=0), flow.grid.values(streamfunction), vorticity], 1)


def scaling_of(folder: Path) -> Scaling:
    """The scaling that normalises the training fields."""
    with h5py.File(folder / "train" / "2008.h5") as file:
        std, mean = torch.std_mean(torch.from_numpy(file["fields"][...]), (0, 2, 3))
    return Scaling(tuple(mean.tolist()), tuple(std.tolist()))


class Study:
    """Training and evaluation of every model on the data.

    Args:
        scale: size of the study.
        folder: data in the layout of SuperBench.
        scaling: scaling of the fields.
        fields: names of the fields.
        options: seed, device, and folder of the models.
    """

    def __init__(
        self, scale: Scale, folder: Path, scaling: Scaling, fields: tuple[str, ...], options: Any
    ) -> None:
        self.scale, self.folder, self.scaling, self.fields = scale, folder, scaling, fields
        self.seed, self.device = options.seed, options.device
        # One folder per scale and seed.
        self.work = options.work and options.work / f"{options.scale}, seed {options.seed}"
        self.tiles = Tiles(scale.crop)
        whole = self.pairs(("test_1",), Whole())
        self.grid, self.count = whole.grid, min(scale.test, len(whole))
        self.truth = torch.stack([whole[field]["y"] for field in range(self.count)])

    def pairs(self, parts: tuple[str, ...], view: View) -> SuperBench:
        return SuperBench(
            self.folder, parts, self.scale.factor, view=view, upsample=False, scaling=self.scaling,
            fields=self.fields,
        )  # fmt: skip

    def train(self, name: str, model: nn.Module, recipe: Recipe, view: View) -> None:
        """Train on crops or on whole fields, with equally many points per batch."""
        if view == Whole():
            crops = math.prod(self.grid) // self.scale.crop**2
            recipe = replace(recipe, batch_size=max(1, recipe.batch_size // crops))
        folder = self.work and self.work / name
        trainer = Trainer(model, recipe, RefinementLoss(), folder, relative_l2, self.device, show=False)
        trainer.fit(self.pairs(("train",), view), self.pairs(VALID, view), resume=folder is not None)

    def refined(self, name: str, base: SuperResolution, view: View, once: bool = False) -> IterativeRefiner:
        """A trained correction around a base, iterated, or evaluated once (control of equal parameters)."""
        torch.manual_seed(self.seed)
        words: dict[str, Any] = {
            "correction": {"name": "unet", "padding": "replicate", **self.scale.unet},
            "steps": self.scale.steps,
            "alpha": 1.0,
        }
        recipe = self.scale.training
        if once:
            words, recipe = controls.one_shot(words), controls.without_replay(recipe)
        refiner = IterativeRefiner(base, **words, in_channels=3, out_channels=3)
        self.train(name, refiner, recipe, view)
        return refiner

    def scores(self, model: nn.Module) -> dict[str, dict[str, Any]]:
        """All metrics in the three ways; means over fields, squares and channels."""
        model.to(self.device).eval()
        patches = self.answers(model, self.tiles).unflatten(0, (self.count, -1))
        cut = torch.stack([self.truth[(..., *self.square(place))] for place in range(patches.shape[1])], 1)
        stitched = torch.stack([self.tiles.stitch(answers, self.grid) for answers in patches])
        whole = self.answers(model, Whole())
        truth = self.truth[:, None]
        return {
            "crops": scores(patches, cut),
            "stitched": scores(stitched[:, None], truth),
            "whole": scores(whole[:, None], truth),
        }

    @torch.no_grad()
    def answers(self, model: Callable[[Tensor], Tensor], view: View) -> Tensor:
        data = self.pairs(("test_1",), view)
        patches = range(self.count * view.count(data.grid))
        return torch.cat([model(data[patch]["x"][None].to(self.device)).cpu() for patch in patches])

    def square(self, place: int) -> tuple[slice, slice]:
        row, column = self.tiles.corner(self.grid, 0, place)
        return slice(row, row + self.scale.crop), slice(column, column + self.scale.crop)


def scores(prediction: Tensor, truth: Tensor) -> dict[str, Any]:
    """Metrics of patches ``(fields, places, C, H, W)``; ACC as in SuperBench, minus the mean over fields."""
    every = {
        "rfne": relative_l2(prediction, truth, space=2),
        "psnr": psnr(prediction, truth, space=2),
        "ssim": ssim(prediction.flatten(0, 1), truth.flatten(0, 1)),
        "acc": acc(prediction, truth, space=2, climatology="samples", centred=False),
    }
    summaries = {name: summarise(values) for name, values in every.items()}
    bad = {name: summary.not_finite for name, summary in summaries.items() if summary.not_finite}
    means: dict[str, Any] = {name: round(summary.mean, 5) for name, summary in summaries.items()}
    return {**means, "not_finite": bad} if bad else means


def bicubic(factor: int) -> SuperResolution:
    return SuperResolution(nn.Upsample(scale_factor=factor, mode="bicubic", align_corners=False))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--scale", choices=SCALES, default="small")
    arguments.add_argument("--folder", type=Path, help="ERA5 in SuperBench's layout; for --scale era5 only")
    arguments.add_argument("--work", type=Path, help="folder of the models, for resuming")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--json", type=Path, help="write the figures to this file")
    options = arguments.parse_args()
    if (options.folder is None) == (options.scale == "era5"):
        arguments.error("--folder goes with --scale era5")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as written:
        table = rows(options, Path(written))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {"threads": options.threads, "device": options.device}
        record = {"scale": options.scale, "seed": options.seed, "machine": machine, "scores": table}
        options.json.write_text(json.dumps(record, indent=1))


def rows(options: Any, written: Path) -> dict[str, Any]:
    """Train, score and print every model."""
    scale = SCALES[options.scale]
    start = time.perf_counter()
    if options.scale == "small":
        write_stand_ins(written, options.seed)
        folder, scaling, fields = written, scaling_of(written), ("speed", "streamfunction", "vorticity")
    else:
        folder, scaling, fields = options.folder, ERA5, ERA5_FIELDS
    study = Study(scale, folder, scaling, fields, options)
    crops = Crops(scale.crop, scale.crops, options.seed)
    table: dict[str, Any] = {}

    def told(name: str, model: nn.Module) -> None:
        table[name] = study.scores(model)
        for way in WAYS:
            numbers = "  ".join(f"{key} {value}" for key, value in table[name][way].items())
            print(f"{name:32} {way:9} {numbers}  {time.perf_counter() - start:5.0f} s", flush=True)

    bases = {"bicubic": bicubic(scale.factor)}
    for name, (words, recipe) in scale.bases.items():
        torch.manual_seed(options.seed)
        network = build_model({"model_arch": name, "factor": scale.factor, **words}, 3, 3)
        study.train(name, network, recipe, crops)
        bases[name] = SuperResolution(network)
    for name, base in bases.items():
        told(name, base)
        for view, where in ((crops, "crops"), (Whole(), "whole fields")):
            for way, once in (("refined", False), ("one-shot", True)):
                full = f"{name}, {way} on {where}"
                told(full, study.refined(full, base, view, once))
    return table


if __name__ == "__main__":
    main()
