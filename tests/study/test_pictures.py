"""What a study's picture shows is what its table says, and it is written beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from tiny import one_base, words

from neuralop_irno.diagnostics.plots import save
from neuralop_irno.study.catalogue import read_study
from neuralop_irno.study.kinds import BANDS
from neuralop_irno.study.pictures import PICTURES, front
from neuralop_irno.study.plan import BASE, Study, study_from
from neuralop_irno.study.record import Record
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.table import Table, table_of

LARGEST = 200_000
OPTIONS: dict[str, dict[str, Any]] = {"dynamics": {"times": 3}, "extrapolation": {"times": 4}, "pareto": {}}

Curve = list[tuple[float, float]]


def drawn(axes: Axes) -> dict[str, Curve]:
    """The curves of a panel by name; lines that mark something have none."""
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    return {
        name: list(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for name, line in lines.items()
        if not name.startswith("_")
    }


def marks(axes: Axes) -> list[float]:
    """Where the dotted lines are."""
    return [line.get_xdata()[0] for line in axes.get_lines() if str(line.get_label()).startswith("_")]


def curve(table: Table, column: str, **key: str) -> Curve:
    """A column of the table, step by step."""
    rows = [row for row in table.results if key.items() <= row.items()]
    return [(int(row["at"].split()[-1]), row[column].mean) for row in rows]


@pytest.fixture(scope="module", params=list(PICTURES))
def studied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A study in a folder, finished."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    content = words(kind=kind, problems=one_base(), options=OPTIONS[kind])
    trained = tmp_path_factory.getbasetemp() / "trained for pictures"
    study = study_from({"name": "tiny", **content})
    return study, folder, StudyRunner(study, folder, "cpu", lambda text: None, False, trained).run()


def test_it_lies_beside_the_table_and_shows_its_numbers(studied: tuple[Study, Path, Table]) -> None:
    study, folder, table = studied
    assert (folder / "table.json").exists()
    picture = folder / "picture.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < LARGEST
    shows = {"dynamics": shows_dynamics, "extrapolation": shows_extrapolation, "pareto": shows_pareto}
    shows[study.kind](PICTURES[study.kind](study, table).axes, table)


def shows_dynamics(panels: list[Axes], table: Table) -> None:
    refined, once = panels
    for axes, variant in ((refined, "refined"), (once, "same parameters")):
        for band, points in drawn(axes).items():
            assert points == curve(table, band, variant=variant)
        assert list(drawn(axes)) == ["low", "middle", "high"]
    assert marks(refined) == [2]
    assert marks(once) == []  # one step, whatever the words of the problem say


def shows_extrapolation(panels: list[Axes], table: Table) -> None:
    (axes,) = panels
    assert list(drawn(axes)) == ["refined", "same parameters"]
    for variant, points in drawn(axes).items():
        assert points == curve(table, "error", variant=variant)
    assert marks(axes) == [2]
    interval = axes.collections[0]
    assert isinstance(interval, PolyCollection)
    last = [row for row in table.results if row["variant"] == "refined"][-1]
    corners = [y for x, y in interval.get_paths()[0].vertices if x == 8]
    assert max(corners) == pytest.approx(last["error"].mean + last["error"].half)
    assert min(corners) == pytest.approx(last["error"].mean - last["error"].half)


def shows_pareto(panels: list[Axes], table: Table) -> None:
    arithmetic, training, answer = (drawn(axes) for axes in panels)
    rows = {(row["variant"], row["at"]): row for row in table.results}
    base = rows["base", ""]
    assert arithmetic["base"] == [(base["MFLOP"].mean, base["error"].mean)]
    assert arithmetic["refined"][0] == arithmetic["base"][0]  # no step yet: the base's answer at its price
    for place, (cost, error) in enumerate(arithmetic["refined"]):
        assert cost == base["MFLOP"].mean + rows["refined", f"k = {place}"]["MFLOP"].mean
        assert error == rows["refined", f"k = {place}"]["error"].mean
    for row in table.costs:
        error = arithmetic[row["variant"]][-1][1]
        assert training[row["variant"]] == [(row["training MiB"], error)]
        assert answer[row["variant"]] == [(row["answer MiB"], error)]


def test_nothing_is_below_and_left_of_the_front() -> None:
    points = [(float(7 * i % 31), float(11 * i % 29)) for i in range(40)]
    best = front(points)
    assert set(best) <= set(points)
    for point in points:
        dominated = [p for p in points if p != point and p[0] <= point[0] and p[1] <= point[1]]
        assert (point in best) is not bool(dominated)


@pytest.mark.usefixtures("with_ticks")
@pytest.mark.parametrize("kind", list(PICTURES))
@pytest.mark.parametrize("start", [1.0, None], ids=["finite", "not finite"])
def test_studies_of_the_package_fit_into_a_small_file(kind: str, start: float | None, tmp_path: Path) -> None:
    """Whatever was found: a study that diverged throughout must not end in an error of its picture."""
    study = read_study(kind)
    names = BANDS if kind == "dynamics" else ("error",)
    records = []
    for run in study.runs():
        looks = (0, 1, 2, 3, 4, 8, 12) if run.variant != BASE else (0,) if kind == "pareto" else ()
        measured: dict[str, dict[str, float | None]] = {}
        for k in looks:
            at = f"k = {k}" if run.variant != BASE else ""
            measured[at] = dict.fromkeys(names, start and start * 0.5**k * (1 + run.seed)) | {
                "MFLOP": k + 1.0
            }
        costs: dict[str, Any] = {"parameters": 1, "megaflops": 1.0, "updates": 1, "seconds": 1.0}
        memory = {"training_mib": 1.0, "answer_mib": 1.0}
        records.append(Record(**run._asdict(), measured=measured, notes=[], machine={}, **costs, **memory))
    picture = save(PICTURES[kind](study, table_of(study, records)), tmp_path / "picture.png")
    assert picture.stat().st_size < LARGEST
