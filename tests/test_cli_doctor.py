"""``irno doctor``: its table of extras is that of pyproject.toml, and it works where torch does not."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch
from interpreters import fresh
from test_cli import Capsys

from irno_cli.doctor import advice, cores
from irno_cli.extras import EXTRAS
from irno_cli.main import main

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_FOR_USERS = {"dev", "docs"}
LINES, COLUMNS = 45, 110

DOCTOR = "import sys; from irno_cli.main import main; sys.exit(main(['doctor', '--json']))"


def names(requirements: list[str]) -> set[str]:
    """The distributions of requirements, as in "dask[array]>=2025.1"."""
    return {re.match(r"[\w.-]+", line).group().lower() for line in requirements}  # type: ignore[union-attr]


def test_the_table_has_the_extras_of_the_project_and_what_they_install() -> None:
    extras = {**PROJECT["optional-dependencies"]}
    assert {*extras} - NOT_FOR_USERS == {*EXTRAS}
    for name, extra in EXTRAS.items():
        assert {*extra.packages} == names(extras[name]), name


@pytest.mark.parametrize("folder", ["neuralop_irno", "irno_cli", "docs", "examples", "README.md"])
def test_extras_that_hints_and_docs_name_exist(folder: str) -> None:
    place = ROOT / folder
    files = [path for path in (place, *place.rglob("*")) if path.suffix in (".py", ".md")]
    found = {name for path in files for name in re.findall(r"neuralop_irno\[(\w+)\]", path.read_text())}
    assert found - {*EXTRAS} <= {"NAME"}


def test_it_prints_one_screen_with_every_extra(capsys: Capsys) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    for name, extra in EXTRAS.items():
        assert any(line.split()[:1] == [name] and extra.purpose in line for line in lines), name
    assert f"{cores()} cores" in next(line for line in lines if line.startswith("cpu "))


def test_json_has_what_is_installed_and_what_installs_the_rest(capsys: Capsys) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"torch", "neuraloperator", "python"} <= {*found["versions"]}
    assert names(PROJECT["dependencies"]) <= {name.lower() for name in found["versions"]}
    assert set(found["devices"]["cpu"]) == {"name", "bfloat16"}
    assert found["problems"] == []
    for name, extra in found["extras"].items():
        assert extra["install"] == f"pip install 'neuralop_irno[{name}]'"
        assert tuple(extra["packages"]) == EXTRAS[name].packages


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_gpu_has_a_line_with_its_memory(capsys: Capsys) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for number in range(torch.cuda.device_count()):
        assert re.search(rf"^cuda:{number} .* \d+ GiB, (no )?bfloat16 units", out, re.M)


@pytest.mark.parametrize(
    ("threads", "allowed", "speeds", "hints"),
    [
        (1, 1, {1: 1.0}, []),
        (4, 4, {1: 1.0, 4: 0.4}, []),
        (16, 4, {1: 1.0, 16: 0.4}, ["OMP_NUM_THREADS=4"]),
        (4, 4, {1: 1.0, 4: 1.2}, ["OMP_NUM_THREADS=1 for them"]),
        (16, 4, {1: 1.0, 16: 3.0}, ["OMP_NUM_THREADS=4", "OMP_NUM_THREADS=1 for them"]),
    ],
)
def test_threads_that_the_job_does_not_need(
    threads: int, allowed: int, speeds: dict[int, float], hints: list[str]
) -> None:
    assert [line.partition("; try ")[2] for line in advice(threads, allowed, speeds)] == hints


def test_a_host_that_cannot_be_imported_is_a_problem_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "neuralop").mkdir()
    (tmp_path / "neuralop/__init__.py").write_text("raise ImportError('libtorch is of another version')")
    done = fresh(DOCTOR, path=[str(tmp_path)])
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["problems"] == [
        "neuralop_irno cannot be imported: ImportError: libtorch is of another version"
    ]


def test_versions_that_do_not_fit_are_named(tmp_path: Path) -> None:
    metadata = ["Metadata-Version: 2.1", "Name: neuralop_irno", "Version: 9.0"]
    needs = ["torch<1", "absent-package>=2", "scipy", "pyamg<1; extra == 'amg'", "yacs; extra == 'dev'"]
    (tmp_path / "neuralop_irno-9.0.dist-info").mkdir()
    content = "\n".join([*metadata, *(f"Requires-Dist: {line}" for line in needs), ""])
    (tmp_path / "neuralop_irno-9.0.dist-info/METADATA").write_text(content)
    done = fresh(DOCTOR, path=[str(tmp_path)])
    assert done.returncode == 1
    found = json.loads(done.stdout)
    torch, absent, amg = found["problems"]
    assert re.fullmatch(r"expected torch<1, got .*; try pip install 'torch<1'", torch)
    assert absent == "expected absent-package>=2, got none; try pip install 'absent-package>=2'"
    assert amg.startswith("expected pyamg<1, got ")
    assert any("installed as 9.0" in hint for hint in found["hints"])
