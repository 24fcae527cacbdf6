"""``irno check``: measure whether the base of a run is good enough to refine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from irno_cli.options import add_common, add_split, result


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "check",
        help="test the base of a run for defects before reporting a gain over it",
        description=(
            "Measures whether the base is better than its input and than the mean of the truth, its "
            "receptive field, which input channels it ignores, and which of its parts have no effect. Run it "
            "before reporting a gain over the base. Writes base_check.json to the run folder."
        ),
    )
    command.add_argument("folder", type=Path, help="a run folder that irno train wrote")
    add_split(command)
    add_common(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.checkpoint import write_bytes
    from neuralop_irno.diagnostics.base_check import check_base
    from neuralop_irno.training.batches import at_a_time, load_all
    from neuralop_irno.training.run import read_run

    experiment, model = read_run(options.folder, options.device)
    data = experiment.splits()[options.split]
    found = check_base(model.base, (batch for _, batch in load_all(data, at_a_time(data, most=16))))
    content = json.dumps(found.to_plain(), indent=1).encode()
    write_bytes(options.folder / "base_check.json", content)
    result(options, found.to_plain(), str(found))
