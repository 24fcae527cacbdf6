"""A refiner against a control with a search of its own: `searched_controls.py FILE SEARCH..`.

A SEARCH is the folder of a search of examples/studies/search/once_PROBLEM.yaml, for the control of equal
parameters, or dearer_PROBLEM.yaml, for the larger and dearer one, whose best trial `finalists.py SEARCH
--count 1` has trained with three seeds. Its options and test errors go to FILE, beside those that are there.
Printed are, of seeds that both have, the refiner of the main table (docs/results/main_runs.jsonl), the
control there, the one that was searched, and ratios of single seeds: to the latter, and to the better of
both in each seed. Means and 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from neuralop_irno.study.plan import BASE
from neuralop_irno.study.table import mean_of

RUNS = Path(__file__).parents[2] / "docs/results/main_runs.jsonl"
CONTROLS = {"once": "same parameters", "dearer": "capacity matched"}
"""The controls of the main table, by the first word of a search."""
FNO, BASES = "fno", {"waves": "rigno", "heat": "rigno"}
"""The bases of the searches, by problem."""


def of_a_search(folder: Path) -> dict[str, Any]:
    """The options and the test errors by seed of the best trial."""
    records = [json.loads(path.read_text()) for path in sorted((folder / "finalists/runs").glob("*.json"))]
    found = [record for record in records if record["variant"] != BASE]
    names = {record["variant"] for record in found}
    if len(names) != 1:
        raise SystemExit(f"expected one finalist in {folder}, got {len(names)}; try finalists.py --count 1")
    errors = {str(record["seed"]): float(f"{record['measured']['']['error']:.5g}") for record in found}
    return {"options": names.pop(), "errors": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("searches", type=Path, nargs="*", metavar="SEARCH")
    given = parser.parse_args()
    known = json.loads(given.file.read_text()) if given.file.exists() else {}
    known |= {folder.name: of_a_search(folder) for folder in given.searches}
    given.file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    errors: dict[tuple[str, str], dict[str, float]] = {}
    for line in RUNS.read_text().splitlines():
        run = json.loads(line)
        if run["base"] == BASES.get(run["problem"], FNO):
            of = errors.setdefault((run["problem"], run["variant"]), {})
            of[str(run["seed"])] = run["measured"][""]["error"]
    print("| problem | control | refined | of the table | searched | options | ratio | to the better |")
    print("|---|---|---|---|---|---|---|---|")
    for name, search in known.items():
        kind, problem = name.split("_", 1)
        refined, control = errors[problem, "refined"], errors[problem, CONTROLS[kind]]
        found = search["errors"]
        seeds = sorted(set(refined) & set(control) & set(found))
        means = [mean_of([each[seed] for seed in seeds]) for each in (refined, control, found)]
        ratio = mean_of([refined[seed] / found[seed] for seed in seeds])
        better = mean_of([refined[seed] / min(found[seed], control[seed]) for seed in seeds])
        cells = [problem, CONTROLS[kind], *means, search["options"], ratio, better]
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
