"""examples/studies/searched_controls.py: ratios are those of single seeds, and a search has one finalist."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/studies/searched_controls.py"
LINES = (ROOT / "docs/results/main_runs.jsonl").read_text().splitlines()
BURGERS = [
    run for run in map(json.loads, LINES) if (run["problem"], run["variant"]) == ("burgers", "refined")
]


def write_finalist(folder: Path, variant: str, factors: tuple[float, ...]) -> None:
    (folder / "finalists/runs").mkdir(parents=True, exist_ok=True)
    for run, factor in zip(BURGERS, factors, strict=True):
        error = run["measured"][""]["error"] / factor
        record = {"variant": variant, "seed": run["seed"], "measured": {"": {"error": error}}}
        (folder / f"finalists/runs/{variant}.{run['seed']}.json").write_text(json.dumps(record))


def called(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_the_ratio_is_the_mean_of_those_of_seeds(tmp_path: Path) -> None:
    searches = {"same parameters": tmp_path / "once_burgers", "capacity matched": tmp_path / "dearer_burgers"}
    for search in searches.values():
        write_finalist(search, "width 8", (0.4, 0.5, 0.9))
    lines = called(tmp_path / "found.json", *searches.values()).stdout.splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert sorted(row[2] for row in rows) == sorted(searches)
    for row in rows:
        assert (row[1], row[6]) == ("burgers", "width 8")
        assert float(row[7].split()[0]) == pytest.approx(0.6, rel=1e-3)


def test_two_finalists_are_refused(tmp_path: Path) -> None:
    search = tmp_path / "once_burgers"
    for variant in ("width 8", "width 16"):
        write_finalist(search, variant, (1.0, 1.0, 1.0))
    refused = called(tmp_path / "found.json", search)
    assert refused.stderr.startswith("expected one finalist")
    assert not (tmp_path / "found.json").exists()
