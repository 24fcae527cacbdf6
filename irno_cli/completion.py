"""``irno completion``: the script by which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print the script by which a shell completes irno"
DESCRIPTION = (
    "Prints a script that completes the commands of irno, their options, choices and files. "
    "bash: irno completion bash > ~/.local/share/bash-completion/completions/irno. "
    "zsh: irno completion zsh > _irno, in a folder of $fpath. "
    "Print it again after an update of the package."
)

SHELLS = ("bash", "zsh", "tcsh")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("shell", choices=SHELLS, help="the shell")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    try:
        import shtab
    except ImportError as error:
        from neuralop_irno.errors import expected

        hint = "pip install 'neuralop_irno[completion]'"
        raise ImportError(expected("shtab for completions", "none", hint)) from error
    from irno_cli.main import parser

    root = parser()
    (commands,) = (each.choices for each in root._actions if isinstance(each.choices, dict))
    for command in commands.values():
        for each in command._actions:
            if each.type is Path:
                each.complete = shtab.FILE
    print(shtab.complete(root, options.shell))
