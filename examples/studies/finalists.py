"""The best trials of a search, with several seeds: `python examples/studies/finalists.py runs/search/darcy`.

A search (`irno study --search examples/studies/search/darcy.yaml --folder runs/search/darcy`) tries each set
of options with one seed and ends most trials early. This takes the four that got furthest, those with the
lowest score first, trains each with several seeds, and measures them on the test set as `irno study` does:
the error at 0 .. K steps and beyond, and what is left in each third of the spectrum. The results are a study
in a folder of its own, which is continued if it is there; `--json` copies its table.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from neuralop_irno.study.plan import BASE, Study, Variant
from neuralop_irno.study.runner import StudyRunner
from neuralop_irno.study.space import Search, read_search


def finalists(search: Search, trials: list[dict[str, Any]], count: int) -> dict[str, dict[str, Any]]:
    """The options of the best trials, each set once, by a name that says them."""
    order = sorted(
        (trial for trial in trials if isinstance(trial["score"], float)),
        key=lambda trial: (trial["state"] != "complete", -trial["epochs"], trial["score"]),
    )
    found: dict[str, dict[str, Any]] = {}
    for trial in order:
        options = {name: trial[name] for name in search.space}
        words = (f"{name.rpartition('.')[2]} {_words(value)}" for name, value in options.items())
        found.setdefault(", ".join(words), options)
    return dict(list(found.items())[:count])


def _words(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return " ".join([value["name"], *(f"{name} {own}" for name, own in value.items() if name != "name")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the search")
    parser.add_argument("--count", type=int, default=4, help="how many finalists")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--to", type=Path, help="the folder of the study, by default finalists in that of the search"
    )
    parser.add_argument("--json", type=Path, help="copy the table to this file")
    given = parser.parse_args()
    search = read_search(given.folder / "search.yaml")
    trials = json.loads((given.folder / "table.json").read_text())["trials"]
    chosen = finalists(search, trials, given.count)
    variants = {BASE: Variant(BASE), **{name: search.variant(options) for name, options in chosen.items()}}
    problems = {given.folder.name: search.study().problems["search"]}
    about = "The best trials of a search, with several seeds."
    study = Study("finalists", ["main", "dynamics"], about, problems, variants, tuple(given.seeds))
    folder = given.to or given.folder / "finalists"
    print(StudyRunner(study, folder, "cpu", print, False, given.folder / "trained").run())
    if given.json:
        shutil.copyfile(folder / "table.json", given.json)


if __name__ == "__main__":
    main()
