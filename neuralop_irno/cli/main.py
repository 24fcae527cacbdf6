"""``irno``: the commands, and how they fail."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from neuralop_irno.cli import demo, evaluate, listing, train
from neuralop_irno.version import VERSION

COMMANDS = (demo, train, evaluate, listing)

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    root = argparse.ArgumentParser(
        prog="irno",
        description="Iterative refinement of neural operators: h <- h + alpha * Phi(x, h).",
        epilog="Exit codes: 0 done, 1 the run failed, 2 bad input, 130 interrupted.",
    )
    root.add_argument("--version", action="version", version=f"irno {VERSION}")
    commands = root.add_subparsers(dest="command", required=True, metavar="command")
    for module in COMMANDS:
        module.add_to(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors become one line on standard error and an exit code."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"irno: {error}", file=sys.stderr)
        return BAD_INPUT
    except (RuntimeError, OSError) as error:
        print(f"irno: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("irno: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
