"""``irno study``: train many models over several seeds and write a table with confidence intervals."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from irno_cli.options import add_common, result, say

HELP = "rerun a table: bases, refiners and controls over several seeds"
DESCRIPTION = (
    "Trains and evaluates every model of a study, and writes one JSON file per run and a table with "
    "95 % intervals over the seeds: table.txt, table.md, table.json. An interrupted study resumes "
    "when it is started again in the same folder. Give the name of a study of the package, or the "
    "path of your own YAML file."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("name", nargs="?", help="a study of --list, or the path of a YAML file")
    command.add_argument(
        "--list", action="store_true", help="list the studies, what they need and how long they take"
    )
    command.add_argument(
        "--scale", default="small", help="small, for 2 CPU cores, or medium, for a GPU (default: small)"
    )
    command.add_argument("--folder", type=Path, help="output folder (default: runs/NAME-SCALE)")
    command.add_argument(
        "--trained",
        type=Path,
        help="folder of trained models, which studies can share (default: FOLDER/trained)",
    )
    add_common(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.errors import expected
    from neuralop_irno.study.catalogue import read_study
    from neuralop_irno.study.runner import StudyRunner

    if options.list:
        _list(options)
        return
    if options.name is None:
        raise ValueError(expected("the name of a study", "none", "irno study --list"))
    study = read_study(options.name, options.scale)
    folder = options.folder or Path("runs") / study.name
    runner = StudyRunner(study, folder, options.device, say, not options.json, options.trained)
    table = runner.run()
    result(options, table.to_plain(), f"{table}\nThe table is in {folder}.")


def _list(options: argparse.Namespace) -> None:
    from neuralop_irno.study.catalogue import SCALES, names, read_study

    content: dict[str, Any] = {}
    lines = []
    for name in names():
        studies = {scale: read_study(name, scale) for scale in SCALES}
        content[name] = {
            scale: {
                "about": study.about, "kind": study.kind, "needs": study.needs, "minutes": study.minutes,
                "runs": len(study.runs()),
            }
            for scale, study in studies.items()
        }  # fmt: skip
        lines.append(f"{name}: {studies['small'].about}")
        for scale, study in studies.items():
            time = "time unknown" if study.minutes is None else f"about {study.minutes:g} minutes"
            lines.append(f"  {scale:6}  {len(study.runs()):3} runs, {study.needs}, {time}")
    result(options, content, "\n".join(lines))
