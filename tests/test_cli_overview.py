"""``irno`` alone: one screen of what it can do. And what a shell completes."""

import subprocess
from pathlib import Path

import pytest
from interpreters import fresh
from test_cli import Capsys

from irno_cli.completion import SHELLS
from irno_cli.main import COMMANDS, FIRST, main, parser

LINES, COLUMNS = 30, 80


def test_irno_alone_prints_one_screen_with_every_command(capsys: Capsys) -> None:
    assert main([]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    for name, module in COMMANDS.items():
        assert lines.count(f"  {name:11}{module.HELP}") == 1


def test_the_commands_to_begin_with_exist_and_need_no_file() -> None:
    assert len(FIRST) == 3
    for words in FIRST:
        assert parser().parse_args(words.split()[1:]).command in COMMANDS


def test_an_option_without_a_command_is_refused(capsys: Capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--json"])
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash, generated where nothing of the package can be imported."""
    place = tmp_path_factory.mktemp("bash")
    (place / "neuralop").mkdir()
    (place / "neuralop/__init__.py").write_text("raise ImportError('broken')")
    done = fresh("from irno_cli.main import main; main(['completion', 'bash'])", path=[str(place)])
    assert (done.returncode, done.stderr) == (0, "")
    (place / "irno.bash").write_text(done.stdout)
    return place / "irno.bash"


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("irno ver", ["verify"]),
        ("irno do", ["doctor"]),
        ("irno train --res", ["--resume"]),
        ("irno evaluate run --split va", ["valid"]),
        ("irno train conf", ["config.yaml"]),
        ("irno completion z", ["zsh"]),
    ],
)
def test_bash_completes_commands_options_choices_and_files(
    line: str, completed: list[str], script: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").touch()
    words = line.split()
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_irno; printf '%s\\n' ${{COMPREPLY[@]}}"
    done = subprocess.run(
        ["bash", "-c", f"source {script} && {asked}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == completed


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_with_every_command(shell: str, capsys: Capsys) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in text] == []


def test_without_shtab_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "shtab.py").write_text("raise ImportError('absent')")
    code = "import sys; from irno_cli.main import main; sys.exit(main(['completion', 'bash']))"
    done = fresh(code, path=[str(tmp_path)])
    assert done.returncode == 2
    said = "irno: expected shtab for completions, got none; try pip install 'neuralop_irno[completion]'\n"
    assert done.stderr == said
