"""Trainings with all trackers, and their files read back by the trackers' own readers.

`python trackers.py FOLDER UPDATE` is a process that is killed at an update.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuralop_irno import IterativeRefiner, Reporter
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.reporters.by_name import REPORTERS, reporters_named
from neuralop_irno.training.reporters.wandb_run import FLUSH
from neuralop_irno.training.trainer import Trainer

Point = tuple[str, int, float]
"""A name, an update and the value."""

VARIABLES = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_DISABLE_GIT": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""No network, and nothing about the machine."""


def variables(folder: Path) -> dict[str, str]:
    """The variables with which the trackers write to a folder only."""
    homes = ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
    return {
        **VARIABLES,
        **{name: str(folder / "home") for name in homes},
        "MLFLOW_TRACKING_URI": store(folder),
    }


def store(folder: Path) -> str:
    """The store of MLflow in a folder."""
    return (folder / "mlruns").as_uri()


class Killer(Reporter):
    """Kills the process when an update has been logged."""

    def __init__(self, at: int) -> None:
        self.at = at

    def log(self, values: Any, update: int) -> None:
        if update == self.at:
            time.sleep(4 * FLUSH)
            os.kill(os.getpid(), signal.SIGKILL)


def fit(folder: Path, *others: Reporter, resume: bool = False) -> list[dict[str, Any]]:
    """A small training on a 2-D grid with all trackers."""
    torch.manual_seed(0)
    base = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    refiner = IterativeRefiner(base, {"name": "unet", "width": 4, "depth": 0}, steps=2, gradient="implicit")
    x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    train, valid = (FieldDataset(part, 0.5 * part.roll(1, -1)) for part in (x, x[:2]))
    recipe = Recipe(epochs=3, batch_size=2, precision="float32", save_every=3)
    reporters = [*reporters_named([*REPORTERS]), *others]
    trainer = Trainer(refiner, recipe, folder=folder, show=False, reporters=reporters, report_every=2)
    return trainer.fit(train, valid, resume)


def of_csv(folder: Path) -> Iterator[Point]:
    with (folder / "run/log.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            update = int(row.pop("update"))
            yield from ((name, update, float(cell)) for name, cell in row.items() if cell)


def of_tensorboard(folder: Path) -> Iterator[Point]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "run/tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    for name in events.Tags()["scalars"]:
        yield from ((name, event.step, event.value) for event in events.Scalars(name))


def of_mlflow(folder: Path) -> Iterator[Point]:
    from mlflow import MlflowClient

    client = MlflowClient(store(folder))
    (run,) = client.search_runs([client.get_experiment_by_name("irno").experiment_id])
    for name in run.data.metrics:
        yield from ((name, m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))


def of_wandb(folder: Path) -> Iterator[Point]:
    for record in records(folder):
        if record.HasField("history"):
            row = {
                "/".join([i.key or "", *i.nested_key]).lstrip("/"): i.value_json for i in record.history.item
            }
            update = int(json.loads(row.pop("update", "-1")))
            numbers = {name: json.loads(text) for name, text in row.items() if name[:1] != "_"}
            yield from (
                (name, update, value) for name, value in numbers.items() if type(value) in (int, float)
            )


def records(folder: Path) -> Iterator[Any]:
    """The records in the files of offline runs, as messages of wandb; frames as in LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted((folder / "run/wandb").glob("offline-run-*/*.wandb")):
        data, place, parts = path.read_bytes(), 7, b""  # after the header of the file
        while place + 7 <= len(data):
            if (left := 32768 - place % 32768) < 7:
                place += left
                continue
            _, size, kind = struct.unpack("<IHB", data[place : place + 7])
            if not kind:
                return
            parts += data[place + 7 : place + 7 + size]
            place += 7 + size
            if kind in (1, 4):  # whole, or the last part
                yield Record.FromString(parts)
                parts = b""


READERS = {"csv": of_csv, "tensorboard": of_tensorboard, "mlflow": of_mlflow, "wandb": of_wandb}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.environ.update(variables(folder))
    torch.set_num_threads(1)
    fit(folder / "run", Killer(int(sys.argv[2])))
