"""``irno verify``: check the files of a run, a rollout or a study for damage."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from irno_cli.options import add_json, result

HELP = "check the files of a run, a rollout or a study for damage"
DESCRIPTION = (
    "Reads every file of a folder, or one rollout or checkpoint, and compares its content with the "
    "SHA-256 digests stored in it. Prints one line per file: ok, damaged with the reason, or unknown "
    "for files of other programs. The exit code is 1 if a file is damaged."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("folder", type=Path, help="a run, rollout or study, or a folder of several")
    command.add_argument(
        "--data",
        action="store_true",
        help="also check the data files of a run folder, byte by byte; the first call stores their digests "
        "in the folder's data.json",
    )
    add_json(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.verify import DAMAGED, OK, UNKNOWN, verify, verify_data

    found = verify(options.folder)
    if options.data:
        found += verify_data(options.folder)
    counts = {state: sum(each.state == state for each in found) for state in (OK, DAMAGED, UNKNOWN)}
    summary = f"{len(found)} files: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    lines = [*map(str, found), summary]
    content = {"folder": str(options.folder), **counts, "files": [asdict(each) for each in found]}
    result(options, content, "\n".join(lines))
    if counts[DAMAGED]:
        raise RuntimeError(f"{counts[DAMAGED]} of {len(found)} files are damaged")
