"""The gain of refinement along five axes: `python examples/studies/when_it_pays.py BY_PROBLEM BY_CORRECTION`.

The arguments are the folders of two studies: when_by_problem.yaml, by the quality of the base, the number of
samples and the grid; when_by_correction.yaml, by the depth of Phi and by K. For each point of an axis, and
each seed, the gain is the error of the refiner over that of a control, which is the same correction asked
once: as large, or as dear. Below 1 the refiner is better. Printed is a table, means and 95 % intervals over
the seeds; `--pictures FOLDER` draws an axis each, `--json FILE` keeps the numbers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from neuralop_irno.study.table import Mean, mean_of

CENTRE, REFINED = "centre", "refined"
CONTROLS = ("same parameters", "same compute")


@dataclass(frozen=True)
class Point:
    """A point of an axis.

    Attributes:
        label: its name in the table and the picture.
        problem: of the runs.
        suffix: of the variants' names, after a comma.
        shared: controls that are those of the centre, whose option they do not have.
    """

    label: str
    problem: str = CENTRE
    suffix: str = ""
    shared: tuple[str, ...] = ()

    def variant(self, name: str) -> str:
        return name if not self.suffix or name in self.shared else f"{name}, {self.suffix}"


def same(label: str, suffix: str) -> Point:
    return Point(label, suffix=suffix, shared=("base",))


def steps(label: str) -> Point:
    """A network that is asked once and has the same parameters does not depend on K."""
    return Point(label, suffix=f"K = {label}", shared=("base", "same parameters"))


AXES = {
    "epochs of the base": [
        Point("1", "base of 1 epoch"), Point("4", "base of 4 epochs"), Point("20"),
        Point("80", "base of 80 epochs"),
    ],
    "samples": [Point("64", "64 samples"), Point("256"), Point("1024", "1024 samples")],
    "cells a side": [Point("8", "8 cells"), Point("16"), Point("32", "32 cells")],
    "levels of Phi below the finest": [
        same("0", "depth 0"), same("1", "depth 1"), Point("2"), same("3", "depth 3"),
    ],
    "steps K": [steps("2"), Point("4"), steps("8")],
}  # fmt: skip
FILES = ("base", "samples", "grid", "depth", "steps")

Errors = dict[tuple[str, str], dict[int, float]]
"""By problem and variant: the error of each seed."""


def errors_in(folders: list[Path]) -> Errors:
    found: Errors = {}
    for folder in folders:
        for path in sorted((folder / "runs").glob("*.json")):
            run = json.loads(path.read_text())
            of = found.setdefault((run["problem"], run["variant"]), {})
            of[run["seed"]] = run["measured"][""]["error"]
    return found


def row(errors: Errors, point: Point) -> dict[str, Mean] | None:
    """Errors and gains of a point, over the seeds that all its models have; None if there are none."""
    names = ("base", REFINED, *CONTROLS)
    own = {name: errors.get((point.problem, point.variant(name)), {}) for name in names}
    seeds = sorted(set.intersection(*(set(each) for each in own.values())))
    if not seeds:
        return None
    means = {name: mean_of([each[seed] for seed in seeds]) for name, each in own.items()}
    gains = {f"/ {c}": mean_of([own[REFINED][s] / own[c][s] for s in seeds]) for c in CONTROLS}
    better = [own[REFINED][s] / min(own[c][s] for c in CONTROLS) for s in seeds]
    return {**means, **gains, "/ the better": mean_of(better)}


def rows(errors: Errors, points: list[Point]) -> Iterator[tuple[str, dict[str, Mean]]]:
    for point in points:
        found = row(errors, point)
        if found is not None:
            yield point.label, found


def draw(axis: str, found: dict[str, dict[str, Mean]]) -> Figure:
    """The gains over both controls, with intervals."""
    figure = Figure(figsize=(4.2, 3.0), layout="constrained")
    axes = figure.subplots()
    places = range(len(found))
    for shift, control in zip((-0.05, 0.05), CONTROLS, strict=True):
        gains = [means[f"/ {control}"] for means in found.values()]
        at = [place + shift for place in places]
        axes.errorbar(
            at, [gain.mean for gain in gains], [gain.half or 0.0 for gain in gains],
            marker="o", capsize=3, label=f"refined / {control}",
        )  # fmt: skip
    axes.axhline(1.0, color="grey", linestyle=":")
    axes.set_xticks(list(places), list(found))
    axes.set(xlabel=axis, ylabel="error / the control's")
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs=2, metavar="FOLDER")
    parser.add_argument("--pictures", type=Path, help="draw the axes in this folder")
    parser.add_argument("--json", type=Path, help="write the tables to this file")
    options = parser.parse_args()
    errors = errors_in(options.folders)
    columns = ("base", REFINED, *CONTROLS, *(f"/ {control}" for control in CONTROLS), "/ the better")
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    for file, (axis, points) in zip(FILES, AXES.items(), strict=True):
        found = dict(rows(errors, points))
        tables[axis] = {
            label: {of: mean._asdict() for of, mean in means.items()} for label, means in found.items()
        }
        print(f"\n| {axis} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
        for label, means in found.items():
            print(f"| {label} | {' | '.join(str(means[column]) for column in columns)} |")
        if options.pictures and found:
            options.pictures.mkdir(parents=True, exist_ok=True)
            draw(axis, found).savefig(options.pictures / f"when_{file}.png", dpi=90)
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
