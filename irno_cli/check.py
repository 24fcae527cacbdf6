"""``irno check``: measure whether the base of a run is good enough to refine."""

from __future__ import annotations

import argparse
from typing import Any

from irno_cli.options import add_run, base_of, measured_of, result

HELP = "test the base of a run for defects before reporting a gain over it"
DESCRIPTION = (
    "Measures whether the base is better than its input and than the mean of the truth, its "
    "receptive field, which input channels it ignores, which of its parts have no effect, and its errors at "
    "half, twice and four times the resolution, beside those of the refiner. Run it "
    "before reporting a gain over the base. Writes base_check.json to the run folder."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.checkpoint import write_json
    from neuralop_irno.data.resampled import on_grids
    from neuralop_irno.diagnostics.base_check import check_base
    from neuralop_irno.training.batches import at_a_time, at_once, load_all
    from neuralop_irno.training.resolutions import at_resolutions
    from neuralop_irno.training.run import read_run

    experiment, model = read_run(options.folder, options.device, base_of(options))
    data = experiment.splits()[options.split]
    size = at_once(model) or at_a_time(data, most=16)
    found = check_base(model.base, (batch for _, batch in load_all(data, size)))
    content: dict[str, Any] = {**found.to_plain(), **measured_of(options)}
    text = str(found)
    if on_grids(data):
        table = at_resolutions(model, data, device=options.device)
        content, text = {**content, "resolutions": table.to_plain()}, f"{text}\n{table}"
    write_json(options.folder / "base_check.json", content)
    result(options, content, text)
