"""Reports in Chromium: no error, both colour schemes, sorted tables, and nothing that runs or is loaded.

With ``REPORT_PICTURES=folder`` the pages are also written there as pictures, for people to look at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from report_folders import folders_in

import neuralop_irno as irno

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")

KINDS = ("run", "study", "rollout", "comparison", "diagnosis", "frames")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = {"desktop": 1200, "phone": 390}

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each kind; they may be read only."""
    return folders_in(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium of the machine or of playwright; without one the tests are skipped."""
    with playwright.sync_playwright() as running:
        found = next(filter(None, map(shutil.which, NAMES)), running.chromium.executable_path)
        if not Path(found).exists():
            pytest.skip("needs Chromium: apt-get install chromium, or playwright install chromium")
        opened = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each kind."""
    to = tmp_path_factory.mktemp("pages")
    return {kind: irno.report(folder, to / f"{kind}.html") for kind, folder in folders.items()}


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """Opens the page of a kind; at the end no error was printed, and no other file was requested."""
    faults: list[str] = []
    requested: set[str] = set()
    contexts = []

    def open_page(kind: str, scheme: str = "light", width: int = WIDTHS["desktop"]) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requested.add(request.url.partition(":")[0]))
        page.goto(pages[kind].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
    assert requested <= {"file", "data"}


@every_kind
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_its_window_in_both_schemes(opened: Any, kind: str, scheme: str, width: str) -> None:
    page = opened(kind, scheme, WIDTHS[width])
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    shades = {name: _lightness(page, name) for name in ("color", "background-color")}
    assert (shades["color"] < 100 < 200 < shades["background-color"]) is (scheme == "light")
    assert (shades["background-color"] < 100 < 200 < shades["color"]) is (scheme == "dark")
    if folder := os.environ.get("REPORT_PICTURES"):
        page.screenshot(path=Path(folder) / f"{kind}_{scheme}_{width}.png", full_page=True)


def _lightness(page: Any, name: str) -> float:
    """The mean of the three channels of a colour of the page, from 0 to 255."""
    paint: str = page.evaluate(f"getComputedStyle(document.body).getPropertyValue('{name}')")
    channels = [int(each) for each in paint.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(channels) / 3


@every_kind
def test_a_click_on_the_head_of_a_column_sorts_it(opened: Any, kind: str) -> None:
    page = opened(kind)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    tables = page.locator("table.sortable")
    assert tables.count() >= 1
    for number in range(tables.count()):
        table = tables.nth(number)
        before = sorted(table.locator("tbody tr").all_inner_texts())
        place = table.locator("th").count() - 1
        button = table.locator("th button").nth(place)
        for order, sign in (("ascending", 1), ("descending", -1)):
            button.click()
            assert table.locator("th").nth(place).get_attribute("aria-sort") == order
            cells = f"rows => rows.map(row => row.cells[{place}].dataset.value)"
            values = table.locator("tbody tr").evaluate_all(cells)
            known = [float(value) for value in values if value is not None]
            assert all(sign * one <= sign * other for one, other in pairwise(known))
            assert None not in values[: len(known)]
            assert sorted(table.locator("tbody tr").all_inner_texts()) == before


@every_kind
def test_no_text_of_a_file_runs(opened: Any, kind: str) -> None:
    page = opened(kind)
    page.wait_for_timeout(50)
    assert page.title() != "run"
    assert page.locator("script").count() == 1
    assert page.locator("img[onerror]").count() == 0


def test_the_film_is_shown(opened: Any) -> None:
    page = opened("rollout")
    page.wait_for_function("document.querySelector('img').naturalWidth > 0")


@every_kind
def test_letters_of_plots_stay_in_their_window(opened: Any, kind: str) -> None:
    """Ticks and names are inside the box of their plot, and no two ticks of an axis overlap."""
    page = opened(kind)
    outside = page.evaluate(
        """() => [...document.querySelectorAll("svg text")].filter((text) => {
            const box = text.getBoundingClientRect(), all = text.closest("svg").getBoundingClientRect();
            return box.left < all.left - 1 || box.right > all.right + 1 || box.bottom > all.bottom + 1;
        }).map((text) => text.textContent)"""
    )
    assert outside == []
    overlapping = page.evaluate(
        """() => [...document.querySelectorAll("svg")].flatMap((svg) => {
            const ticks = [...svg.querySelectorAll("text.tick")];
            const apart = (a, b) => a.right <= b.left || b.right <= a.left
                || a.bottom <= b.top || b.bottom <= a.top;
            return ticks.flatMap((one, place) => ticks.slice(place + 1)
                .filter((other) => !apart(one.getBoundingClientRect(), other.getBoundingClientRect()))
                .map((other) => `${one.textContent}, ${other.textContent}`));
        })"""
    )
    assert overlapping == []
