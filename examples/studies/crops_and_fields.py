"""Trained on crops, asked for whole fields: `python examples/studies/crops_and_fields.py` (six minutes).

Networks for super-resolution are trained on crops of the weather, and their tables are made on whole fields.
A network that is not local is another function there. If a refiner around it then gains much, has it refined,
or has it only repaired what a smaller window would not have broken? So every model is asked in three ways:

    crops      the field is cut into squares of the size of the training crops, each of which is scored
    stitched   the same answers, put together and scored as a field
    whole      the whole field at once

The answers of `crops` and `stitched` are the same, but norms and peaks are those of squares or of fields.
`stitched` and `whole` are scored alike, but the model is given more at once: that difference is the mismatch.

Beside bicubic interpolation stand the networks of SuperBench, trained on crops, and around each of the three
the same correction, iterated and asked once, trained on crops and on whole fields, with as many points in
every update.

With `--scale era5 --folder FOLDER` data, networks and their epochs are SuperBench's. At small scale stand-ins
are written in its layout first: a turbulent flow, closed along the second axis as longitude is, and cut open
along the first; its speed, streamfunction and vorticity are the three fields.

With `--work FOLDER` every model has a folder there, and a study that was killed goes on where it stopped.
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
    """How large a study.

    Attributes:
        factor: how many times coarser x is.
        crop: points a side of a crop.
        crops: of every field.
        test: how many fields are tested on.
        bases: the words of each network, and how it is trained.
        unet: the correction around each.
        steps: K.
        training: of the corrections.
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
    """Flows in the layout of SuperBench, a file in each folder."""
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
    """What brings the fields of training to mean 0 and deviation 1."""
    with h5py.File(folder / "train" / "2008.h5") as file:
        std, mean = torch.std_mean(torch.from_numpy(file["fields"][...]), (0, 2, 3))
    return Scaling(tuple(mean.tolist()), tuple(std.tolist()))


class Study:
    """The data, and what is done with every model on them.

    Args:
        scale: of the study.
        folder: in the layout of SuperBench.
        scaling: of its fields.
        fields: their names.
        options: seed, device, and where models are kept.
    """

    def __init__(
        self, scale: Scale, folder: Path, scaling: Scaling, fields: tuple[str, ...], options: Any
    ) -> None:
        self.scale, self.folder, self.scaling, self.fields = scale, folder, scaling, fields
        self.seed, self.device = options.seed, options.device
        # Of other scales and seeds are other models.
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
        """On crops, or on whole fields, as many fewer of these in a batch as they are larger."""
        if view == Whole():
            crops = math.prod(self.grid) // self.scale.crop**2
            recipe = replace(recipe, batch_size=max(1, recipe.batch_size // crops))
        folder = self.work and self.work / name
        trainer = Trainer(model, recipe, RefinementLoss(), folder, relative_l2, self.device, show=False)
        trainer.fit(self.pairs(("train",), view), self.pairs(VALID, view), resume=folder is not None)

    def refined(self, name: str, base: SuperResolution, view: View, once: bool = False) -> IterativeRefiner:
        """A trained correction around a base, iterated, or asked once: its control of equal parameters."""
        torch.manual_seed(self.seed)
        words: dict[str, Any] = {
            "correction": {"name": "unet", "padding": "replicate", **self.scale.unet},
            "steps": self.scale.steps,
            "alpha": 1.0,
        }
        recipe = self.scale.training
        if once:
            words, recipe = controls.one_shot(words), controls.asked_once(recipe)
        refiner = IterativeRefiner(base, **words, in_channels=3, out_channels=3)
        self.train(name, refiner, recipe, view)
        return refiner

    def scores(self, model: nn.Module) -> dict[str, dict[str, Any]]:
        """All scores in the three ways; means over fields, squares and channels."""
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
    """Of patches ``(fields, places, C, H, W)``; ACC is SuperBench's, with the mean over fields as climate."""
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
    arguments.add_argument("--folder", type=Path, help="of ERA5 as SuperBench publishes it; scale era5 only")
    arguments.add_argument("--work", type=Path, help="keep all models there, and go on with those that are")
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
    """All scores of every model; printed as they come."""
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
