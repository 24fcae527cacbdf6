"""``irno plan``: what a training costs, before it is started."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irno_cli.options import add_common, count, factor, refused, result

if TYPE_CHECKING:
    from neuralop_irno.study.forecast import Phase

HELP = "what a config or a study costs: parameters, memory by part, bytes written, time of an update"
DESCRIPTION = (
    "Builds the models of a config or of a study, makes a few updates on a few samples, and prints "
    "parameters, the memory of a device by part, the bytes that an epoch writes, and the time of an update "
    "on this machine. With --x, --y and --samples the data need not be at hand."
)

GIB, MIB = 2**30, 2**20


def shape(word: str) -> tuple[int, ...]:
    """Parse whole numbers with commas between them."""
    sizes = word.split(",")
    if not all(size.isdigit() and int(size) for size in sizes):
        raise refused("sizes with commas between them", repr(word), "11,256,256")
    return tuple(map(int, sizes))


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("config", type=Path, help="a YAML file of irno train, or of irno study")
    command.add_argument(
        "overrides", nargs="*", metavar="section.option=value", help="in place of the file's, for a config"
    )
    command.add_argument(
        "--devices", type=count, nargs="+", default=[1], help="numbers of devices, a column each (default: 1)"
    )
    command.add_argument("--memory", type=factor, default=80.0, help="GiB of a device (default: 80)")
    command.add_argument(
        "--x", type=shape, help="the shape of x without data: channels, then points: 44,256,256"
    )
    command.add_argument("--y", type=shape, help="the shape of y")
    command.add_argument("--samples", type=shape, help="samples for training and for validation: 12000,1500")
    add_common(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.errors import expected
    from neuralop_irno.study.forecast import stand_in

    given = [options.x, options.y, options.samples]
    if None in given and any(given):
        raise ValueError(expected("--x, --y and --samples together, or none of them", "some", "all three"))
    if any(given) and len(options.samples) != 2:
        got = ",".join(map(str, options.samples))
        raise ValueError(expected("samples for training and for validation", got, "--samples 12000,1500"))
    if 0 in options.devices:
        raise ValueError(expected("at least one device", "0", "--devices 1 8"))
    splits = stand_in(*given) if any(given) else None
    columns = [_phases(options, splits, devices) for devices in options.devices]
    content, texts = [], []
    for phases in zip(*columns, strict=True):
        content.append(_plain(phases, options.devices))
        texts.append(_table(phases, options.devices, options.memory))
    result(options, content, "\n\n".join(texts))


def _phases(options: argparse.Namespace, splits: Any, devices: int) -> list[Phase]:
    from neuralop_irno.config import read_experiment
    from neuralop_irno.errors import expected
    from neuralop_irno.study.catalogue import read_study
    from neuralop_irno.study.forecast import phases_of, phases_of_study
    from neuralop_irno.yaml_files import read_yaml

    if "problems" in read_yaml(options.config):
        if options.overrides:
            hint = "changing the file"
            raise ValueError(expected("no overrides for a study", " ".join(options.overrides), hint))
        return phases_of_study(read_study(str(options.config)), splits, devices, options.device)
    experiment = read_experiment(options.config, options.overrides)
    return phases_of(experiment, experiment.splits() if splits is None else splits, devices, options.device)


def _plain(phases: Sequence[Phase], devices: Sequence[int]) -> dict[str, Any]:
    first = phases[0]
    each = {
        count: {
            "memory": {**phase.memory, "together": phase.together},
            "written in an epoch": phase.written,
            "sent in an update": phase.sent,
            "seconds of an update": phase.update,
        }
        for count, phase in zip(devices, phases, strict=True)
    }
    return {"name": first.name, "parameters": first.parameters, "updates": first.updates, "devices": each}


def _table(phases: Sequence[Phase], devices: Sequence[int], memory: float) -> str:
    first = phases[0]
    counts = ", ".join(f"{part} {number:,}" for part, number in first.parameters.items())
    rows = [(part, [f"{phase.memory[part] / GIB:.3f}" for phase in phases]) for part in first.memory]
    rows += [
        ("together, at the peak", [f"{phase.together / GIB:.3f}" for phase in phases]),
        (f"fits in {memory:g} GiB", ["yes" if phase.together <= memory * GIB else "no" for phase in phases]),
        ("MiB written in an epoch", [f"{phase.written / MIB:.1f}" for phase in phases]),
        ("MiB sent in an update", [f"{phase.sent / MIB:.1f}" for phase in phases]),
        ("seconds of an update here", [f"{phase.update:.3g}" for phase in phases]),
    ]
    head = ("GiB of a device", [f"{n} device{'s' * (n > 1)}" for n in devices])
    lines = [f"{title:28}" + "".join(f"{cell:>12}" for cell in cells) for title, cells in (head, *rows)]
    return "\n".join([f"{first.name}: {counts} parameters; {first.updates:,} updates", *lines])
