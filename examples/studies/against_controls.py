"""A refined base against its controls, with intervals: `against_controls.py FILE FOLDER ..`.

A FOLDER is that of a study with the variants of `irno study main`, for some of its problems, bases and
seeds. What the tables need of its runs goes to FILE, one line of JSON for each run, beside the runs that
FILE has already: so a study may be done in parts, on several days. Printed are tables over the seeds that
all models of a row have: means and 95 % intervals; ratios are means of the ratios of single seeds. If the
kinds of the study include `dynamics`, `extrapolation` and `robustness`, as in main_measured.yaml, there are
tables of bands, of steps beyond K = 4, and of noise. Runs of one model with different options are refused.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from neuralop_irno.digest import of_json
from neuralop_irno.study.table import mean_of
from neuralop_irno.yaml_files import read_yaml

BASE, REFINED = "base", "refined"
CONTROLS = ("same parameters", "same compute", "capacity matched")
KEPT = ("error", "low", "middle", "high")
KEY = ("problem", "base", "variant", "seed")
K, LATER = 4, (12, 40)
"""The number of steps of scale small, and those beyond it in the tables."""

Measured = dict[str, dict[str, float | None]]
Group = dict[str, dict[int, Measured]]
"""By variant and seed: what was measured."""


def of_a_run(record: dict[str, Any], study: Mapping[str, Any]) -> dict[str, Any]:
    """What the tables need of the record of a run, rounded to five digits, and a digest of its options."""
    problem = study["problems"][record["problem"]]
    own = {**problem, "bases": problem["bases"][record["base"]]}
    options = of_json([own, study["variants"].get(record["variant"])])[:12]
    measured = {
        place: {column: rounded(value) for column, value in row.items() if column in KEPT}
        for place, row in record["measured"].items()
        if not place.startswith("k = ") or int(place[4:]) in (K, *LATER)
    }
    costs = {name: record[name] for name in ("parameters", "megaflops", "updates", "notes")}
    return {**{name: record[name] for name in KEY}, "options": options, "measured": measured, **costs}


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def collected(file: Path, folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The runs of the file and of the folders; of equal ones that of the last folder."""
    lines = file.read_text().splitlines() if file.exists() else []
    runs = [json.loads(line) for line in lines]
    for folder in folders:
        found = sorted((folder / "runs").glob("*.json"))
        if not found:
            raise SystemExit(f"expected runs in {folder}, got none; try the folder of a study")
        study = read_yaml(folder / "study.yaml")
        runs += [of_a_run(json.loads(path.read_text()), study) for path in found]
    options: dict[tuple[str, ...], str] = {}
    for run in runs:
        model = tuple(run[name] for name in KEY[:3])
        if options.setdefault(model, run["options"]) != run["options"]:
            raise SystemExit(
                f"expected runs of {', '.join(model)} with equal options, got others; try a new FILE"
            )
    by_key = {tuple(run[name] for name in KEY): run for run in runs}
    return [by_key[key] for key in sorted(by_key)]


def groups(runs: list[dict[str, Any]]) -> Iterator[tuple[str, str, Group]]:
    """The runs of each problem and base."""
    for problem, base in dict.fromkeys((run["problem"], run["base"]) for run in runs):
        group: Group = {}
        for run in runs:
            if (run["problem"], run["base"]) == (problem, base):
                group.setdefault(run["variant"], {})[run["seed"]] = run["measured"]
        yield problem, base, group


def seeds_of(group: Group, names: Iterable[str]) -> list[int]:
    return sorted(set.intersection(*(set(group.get(name, {})) for name in names)))


def number(measured: Measured, place: str = "", column: str = "error") -> float:
    value = measured.get(place, {}).get(column)
    return float("nan") if value is None else value


def print_table(columns: list[str], rows: Iterable[list[str]]) -> None:
    body = [f"| {' | '.join(row)} |" for row in rows]
    if body:
        print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        print("\n".join(body))


def errors(runs: list[dict[str, Any]]) -> Iterator[list[str]]:
    """The errors of a base, its refiner and the controls, and the ratios of the refiner's to theirs."""
    names = (BASE, REFINED, *CONTROLS)
    for problem, base, group in groups(runs):
        seeds = seeds_of(group, names)
        if not seeds:
            continue
        own = {name: [number(group[name][seed]) for seed in seeds] for name in names}
        better = [min(pair) for pair in zip(own[CONTROLS[0]], own[CONTROLS[1]], strict=True)]
        ratios = [
            str(mean_of([refined / other for refined, other in zip(own[REFINED], others, strict=True)]))
            for others in (*(own[name] for name in CONTROLS), better)
        ]
        yield [problem, base, str(len(seeds)), *(str(mean_of(own[name])) for name in names), *ratios]


def bands(runs: list[dict[str, Any]]) -> Iterator[list[str]]:
    """What a refiner leaves of its base's error in thirds of the spectrum, at K."""
    for problem, base, group in groups(runs):
        left = [row for row in group.get(REFINED, {}).values() if "low" in row.get(f"k = {K}", {})]
        if left:
            thirds = [mean_of([number(row, f"k = {K}", band) for row in left]) for band in KEPT[1:]]
            yield [problem, base, str(len(left)), *map(str, thirds)]


def beyond(runs: list[dict[str, Any]]) -> Iterator[list[str]]:
    """The error of a refiner after 3 K and 10 K steps, in units of that at K."""
    for problem, base, group in groups(runs):
        found = [row for row in group.get(REFINED, {}).values() if "error" in row.get(f"k = {LATER[-1]}", {})]
        if found:
            at = [
                mean_of([number(row, f"k = {k}") / number(row, f"k = {K}") for row in found]) for k in LATER
            ]
            yield [problem, base, str(len(found)), *map(str, at)]


def noise(runs: list[dict[str, Any]]) -> Iterator[list[str]]:
    """The errors of base, refiner and the control of equal parameters, by the noise on the input."""
    names = (BASE, REFINED, CONTROLS[0])
    for problem, base, group in groups(runs):
        seeds = seeds_of(group, names)
        places = [place for place in group[BASE][seeds[0]] if place.startswith("noise")] if seeds else []
        for place in places:
            own = [mean_of([number(group[name][seed], place) for seed in seeds]) for name in names]
            yield [problem, base, place, *map(str, own)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="of the runs, one line of JSON each")
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="of studies")
    options = parser.parse_args()
    runs = collected(options.file, options.folders)
    if options.folders:
        options.file.write_text("".join(json.dumps(run) + "\n" for run in runs))
    of, controls = ["problem", "base", "seeds"], [BASE, REFINED, *CONTROLS]
    print_table([*of, *controls, *(f"/ {name}" for name in (*CONTROLS, "the better"))], errors(runs))
    print_table([*of, "low", "middle", "high"], bands(runs))
    print_table([*of, "at 3 K, of that at K", "at 10 K"], beyond(runs))
    print_table(["problem", "base", "noise", BASE, REFINED, CONTROLS[0]], noise(runs))


if __name__ == "__main__":
    main()
