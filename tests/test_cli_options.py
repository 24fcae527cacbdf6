"""The options of the commands: their help, and those that do not exist."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from irno_cli.main import main
from neuralop_irno.version import VERSION

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", ["demo", "train", "evaluate", "list", "Exit codes", "h <- h + alpha"]),
        ("demo", ["--quick", "--folder", "--seed", "report.json", "under a minute"]),
        ("train", ["config", "--resume", "snapshot", "torchrun --nproc-per-node 2", "history.json"]),
        ("evaluate", ["folder", "--steps", "--metric", "--split", "irno list metrics"]),
        ("rollout", ["folder", "--steps", "--refine", "--video", "diverged", "rollout.json"]),
        ("list", ["family", "--json", "plugins"]),
        ("study", ["with 95 % intervals over the seeds", "--scale"]),
    ],
)
def test_help_teaches(command: str, words: list[str], capsys: Capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert [word for word in words if word not in text] == []


def test_version(capsys: Capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"irno {VERSION}\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("trian c.yaml", "expected a command of irno, got 'trian'; try 'train' (the choices are check, "),
        ("--verison", "expected an option of irno, got --verison; try '--version' (the choices are --help,"),
        ("train", "irno: expected config, got none; try irno train --help"),
        ("export run", "irno: expected --to, got none; try irno export --help"),
        ("train c.yaml --resmue", "expected an option of irno train, got --resmue; try '--resume' (the ch"),
        ("train c.yaml --folder", "expected a value after --folder, got none; try irno train --help"),
        ("demo --s 1 quickly", "expected no further words for irno demo, got quickly; try irno demo --help"),
        ("evaluate r --s 1", "expected an option of irno evaluate, got --s; try one of "),
        ("train c.yaml --device tpu", "expected a device, got 'tpu'; try cpu, cuda, cuda:1, mps or xpu"),
        ("train c.yaml --device meta", "expected a device, got 'meta'; try cpu, cuda, cuda:1, mps or xpu"),
        ("train c.yaml --device cuda:99", "of type 'cuda', got 'cuda:99'; try --device cpu"),
        ("evaluate r --device xpu:99", "of type 'xpu', got 'xpu:99'; try --device cpu"),
        ("demo --device mps:9", "of type 'mps', got 'mps:9'; try --device cpu"),
        ("evaluate run --steps -1", "expected a whole number >= 0, got '-1'; try --steps 6"),
        ("evaluate run --steps two", "expected a whole number >= 0, got 'two'; try --steps 6"),
        (
            "evaluate run --split tset",
            "expected a value of --split, got 'tset'; try 'test' (the choices are ",
        ),
        ("demo --seed 1.5", "expected a whole number >= 0, got '1.5'; try --seed 6"),
    ],
)
def test_options_that_do_not_exist_end_with_2(line: str, problem: str, capsys: Capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "study main --folder FILE",
        "study main --folder FILE/inner",
        "study main --folder NEW --trained FILE",
        "study --search SEARCH --folder FILE",
        "train CONFIG --folder FILE",
        "demo --quick --folder FILE",
    ],
)
def test_a_file_in_place_of_a_folder_to_write_is_refused(line: str, tmp_path: Path, capsys: Capsys) -> None:
    config: dict[str, Any] = {
        "data": {"name": "burgers", "size": 8, "trajectories": [2, 1, 1]},
        "model": {"base": {"model_arch": "fno", "n_modes": [2], "hidden_channels": 2}, "correction": "unet"},
    }
    (tmp_path / "CONFIG").write_text(yaml.safe_dump(config))
    space = {"model.steps": {"range": [1, 3]}}
    (tmp_path / "SEARCH").write_text(yaml.safe_dump({**config, "search": space}))
    (tmp_path / "FILE").touch()
    paths = [str(tmp_path / word) if word.partition("/")[0].isupper() else word for word in line.split()]
    assert main(paths) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"irno: expected a folder, got the file {tmp_path / 'FILE'}; try another path"
    )
