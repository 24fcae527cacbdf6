"""How long studies take on one core: `python examples/benchmarks/study_minutes.py --json FILE`.

For every study of the package at scale `small`, or those that are named, every training is begun. The time of
its updates and of a validation, by the clock of the processor, is taken as often as the training has them:

    minutes = sum over trainings of (updates * median time of an update + epochs * time of a validation) / 60

where a variant with several trials has all of them with the first seed and one with each other seed. Printed
are what each study trains by itself, and what all together train if they share models (`--trained FOLDER`).
Measurements on test data are not in it. `irno plan` prints the time of an update too, by a clock that goes on
while other processes have the core. With `--write` the minutes become those of the studies' files, which
`irno study --list` prints.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Subset

from neuralop_irno.data.fields import Splits
from neuralop_irno.data.node_classes import NodeClasses
from neuralop_irno.recipe import Recipe
from neuralop_irno.study.catalogue import FILES, names, read_study
from neuralop_irno.study.contenders import Contender, Setting, contender, digest
from neuralop_irno.study.plan import BASE, Study
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.reporting import Reporter, Values
from neuralop_irno.training.trainer import Trainer

UPDATES = 6
"""Updates that are timed for each training, after one that is not."""


class Clock(Reporter):
    """Keeps the processor's time at the end of every epoch."""

    def __init__(self) -> None:
        self.times = list[float]()

    def log(self, values: Values, update: int) -> None:
        self.times.append(time.process_time())


def settings_of(study: Study, data: dict[str, Splits]) -> Iterator[tuple[Setting, float]]:
    """The trainings of a study, each once, and how often each is made; data sets are kept in `data`."""
    first, others = study.seeds[0], len(study.seeds) - 1
    for problem in study.problems.values():
        key = json.dumps(problem.data, sort_keys=True)
        for base in problem.bases:
            own: nn.Module | None = None
            for name, variant in study.variants.items():
                experiment = problem.experiment(base, variant, first)
                if key not in data:
                    data[key] = experiment.splits()
                for trial in variant.trials:
                    setting = Setting(experiment, variant, own, data[key], first, trial)
                    yield setting, 1 + others / len(variant.trials)
                    if name == BASE:
                        own = contender(setting).model


def seconds_of(built: Contender, splits: Splits) -> float:
    """The processor's time of one training."""
    recipe, train = built.recipe, splits["train"]
    if recipe is None:
        return 0.0
    update = _seconds_of_an_update(built, recipe, splits)
    validation = 0.0
    if not isinstance(train, NodeClasses):
        start = time.process_time()
        scores_per_step(built.model.eval(), splits["valid"], batch_size=recipe.batch_size, device="cpu")
        validation = time.process_time() - start
    return recipe.epochs * (math.ceil(len(train) / recipe.batch_size) * update + validation)


def _seconds_of_an_update(built: Contender, recipe: Recipe, splits: Splits) -> float:
    clock, model = Clock(), copy.deepcopy(built.model)
    short = replace(recipe, epochs=1 + UPDATES, patience=None)
    train: Any = splits["train"]
    few = (
        train if isinstance(train, NodeClasses) else Subset(train, range(min(recipe.batch_size, len(train))))
    )
    Trainer(model, short, copy.deepcopy(built.loss), show=False, reporters=[clock]).fit(few)
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(clock.times))


def write(name: str, minutes: float) -> None:
    """Replace the minutes of scale `small` in the file of a study, or add them below `needs`."""
    path = FILES / f"{name}.yaml"
    text = re.sub(r"^minutes:.*\n", "", path.read_text(), flags=re.MULTILINE)
    line = f"minutes: {{small: {max(1, round(minutes))}}}\n"
    path.write_text(re.sub(r"^(needs:.*\n)", rf"\g<1>{line}", text, flags=re.MULTILINE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("studies", nargs="*", help="by default all of the package")
    parser.add_argument("--json", type=Path, help="write the minutes to this file")
    parser.add_argument("--write", action="store_true", help="write the minutes to the studies' files")
    given = parser.parse_args()
    found: dict[str, float] = {}
    known: dict[str, float] = {}
    shared: dict[str, float] = {}
    data: dict[str, Any] = {}
    for name in given.studies or names():
        study = read_study(name)
        total = 0.0
        for setting, times in settings_of(study, data):
            key = digest(setting)
            if key not in known:
                known[key] = seconds_of(contender(setting), setting.splits)
            total += times * known[key] / 60
            shared[key] = max(shared.get(key, 0.0), times * known[key] / 60)
        found[name] = total
        print(f"{name:26s} {total:7.1f} min", flush=True)
        if given.write:
            write(name, total)
    print(f"{'every model once':26s} {sum(shared.values()):7.1f} min")
    if given.json:
        content = {"minutes": found, "every model once": sum(shared.values())}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
