"""The page of a study or of a search, from its tables and records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuralop_irno.errors import expected
from neuralop_irno.reports.files import read_json, read_text
from neuralop_irno.reports.film import film
from neuralop_irno.reports.intervals import intervals
from neuralop_irno.reports.markup import Markup, tag
from neuralop_irno.reports.numbers import is_mean
from neuralop_irno.reports.page import Page, Section, folded, paragraph
from neuralop_irno.reports.plots import Line, colour, plot, ramp, side_by_side
from neuralop_irno.reports.tables import table_of
from neuralop_irno.study import record
from neuralop_irno.study.plan import BASE, Run
from neuralop_irno.study.worker import file_of
from neuralop_irno.yaml_files import read_yaml

TABLE = "table.json"
STUDY, SEARCH = "study.yaml", "search.yaml"

AT_STEP = "k = "
"""How the place of a measurement begins that is a number of steps."""

PICTURE, MEGAFLOPS = "picture.png", "MFLOP"

PLACES = ("problem", "base", "variant", "at")

Row = Mapping[str, Any]


def page_of_study(folder: Path, name: str) -> Page:
    """The page.

    Args:
        folder: of a study or a search.
        name: of it, for the heading.
    """
    content = read_json(folder / TABLE)
    if content is None:
        got, hint = f"{folder} without it", "the command irno study again, which continues the study"
        raise ValueError(expected(f"{TABLE} with at least one finished run", got, hint))
    if "trials" in content:
        return _of_search(folder, name, content)
    study = read_yaml(folder / STUDY) if (folder / STUDY).is_file() else None
    runs = [] if study is None else _runs(study)
    missing = [run for run in runs if not file_of(folder, run).is_file()]
    done = [record.read(path) for path in sorted((folder / "runs").glob("*.json"))]
    results, costs = content["results"], content["costs"]
    return Page(
        kind="study",
        title=content["study"],
        source=f"irno report {name}",
        about=content["about"],
        figures={
            "finished runs": f"{len(done)} of {len(runs)}" if runs else len(done),
            "problems": len({row["problem"] for row in results}),
            "variants": len({row["variant"] for row in results}),
            "seeds": len({each.seed for each in done}),
        },
        alerts=_alerts(missing, content["notes"]),
        sections=[
            Section("Pictures", [side_by_side(_pictures(results)), _drawn(folder, results)]),
            Section("Results", [paragraph(MEANS), table_of(results)]),
            Section(
                "Costs", [table_of(costs), *(paragraph(f"Machine: {each}.") for each in content["machines"])]
            ),
            Section("Runs", [_of_runs(done), _missing(missing)]),
            Section("Warnings", [_list(content["notes"])]),
            Section("Definition", [_definition(folder / STUDY)]),
        ],
    )


MEANS = "Means over the seeds, with half of Student's 95 % interval. A click on a column's head sorts."


def _runs(study: Mapping[str, Any]) -> list[Run]:
    """All runs of a study, from its file."""
    return [
        Run(problem, base, variant, seed)
        for problem, options in study["problems"].items()
        for seed in study["seeds"]
        for base in options["bases"]
        for variant in study["variants"]
    ]


def _alerts(missing: Sequence[Run], notes: Sequence[str]) -> list[str]:
    found = []
    if missing:
        found.append(f"{len(missing)} runs are missing; they are listed under Runs.")
    if notes:
        found.append(f"{len(notes)} warnings about single runs; they are listed under Warnings.")
    return found


def _pictures(results: Sequence[Row]) -> Iterator[Markup]:
    """For each problem and base: errors by step, or the first column of all variants with its intervals."""
    for (problem, base), rows in _by(results, "problem", "base").items():
        columns = [name for name in rows[0] if name not in PLACES and is_mean(rows[0][name])]
        stepwise = [row for row in rows if str(row["at"]).startswith(AT_STEP)]
        title = f"{problem}, {base}"
        if stepwise:
            yield from _by_step(title, stepwise, columns)
        elif columns:
            means = [(_label(row), row[columns[0]]) for row in rows if is_mean(row[columns[0]])]
            yield intervals(title, means, columns[0], at=_of_base(rows, columns[0]))


def _drawn(folder: Path, results: Sequence[Row]) -> Markup | None:
    """The picture that the study drew of errors against arithmetic and memory, if it is of that kind."""
    file = folder / PICTURE
    if not file.is_file() or not any(MEGAFLOPS in row for row in results):
        return None
    return film(file, "Error against cost", "Drawn by the study: arithmetic, memory, and the front of both.")


def _by_step(title: str, rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Markup]:
    """Plots of each variant with all columns, if they are parts of an error; else one of the first."""
    variants = _by(rows, "variant")
    if len(columns) > 2 and "error" not in columns:
        for (variant,), own in variants.items():
            shades = enumerate(columns)
            lines = [_curve(name, own, name, ramp(place, len(columns))) for place, name in shades]
            yield plot(f"{title}, {variant}", lines, "steps k", "error", whole=True)
        return
    lines = [
        _curve(variant, own, columns[0], colour(place))
        for place, ((variant,), own) in enumerate(variants.items())
    ]
    yield plot(title, lines, "steps k", columns[0], whole=True)


def _curve(name: str, rows: Sequence[Row], column: str, paint: str) -> Line:
    known = [row for row in rows if is_mean(row.get(column))]
    steps = [float(row["at"].removeprefix(AT_STEP)) for row in known]
    means = [row[column]["mean"] for row in known]
    halves = [row[column]["half"] or 0.0 for row in known]
    low = [mean - half for mean, half in zip(means, halves, strict=True)]
    high = [mean + half for mean, half in zip(means, halves, strict=True)]
    return Line(name, steps, means, low, high, paint)


def _label(row: Row) -> str:
    return f"{row['variant']}, {row['at']}" if row["at"] else row["variant"]


def _of_base(rows: Sequence[Row], column: str) -> float | None:
    """The mean of the base alone, if it has one."""
    found = [row[column] for row in rows if row["variant"] == BASE and is_mean(row[column])]
    return found[0]["mean"] if len(found) == 1 else None


def _by(rows: Sequence[Row], *names: str) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _of_runs(done: Sequence[record.Record]) -> Markup:
    rows = [
        {
            "problem": each.problem, "base": each.base, "variant": each.variant, "seed": each.seed,
            "at": at, **measured, "seconds": each.seconds,
        }
        for each in done for at, measured in each.measured.items()
    ]  # fmt: skip
    return folded(f"{len(done)} finished runs, {len(rows)} measurements", table_of(rows))


def _missing(missing: Sequence[Run]) -> Markup | None:
    if not missing:
        return None
    return table_of([{**run._asdict(), "state": "missing"} for run in missing], "Missing runs")


def _list(notes: Sequence[str]) -> Markup | None:
    return tag("ul", *(tag("li", note) for note in notes)) if notes else None


def _definition(file: Path) -> Markup | None:
    content = read_text(file)
    return None if content is None else folded(file.name, tag("pre", content))


def _of_search(folder: Path, name: str, content: Mapping[str, Any]) -> Page:
    trials, best = content["trials"], content["best"]
    scores = [(trial["trial"], trial["score"]) for trial in trials if isinstance(trial.get("score"), float)]
    line = Line("", [number for number, _ in scores], [score for _, score in scores])
    complete = sum(trial["state"] == "complete" for trial in trials)
    return Page(
        kind="search",
        title=name,
        source=f"irno report {name}",
        about="The trials of a search of options.",
        figures={"trials": len(trials), "complete": complete, "lowest score": best and best["score"]},
        alerts=[],
        sections=[
            Section("Scores", [plot("Score of each trial", [line], "trial", "score", whole=True)]),
            Section("Trials", [table_of(trials)]),
            Section("Best config", [_definition(folder / "best.yaml")]),
            Section("Definition", [_definition(folder / SEARCH)]),
        ],
    )
