"""``irno plan``: what a training costs, before it is started."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irno_cli.options import above_zero, add_common, refused, result

if TYPE_CHECKING:
    from neuralop_irno.study.forecast import Phase

HELP = "foretell parameters, memory, bytes written, time of an update"
DESCRIPTION = (
    "Builds the models of a config or of a study, makes a few updates on a few samples, and prints "
    "parameters, the memory of a device by part, the bytes that an epoch writes, and the time of an update "
    "on this machine. With --x, --y and --samples the data need not be at hand."
)

UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}


def shape(word: str) -> tuple[int, ...]:
    """Parse whole numbers with commas between them."""
    sizes = word.split(",")
    if not all(size.isdigit() and int(size) for size in sizes):
        raise refused("sizes with commas between them", repr(word), "11,256,256")
    return tuple(map(int, sizes))


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("config", help="a YAML file of irno train or of irno study, or the name of a study")
    command.add_argument(
        "overrides", nargs="*", metavar="section.option=value", help="in place of the file's, for a config"
    )
    command.add_argument(
        "--devices", type=shape, default=(1,), help="numbers of devices, a column each: 1,8 (default: 1)"
    )
    command.add_argument(
        "--memory", type=above_zero("80"), default=80.0, help="GiB of a device (default: 80)"
    )
    command.add_argument(
        "--x", type=shape, help="the shape of x without data: channels, then points: 44,256,256"
    )
    command.add_argument("--y", type=shape, help="the shape of y")
    command.add_argument("--samples", type=shape, help="samples for training and for validation: 12000,1500")
    command.add_argument("--scale", help="of a study: small or medium (default: small)")
    add_common(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.errors import expected
    from neuralop_irno.messages import log
    from neuralop_irno.study.forecast import stand_in

    given = [options.x, options.y, options.samples]
    if None in given and any(given):
        raise ValueError(expected("--x, --y and --samples together, or none of them", "some", "all three"))
    if any(given) and len(options.samples) != 2:
        got = ",".join(map(str, options.samples))
        raise ValueError(expected("samples for training and for validation", got, "--samples 12000,1500"))
    for name, sizes in (("x", options.x), ("y", options.y)):
        if sizes is not None and len(sizes) < 2:
            hint = f"--{name} 11,256,256"
            raise ValueError(expected(f"{name} of channels and points", sizes[0], hint))
    splits = stand_in(*given) if any(given) else None
    before = log.level
    log.setLevel(logging.WARNING)  # the trainings of the probe are not those of the user
    content = []
    try:
        for phase in _phases(options, splits):
            content.append(_plain(phase, options.devices))
            if not options.json:  # each when it is measured: large networks take minutes
                print(_table(phase, options.devices, options.memory), end="\n\n", flush=True)
    finally:
        log.setLevel(before)
    if options.json:
        result(options, content, "")


def _phases(options: argparse.Namespace, splits: Any) -> Iterable[Phase]:
    from neuralop_irno.config import read_experiment
    from neuralop_irno.errors import expected
    from neuralop_irno.study.catalogue import names, read_study
    from neuralop_irno.study.forecast import Devices, phases_of, phases_of_study
    from neuralop_irno.yaml_files import read_yaml

    devices = Devices(options.devices, options.memory * UNITS["GiB"], options.device)
    path = Path(options.config)
    named = options.config in names() or not (path.suffix or path.exists())  # a study of the package
    if not named and "problems" not in read_yaml(path):
        if options.scale is not None:
            raise ValueError(expected("no --scale for a config", options.scale, "the name of a study"))
        experiment = read_experiment(path, options.overrides)
        data = experiment.splits() if splits is None else splits
        return phases_of(experiment, data, devices)
    if options.overrides:
        raise ValueError(expected("no overrides for a study", " ".join(options.overrides), "a changed file"))
    return phases_of_study(read_study(options.config, options.scale or "small"), splits, devices)


def _plain(phase: Phase, devices: Sequence[int]) -> dict[str, Any]:
    each = {
        count: {
            "memory": {**cost.memory, "together": cost.together},
            "memory of the host": cost.host,
            "states on disk": cost.disk,
            "written in an epoch": cost.written,
            "sent in an update": cost.sent,
            "seconds of an update": cost.update,
        }
        for count, cost in zip(devices, phase.costs, strict=True)
    }
    return {
        "name": phase.name,
        "parameters": phase.parameters,
        "updates": phase.updates,
        "MFLOP of an answer": phase.megaflops,
        "devices": each,
    }


def _table(phase: Phase, devices: Sequence[int], memory: float) -> str:
    fits = memory * UNITS["GiB"]
    parameters, costs = ", ".join(f"{part} {n:,}" for part, n in phase.parameters.items()), phase.costs
    rows = [(part, [_size(cost.memory[part]) for cost in costs]) for part in costs[0].memory]
    rows += [
        ("together, at the peak", [_size(cost.together) for cost in costs]),
        (
            f"fits in {memory:g} GiB",
            ["yes" if cost.together <= fits else "no" for cost in costs],
        ),
        ("memory of its host", [_size(sum(cost.host.values())) for cost in costs]),
        ("its states on disk", [_size(cost.disk) for cost in costs]),
        ("written in an epoch", [_size(cost.written) for cost in costs]),
        ("sent in an update", [_size(cost.sent) for cost in costs]),
        ("seconds of an update here", [f"{cost.update:.3g}" for cost in costs]),
    ]
    head = ("memory of a device", [f"{n} device{'s' * (n > 1)}" for n in devices])
    lines = [f"{title:28}" + "".join(f"{cell:>12}" for cell in cells) for title, cells in (head, *rows)]
    counts = f"{phase.updates:,} updates; {phase.megaflops:.4g} MFLOP an answer"
    return "\n".join([f"{phase.name}: {parameters} parameters; {counts}", *lines])


def _size(size: float) -> str:
    """A number of bytes in the largest unit of which there is at least one, or in KiB; 0 as it is."""
    unit = next((unit for unit, one in UNITS.items() if size >= one), "KiB")
    return f"{size / UNITS[unit]:.4g} {unit}" if size else "0"
