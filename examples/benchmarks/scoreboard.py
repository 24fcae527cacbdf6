"""One line of figures per commit: `python examples/benchmarks/scoreboard.py`.

Four problems whose data and bases never change (`frozen_problems.py`), seed 0. For each: the VRMSE of the
base, of the refiner after K and after 3 K steps, and of the same correction evaluated once, y = T(x) +
Phi(x, T(x)), on held-out samples and at twice the resolution. Recipe and correction are those that the
package recommends at that commit. Then the time of an update in units of the textbook's unrolled update,
paired.

Two processes of one thread each; at most 25 minutes on 2 slow cores. The line is appended to
docs/results/scoreboard.jsonl.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from frozen_problems import PROBLEMS, Problem
from paired import paired
from train_step import Case

from neuralop_irno import IterativeRefiner, Recipe, Trainer, scores_per_step, summarise
from neuralop_irno.study import controls

LINES = Path(__file__).parents[2] / "docs" / "results" / "scoreboard.jsonl"
SEED = 0


def recommended(problem: Problem) -> Recipe:
    """The package's recommended recipe for this size; it may change, and is stored in the line."""
    return Recipe(
        epochs=problem.epochs,
        batch_size=problem.batch_size,
        weight_decay=0.1,
        replay=24.0,
        seed=SEED,
    )


def errors_of(name: str) -> dict[str, Any]:
    """All figures of one problem."""
    torch.set_num_threads(1)
    problem, start = PROBLEMS[name], time.process_time()
    data = problem.data()
    torch.manual_seed(SEED)
    base = problem.base()
    recipe = recommended(problem)
    base_recipe = Recipe(
        optimizer="adamw", epochs=problem.base_epochs, batch_size=problem.base_batch_size, seed=SEED
    )
    Trainer(base, base_recipe, show=False).fit(data.train, data.valid)

    def refined(options: dict[str, Any], recipe: Recipe) -> IterativeRefiner:
        torch.manual_seed(SEED)
        model = IterativeRefiner(base, **options)
        Trainer(model, recipe, show=False).fit(data.train, data.valid)
        return model

    options = {
        "correction": problem.correction,
        "steps": problem.steps,
        "alpha": 1.0,
        "resolution": {"extent": "fixed"},  # the finer sets have more points in the same box
    }
    many = refined(options, recipe)
    once = refined(controls.one_shot(options), controls.without_replay(recipe))
    result: dict[str, Any] = {"recipe": vars(recipe)}
    for place, samples in (("trained", data.test), ("finer", data.finer)):
        steps = [summarise(each) for each in scores_per_step(many, samples, 3 * problem.steps)]
        single = summarise(scores_per_step(once, samples)[-1])
        result[place] = {
            "base": steps[0].mean,
            "K": steps[problem.steps].mean,
            "3K": steps[-1].mean,
            "once": single.mean,
            "not_finite": steps[-1].not_finite + single.not_finite,
        }
    return {**result, "processor_seconds": round(time.process_time() - start)}


def update_ratios(pairs: int) -> dict[str, float]:
    """Time of an update / time of the textbook's unrolled update, by gradient rule; one thread."""
    torch.set_num_threads(1)
    ratios = {}
    for rule in ("unrolled", "detached"):
        case = Case(1, 1, "circular", rule)
        ratios[rule] = paired(case.ours, case.theirs, pairs).median
    return ratios


def machine() -> dict[str, Any]:
    """The machine and versions that the figures depend on."""
    return {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        "torch": torch.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def commit() -> str:
    """The commit of the working tree, with a plus if files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


def table(line: dict[str, Any]) -> str:
    """The line as text."""
    columns = ("base", "K", "3K", "once")
    rows = [f"{'VRMSE':12} {'':8}" + "".join(f"{column:>8}" for column in columns)]
    for name, figures in line["problems"].items():
        rows += [
            f"{name:12} {place:8}" + "".join(f"{figures[place][column]:8.4f}" for column in columns)
            for place in ("trained", "finer")
        ]
    rows += [f"update / textbook's, {rule}: {ratio:.3f}" for rule, ratio in line["update"].items()]
    return "\n".join(rows)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="+", choices=PROBLEMS, help="only these; appends nothing")
    arguments.add_argument(
        "--label", default="", help="a label of the line, such as the issue that it closes"
    )
    arguments.add_argument("--pairs", type=int, default=11, help="at least 2")
    options = arguments.parse_args()
    names = options.only or list(PROBLEMS)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        figures = dict(zip(names, pool.map(errors_of, names), strict=True))
    line = {
        "commit": commit(),
        "date": date.today().isoformat(),
        "label": options.label,
        "seed": SEED,
        "machine": machine(),
        "problems": figures,
        "update": update_ratios(options.pairs),
    }
    print(table(line))
    if not options.only:
        with LINES.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
