"""``irno check``: is the base of a run worth refining?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from irno_cli.options import add_common, add_split, result


def add_to(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "check",
        help="probe the base of a run before a gain over it is reported",
        description=(
            "Measures whether the base beats its own input and the mean of the truth, how far a point of its "
            "answer sees, which input channels it ignores, and which of its parts change nothing. A gain "
            "over a base that is broken is no gain. Writes base_check.json to the run folder."
        ),
    )
    command.add_argument("folder", type=Path, help="a run folder that irno train wrote")
    add_split(command)
    add_common(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run it."""
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
