"""``irno report``: write the report of a run, study, rollout or diagnosis as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from irno_cli.options import add_json, result

HELP = "write one HTML page of a run, study, rollout or diagnosis"
DESCRIPTION = (
    "Finds out what a folder holds and writes report.html to it: plots, tables that a click sorts, and the "
    "film of a rollout, all in one file that loads nothing. It reads the files of the folder alone, neither "
    "the data nor the base, so that it also works for folders that were copied from another machine."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument(
        "folder", type=Path, help="a folder of irno train, study, rollout or diagnose; or frames, run.h5"
    )
    command.add_argument("--to", type=Path, help="the page (default: report.html in the folder)")
    add_json(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.reports.report import report

    path = report(options.folder, options.to)
    content = {"report": str(path), "bytes": path.stat().st_size}
    result(options, content, f"The report is in {path} ({path.stat().st_size / 1e3:.0f} kB).")
