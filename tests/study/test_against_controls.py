"""examples/studies/against_controls.py: parts of a study are joined, and ratios are those of single seeds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/studies/against_controls.py"
ERRORS = {
    "base": (0.4, 0.6),
    "refined": (0.1, 0.3),
    "same parameters": (0.2, 0.4),
    "same compute": (0.25, 0.3),
    "capacity matched": (0.1, 0.2),
}


def write_runs(folder: Path, seed: int, rate: float = 0.01) -> None:
    (folder / "runs").mkdir(parents=True)
    problem = {"bases": {"fno": {}}, "training": {"learning_rate": rate}}
    study = {"problems": {"flow": problem}, "variants": {name: {} for name in ERRORS}}
    (folder / "study.yaml").write_text(json.dumps(study))
    for variant, errors in ERRORS.items():
        steps = {f"k = {k}": {"error": errors[seed] * k / 4, "of that at K": k / 4} for k in (4, 12, 40)}
        bands = {"low": 0.1, "middle": 0.2, "high": 0.3}
        measured = {"": {"error": errors[seed], "of the base's": errors[seed] / ERRORS["base"][seed]}}
        if variant == "refined":
            measured |= {**steps, "k = 4": {**steps["k = 4"], **bands}}
        record = {
            "problem": "flow", "base": "fno", "variant": variant, "seed": seed, "measured": measured,
            "parameters": 1, "megaflops": 1.0, "updates": 1, "notes": [], "seconds": 1.0,
        }  # fmt: skip
        (folder / "runs" / f"{variant}.json").write_text(json.dumps(record))


def called(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_parts_are_joined_and_ratios_are_of_single_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_runs(tmp_path / str(seed), seed)
    file = tmp_path / "runs.jsonl"
    assert not called(file, tmp_path / "0").stderr
    joined = called(file, tmp_path / "1").stdout
    assert joined == called(file).stdout == called(file, tmp_path / "0", tmp_path / "1").stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in joined.splitlines()]
    found = [[float(cell.split(" ± ")[0]) for cell in row[3:]] for row in rows if row[:2] == ["flow", "fno"]]
    of_controls = [(0.5 + 0.75) / 2, (0.4 + 1) / 2, (1 + 1.5) / 2, (0.5 + 1) / 2]
    expected = [[0.5, 0.2, 0.3, 0.275, 0.15, *of_controls], [0.1, 0.2, 0.3], [3, 10]]
    for means, wanted in zip(found, expected, strict=True):
        assert means == pytest.approx(wanted)
    assert len(file.read_text().splitlines()) == 2 * len(ERRORS)


def test_runs_of_another_recipe_are_not_joined(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    for seed, rate in ((0, 0.01), (1, 0.02)):
        write_runs(tmp_path / str(seed), seed, rate)
    assert called(file, tmp_path / "0").returncode == 0
    before = file.read_text()
    refused = called(file, tmp_path / "1")
    assert refused.stderr.startswith("expected runs of flow, fno, base with equal options, got others; try")
    assert file.read_text() == before


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    refused = called(tmp_path / "runs.jsonl", tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"expected runs in {tmp_path}, got none; try")
