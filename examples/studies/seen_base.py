"""What a fixed point forgets: a correction that sees the base's answer, and one that does not.

    python examples/studies/seen_base.py --seeds 0 1 2 --json docs/results/seen_base.json

Phi(x, h) does not see h_0 after the first step, so that a fixed point hardly depends on the base: it is
the answer of Phi. The same correction evaluated once does see h_0. Here three models are trained around
each base of some problems of `irno study`, on periodic grids, with the recipe of the problem, but without
balance in its loss: refined; refined with the base's answer as further channels of x; and asked once. Each
has the better of two learning rates on validation data. Beside them stands the base's error on training and
on test samples: a base that is better on the samples of its own training misleads what relies on it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import FieldDataset, IterativeRefiner, RefinementLoss, Trainer
from neuralop_irno.registry import CORRECTIONS
from neuralop_irno.study.catalogue import read_study
from neuralop_irno.study.contenders import Setting, contender
from neuralop_irno.study.plan import BASE, Problem
from neuralop_irno.training.evaluation import scores_per_step

KINDS = ("refined", "refined, sees the base", "asked once")
RATES = (0.5, 1.0)
PROBLEMS = {"kuramoto_sivashinsky": "fno", "turbulence": "resunet"}
"""Periodic ones, for the corrections here are padded as a circle, with the base of each."""


class Answer(nn.Module):
    """The base's answer, which is stored as the last channels of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -self.channels :]


class WithoutAnswer(nn.Module):
    """A correction that is not given the base's answer.

    Args:
        phi: of the joined channels of x and h.
        channels: of h.
    """

    def __init__(self, phi: nn.Module, channels: int) -> None:
        super().__init__()
        self.phi, self.channels = phi, channels

    def forward(self, joined: Tensor) -> Tensor:
        x, h = joined[:, : -2 * self.channels], joined[:, -self.channels :]
        update: Tensor = self.phi(x, h)
        return update


@torch.no_grad()
def stored(base: nn.Module, data: Any) -> FieldDataset:
    """The data set with the base's answers as the last channels of x."""
    x, y = (torch.stack([data[place][name] for place in range(len(data))]) for name in ("x", "y"))
    answers = torch.cat([base(part) for part in x.split(64)])
    return FieldDataset(torch.cat([x, answers], 1), y)


def built(kind: str, problem: Problem, sizes: tuple[int, int], dim: int) -> IterativeRefiner:
    """A refiner of stored answers, with the correction of the problem."""
    of_x, of_h = sizes
    options = dict(problem.model)
    phi: dict[str, Any] = {**options.pop("correction"), "dim": dim}
    if kind == "asked once":
        options["steps"] = 1
    if kind == "refined, sees the base":
        return IterativeRefiner(Answer(of_h), phi, in_channels=of_x + of_h, out_channels=of_h, **options)
    own = CORRECTIONS.build(phi, in_channels=of_x, out_channels=of_h)
    return IterativeRefiner(Answer(of_h), WithoutAnswer(own, of_h), **options)


def rows_of(name: str, seed: int) -> list[dict[str, Any]]:
    """The errors of one problem and seed."""
    study = read_study("main")
    problem, base_name = study.problems[name], PROBLEMS[name]
    experiment = problem.experiment(base_name, study.variants[BASE], seed)
    splits = experiment.splits()
    alone = contender(Setting(experiment, study.variants[BASE], None, splits, seed))
    Trainer(alone.model, alone.recipe, alone.loss, show=False).fit(splits["train"], splits["valid"])
    base = alone.model.eval()
    data = {split: stored(base, splits[split]) for split in splits}
    of_h = data["train"][0]["y"].shape[0]
    sizes, dim = (data["train"][0]["x"].shape[0] - of_h, of_h), data["train"][0]["y"].dim() - 1
    recipe = experiment.training
    rows = []
    for kind in KINDS:
        found = []
        for rate in RATES:
            torch.manual_seed(seed)
            model = built(kind, problem, sizes, dim)
            own = replace(recipe, learning_rate=rate * recipe.peak)
            own = replace(own, replay=0) if kind == "asked once" else own
            Trainer(model, own, RefinementLoss(**{**problem.loss, "balance": 0}), show=False).fit(
                data["train"], data["valid"]
            )
            scores = {split: scores_per_step(model, data[split]).mean(1).tolist() for split in data}
            found.append({"rate": rate, "valid": scores["valid"][-1], **scores_at(scores)})
        best = min(found, key=lambda row: row["valid"])
        rows.append({"problem": name, "base": base_name, "seed": seed, "kind": kind, **best})
    return rows


def scores_at(scores: dict[str, list[float]]) -> dict[str, float]:
    """The base's errors on training and test samples, and the model's on test samples."""
    return {"base, train": scores["train"][0], "base, test": scores["test"][0], "test": scores["test"][-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    columns = ("problem", "base", "seed", "base, train", "base, test", *KINDS)
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in options.problems:
        for seed in options.seeds:
            found = rows_of(name, seed)
            rows += found
            shown = [
                *(f"{found[0][key]:.4g}" for key in columns[3:5]),
                *(f"{row['test']:.4g}" for row in found),
            ]
            print(f"| {name} | {PROBLEMS[name]} | {seed} | {' | '.join(shown)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
