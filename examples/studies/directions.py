"""Which directions of the space of frames a correction learns: `directions.py --bases fno --json FILE`.

The refiner of `irno study` on turbulence, around some of its bases; y holds the next four frames. The
principal axes of the covariance of the base's errors are the directions in which it errs most and least.
Printed for each base, width, balance of the loss and seed: the root mean squares of the base's errors along
its axes, those of the refiner's errors along the same axes, the singular values of the last layer of the
correction, which are small for directions that it leaves alone, and the error at K.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno import FieldDataset, Trainer, vrmse
from neuralop_irno.domain.graph import domain_of
from neuralop_irno.losses.balance import covariance
from neuralop_irno.study.catalogue import read_study
from neuralop_irno.study.contenders import Setting, contender
from neuralop_irno.study.plan import BASE, Variant

PROBLEM = read_study("networks").problems["turbulence"]


def trained(setting: Setting) -> Any:
    """The model of a setting, trained."""
    built = contender(setting)
    data = setting.splits
    Trainer(built.model, built.recipe, built.loss, show=False).fit(data["train"], data["valid"])
    return built.model.eval()


def whole(data: Any) -> tuple[Tensor, Tensor]:
    """All x and y of a data set."""
    x, y = (torch.stack([data[place][name] for place in range(len(data))]) for name in ("x", "y"))
    return x, y


@torch.no_grad()
def row_of(model: Any, test: FieldDataset) -> dict[str, Any]:
    """What is left of the base's errors along their principal axes."""
    x, y = whole(test)
    answer, domain = model(x), domain_of(y, {})
    squares, axes = torch.linalg.eigh(covariance([(model.base(x) - y, domain)]))
    left = (axes.mT @ covariance([(answer - y, domain)]) @ axes).diagonal()
    weight = model.correction.last.weight.flatten(1)
    found = {
        "base": squares.flip(0).clamp(min=0).sqrt(),
        "left": left.flip(0).sqrt(),
        "last layer": torch.linalg.svdvals(weight),
        "error": vrmse(answer, y).mean(),
    }
    return {name: [float(f"{n:.4g}") for n in value.flatten().tolist()] for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bases", nargs="+", choices=list(PROBLEM.bases), default=["fno"])
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--balances", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="add the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, seed in product(options.bases, options.seeds):
        alone = PROBLEM.experiment(name, Variant(role=BASE), seed)
        splits = alone.splits()
        base = trained(Setting(alone, Variant(role=BASE), None, splits, seed))
        for width, balance in product(options.widths, options.balances):
            variant = Variant(model={"correction": {"width": width}}, loss={"balance": balance})
            own = PROBLEM.experiment(name, variant, seed)
            model = trained(Setting(own, variant, base, splits, seed))
            known = {"network": name, "width": width, "balance": balance, "seed": seed}
            rows.append({**known, **row_of(model, splits["test"])})
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        before = json.loads(options.json.read_text()) if options.json.exists() else []
        options.json.write_text(json.dumps([*before, *rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
