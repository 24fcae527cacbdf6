"""Hints on the command line are options of the command or YAML, not arguments of Python."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli import CONFIG, Capsys, refused, written
from test_errors import PACKAGE, in_grammar

from irno_cli.main import main, parser
from irno_cli.wording import NAME, OF_A_FLAG, _in_call, worded
from neuralop_irno.data.readers.array_formats import stored_arrays

ROLLOUT = {name: f"--{name}" for name in ("existing", "to", "step", "clock", "budget")}
PREDICT = {"names": "--names", "max_steps": "--max-steps", "steps": "--steps", "json": "--json"}

HINTS: dict[str, tuple[dict[str, str], str]] = {
    "existing='continue' or 'overwrite'": (ROLLOUT, "--existing continue or overwrite"),
    "to='run.h5'": (ROLLOUT, "--to run.h5"),
    "clock=Clock(step=0.1)": (ROLLOUT, "--step 0.1"),
    "restart=1": (ROLLOUT, "--clock with a START alone"),
    "max_steps=6": (PREDICT, "--max-steps 6"),
    "names=['T', 'p']": (PREDICT, "--names T,p"),
    "names=()": (PREDICT, "no --names"),
    "json=True": (PREDICT, "--json"),
    "json=False": (PREDICT, "no --json"),
    "steps=, or nothing": (PREDICT, "--steps, or nothing"),
    "steps=6 (in the config at model.steps)": (PREDICT, "steps: 6 (in the config at model.steps)"),
    "on='nodes' or on='cells'": ({}, "on: nodes or on: cells"),
    "split=None": ({}, "split: null"),
    "padding=['replicate', 'circular']": ({}, "padding: [replicate, circular]"),
    "resolution={'extent': 'fixed'} (in one box)": ({}, "resolution: {extent: fixed} (in one box)"),
    "layout='B T C H W -> B C H W'": ({}, "layout: 'B T C H W -> B C H W'"),
    "output=(...), with the place of each": ({}, "output: ..., with the place of each"),
    "norm='no'": ({}, "norm: 'no'"),
    "dim=<number of axes of x>": ({}, "dim: <number of axes of x>"),
    "layout=, the axes of both": ({}, "layout, the axes of both"),
    "freeze_base=True, or Refine(steps=4)": ({}, "freeze_base: true, or Refine(steps=4)"),
    "--base module:function, or base= in Python": ({}, "--base module:function, or base= in Python"),
    "np.savez(path, x=x, y=y)": ({}, "np.savez(path, x=x, y=y)"),
    "x=x.clone(), a tensor of its own": ({}, "x=x.clone(), a tensor of its own"),
    "--slurm partition=gpu,time=120": ({}, "--slurm partition=gpu,time=120"),
    "training.epochs=40": ({}, "training.epochs=40"),
    "quotes around it, as in 'model.steps=[2, 8]'": ({}, "quotes around it, as in 'model.steps=[2, 8]'"),
    "tags: [boundary=3], a field and a number": ({}, "tags: [boundary=3], a field and a number"),
}  # fmt: skip


@pytest.mark.parametrize("hint", HINTS)
def test_hints_are_in_the_words_of_the_command(hint: str) -> None:
    flags, said = HINTS[hint]
    assert worded(f"expected a=1, got b=2; try {hint}", flags) == f"expected a=1, got b=2; try {said}"


def test_messages_that_are_not_in_the_grammar_stay_as_they_are() -> None:
    assert worded("interrupted, steps=3", {"steps": "--steps"}) == "interrupted, steps=3"


def hints() -> set[str]:
    """The hints of the package that are written as plain text."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and in_grammar(node) and len(node.args) == 3:
                last = node.args[2]
                if isinstance(last, ast.Constant) and isinstance(last.value, str):
                    found.add(last.value)
    return found


def test_no_hint_of_the_package_keeps_an_argument_with_a_value_of_python() -> None:
    known = hints()
    assert len(known) > 300
    left = []
    for hint in known:
        said = worded(f"expected p, got q; try {hint}", {}).partition("; try ")[2]
        for found in NAME.finditer(said):
            plain = re.match(r"None|True|False|['\d\[(]", said[found.end() :])
            before = said[: found.start()]
            if plain and not _in_call(before) and not OF_A_FLAG.search(before):
                left.append(said)
    assert left == []


def test_every_command_has_its_flags_by_name() -> None:
    flags = parser().parse_args(["predict", "run", "in.npz", "--to", "out.npz"]).flags
    assert flags["batch_size"] == "--batch-size"
    assert "folder" not in flags


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        *(
            (f"{command} --rtol 0", "expected a number above 0, got '0'; try --rtol 1e-3")
            for command in ("rollout r", "evaluate r", "predict r x.npz --to y.npz", "export r --to m.pt2")
        ),
        ("rollout r --step -1", "expected a number above 0, got '-1'; try --step 0.1"),
        ("rollout r --noise 0", "expected a number above 0, got '0'; try --noise 0.01"),
        ("rollout r --budget none", "expected a number above 0, got 'none'; try --budget 2.4"),
        ("rollout r --clock 0,0.3", "a whole number or one over it, got '0,0.3'; try 0,4 or 0,0.5"),
        ("evaluate r --resolution 0", "expected a number above 0, got '0'; try --resolution 2"),
    ],
)
def test_numbers_that_no_option_takes_have_an_example_of_their_kind(
    line: str, problem: str, capsys: Capsys
) -> None:
    with pytest.raises(SystemExit):
        main(line.split())
    assert problem in capsys.readouterr().err


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    place = tmp_path_factory.mktemp("wording")
    config = written(place / "config.yaml", CONFIG)
    assert main(["train", str(config), "--folder", str(place / "run"), "--json"]) == 0
    return place / "run"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--max-steps", 3], "--steps 3"),
        (["--rtol", 0.1, "--steps", 2], "--max-steps 2"),
        (["--names", "T"], "no --names"),
        (["--batch-size", 0], "--batch-size 16"),
        (["--patches", 0], "--patches 512"),
    ],
)
def test_predictions_that_are_refused(
    words: list[object], hint: str, run_folder: Path, tmp_path: Path, capsys: Capsys
) -> None:
    np.savez(tmp_path / "in.npz", x=torch.ones(1, 1, 8).numpy())
    assert stored_arrays(tmp_path / "in.npz")
    said = refused(capsys, "predict", run_folder, tmp_path / "in.npz", "--to", tmp_path / "out.npz", *words)
    assert said.strip().endswith(f"; try {hint}")


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("model.steps=-1", "steps: 6 or steps: [2, 8]"),
        ("model.correction.width=0", "width: 4"),
        ("training.accumulate=0", "accumulate: 1"),
        ("loss.spatial=0", "spatial: 1.0"),
    ],
)
def test_configs_that_are_refused(override: str, hint: str, tmp_path: Path, capsys: Capsys) -> None:
    config = written(tmp_path / "config.yaml", CONFIG)
    assert main(["train", str(config), override, "--folder", str(tmp_path / "run")]) == 2
    assert f"; try {hint}" in capsys.readouterr().err
