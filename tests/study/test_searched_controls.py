"""examples/studies/searched_controls.py: ratios are those of single seeds, and a search has one finalist."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/studies/searched_controls.py"
LINES = (ROOT / "docs/results/main_runs.jsonl").read_text().splitlines()


def errors_of(variant: str) -> dict[int, float]:
    """The errors of Burgers' equation in the main table, by seed."""
    runs = [run for run in map(json.loads, LINES) if (run["problem"], run["variant"]) == ("burgers", variant)]
    return {run["seed"]: run["measured"][""]["error"] for run in runs}


REFINED = errors_of("refined")


def write_finalist(folder: Path, variant: str, factors: tuple[float, ...]) -> None:
    (folder / "finalists/runs").mkdir(parents=True, exist_ok=True)
    for (seed, error), factor in zip(REFINED.items(), factors, strict=True):
        record = {"variant": variant, "seed": seed, "measured": {"": {"error": error / factor}}}
        (folder / f"finalists/runs/{variant}.{seed}.json").write_text(json.dumps(record))


def called(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_the_ratio_is_the_mean_of_those_of_seeds(tmp_path: Path) -> None:
    searches = {"once_burgers": "same parameters", "dearer_burgers": "capacity matched"}
    for name in searches:
        write_finalist(tmp_path / name, f"width of {name}", (0.4, 0.5, 0.9))
    lines = called(tmp_path / "found.json", *(tmp_path / name for name in searches)).stdout.splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert {row[6]: row[2] for row in rows} == {f"width of {name}": kind for name, kind in searches.items()}
    for row in rows:
        control = errors_of(row[2])
        assert row[1] == "burgers"
        assert float(row[4].split()[0]) == pytest.approx(sum(control.values()) / 3, rel=1e-3)
        assert float(row[7].split()[0]) == pytest.approx(0.6, rel=1e-3)
        found = {
            seed: error / factor
            for (seed, error), factor in zip(REFINED.items(), (0.4, 0.5, 0.9), strict=True)
        }
        better = [error / min(found[seed], control[seed]) for seed, error in REFINED.items()]
        assert float(row[8].split()[0]) == pytest.approx(sum(better) / 3, rel=1e-3)


def test_two_finalists_are_refused(tmp_path: Path) -> None:
    search = tmp_path / "once_burgers"
    for variant in ("width 8", "width 16"):
        write_finalist(search, variant, (1.0, 1.0, 1.0))
    refused = called(tmp_path / "found.json", search)
    assert refused.stderr.startswith("expected one finalist")
    assert not (tmp_path / "found.json").exists()
