"""``irno``: the argument parser, and the exit codes of errors."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version

from irno_cli import (
    check,
    completion,
    demo,
    diagnose,
    doctor,
    evaluate,
    export,
    listing,
    plan,
    predict,
    report,
    rollout,
    schema,
    study,
    train,
    verify,
)
from irno_cli.arguments import BAD_INPUT, Arguments
from irno_cli.wording import worded

ABOUT = "iterative refinement of neural operators, h <- h + alpha * Phi(x, h)"

COMMANDS = {
    "demo": demo, "train": train, "check": check, "evaluate": evaluate, "predict": predict,
    "rollout": rollout, "diagnose": diagnose, "study": study, "report": report, "plan": plan,
    "verify": verify, "export": export, "list": listing, "schema": schema, "doctor": doctor,
    "completion": completion,
}  # fmt: skip
"""The modules of the commands, each with HELP, DESCRIPTION, `add_options` and `run`."""

WITHOUT_TORCH = ("doctor", "completion")
"""Commands that work where the package or torch cannot be imported, and start in no time."""

FIRST = {
    "irno doctor": "what this machine has, and what to install for what",
    "irno demo --quick": "a refined FNO beside controls, under a minute on 2 cores",
    "irno study --list": "the tables of the docs, each by one command",
}
"""Commands to try first, which need no files."""

FAILED = 1
INTERRUPTED = 130


def parser() -> Arguments:
    """The parser of all commands and their options."""
    root = Arguments(
        prog="irno",
        description=f"{ABOUT[0].upper()}{ABOUT[1:]}.",
        epilog="Exit codes: 0 done, 1 the run failed, 2 bad input, 130 interrupted.",
    )
    root.add_argument("--version", action="version", version=f"irno {version('neuralop_irno')}")
    commands = root.add_subparsers(dest="command", required=True, metavar="command")
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.add_options(command)
        flags = {each.dest: each.option_strings[-1] for each in command._actions if each.option_strings}
        command.set_defaults(run=module.run, flags=flags, refuse=command.refuse)
    return root


def overview() -> str:
    """What ``irno`` prints without a command: each command in a line, and what to try first."""
    lines = [f"irno {version('neuralop_irno')}: {ABOUT}", "", "Commands:"]
    lines += [f"  {name:11}{module.HELP}" for name, module in COMMANDS.items()]
    lines += ["", "To begin with:", *(f"  {words:19}{what}" for words, what in FIRST.items())]
    return "\n".join([*lines, "", "irno COMMAND --help prints the options of a command."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error is printed as one line on standard error, with an exit code.

    Without arguments it prints an overview of the commands.
    """
    if not (sys.argv[1:] if arguments is None else arguments):
        print(overview())
        return 0
    options = _parsed(arguments)
    try:
        with _messages(options):
            options.run(options)
    except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
        return _end(error, BAD_INPUT, options.flags)
    except (RuntimeError, OSError, AssertionError) as error:  # neuraloperator's checks are assertions
        return _end_of_other() if _is_of_other(error) else _end(error, FAILED, options.flags)
    except KeyboardInterrupt:
        return _end("interrupted", INTERRUPTED, {})
    return 0


def _messages(options: argparse.Namespace) -> AbstractContextManager[None]:
    """Show the messages of the package on standard error; with ``--json`` only warnings."""
    if options.command in WITHOUT_TORCH:
        return nullcontext()
    from neuralop_irno.messages import messages_shown

    return messages_shown(least=logging.WARNING if getattr(options, "json", False) else logging.INFO)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command; overrides of a config may appear anywhere between them."""
    root = parser()
    first = str((sys.argv[1:] if arguments is None else arguments)[0])
    if first.startswith("--") and not any(flag.startswith(first) for flag in root.flags()):
        root.refuse([first])  # argparse would report a missing command
    options, rest = root.parse_known_args(arguments)
    overrides = [word for word in rest if "=" in word and not word.startswith("-")]
    if rest and not (overrides == rest and hasattr(options, "overrides")):
        options.refuse(word for word in rest if word not in overrides or not hasattr(options, "overrides"))
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def _is_of_other(error: Exception) -> bool:
    """Whether an error is that of a connection to another process of torchrun, which has ended."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return False
    from torch.distributed import DistError

    return isinstance(error, DistError) or "/gloo/" in str(error)


def _end_of_other() -> int:
    """Refer to the message of the process that ended first, once; returns the exit code."""
    if os.environ.get("RANK") == "0":
        _end(
            "another process has ended; its message is the cause, or torchrun's if it was killed", FAILED, {}
        )
    return FAILED


def _end(reason: BaseException | str, code: int, flags: Mapping[str, str]) -> int:
    """Print the reason in one line, with hints in the words of the command; returns the exit code."""
    from neuralop_irno.errors import one_line

    line = reason if isinstance(reason, str) else worded(one_line(reason), flags)
    print(f"irno: {line}", file=sys.stderr)
    return code
