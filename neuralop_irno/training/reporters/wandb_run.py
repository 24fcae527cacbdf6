"""A run of Weights & Biases."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralop_irno.checkpoint import write_json
from neuralop_irno.errors import expected
from neuralop_irno.training.reporters.logged import Logged, folder_of
from neuralop_irno.training.reporting import Reporter, Values

STATE = "wandb.json"
"""The file of a run folder with the id of its run, and the last update of each name."""


FLUSH = 0.2
"""Seconds after which W&B's process writes what it was given; by default it loses 15 s with a kill."""


class WandbReporter(Reporter):
    """Logs to a run of Weights & Biases, whose x axis is ``update``.

    Its variables apply: ``WANDB_MODE=offline`` uses no network, ``WANDB_PROJECT`` (default: irno),
    ``WANDB_DIR`` (default: the folder of the training). A resumed training continues the run. Needs wandb,
    which neuraloperator installs.

    Example:
        >>> import neuralop_irno as irno
        >>> import torch
        >>> trainer = irno.Trainer(torch.nn.Conv1d(1, 1, 3), reporters=[WandbReporter()])
    """

    def __init__(self) -> None:
        try:
            import wandb  # noqa: F401
        except ImportError as error:
            raise ImportError(expected("wandb for logs", "none", "pip install wandb")) from error
        self._run: Any = None
        self._state, self._id, self._logged = Path(), "", Logged()

    def start(self, config: Mapping[str, Any], folder: Path | None, update: int) -> None:
        import wandb

        place = folder_of(folder, "the id of a run of W&B")
        self._state, self._id, self._logged = place / STATE, secrets.token_hex(4), Logged()
        if update and self._state.exists():
            held = json.loads(self._state.read_bytes())
            self._id, self._logged = held["id"], Logged(held["logged"])
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "irno"),
            id=self._id,
            name=str(place),
            resume="allow",
            dir=os.environ.get("WANDB_DIR", place),
            config=dict(config),
            allow_val_change=True,
            settings=_settings(wandb.Settings),
        )
        self._run.define_metric("*", step_metric="update")
        self._remember()

    def log(self, values: Values, update: int) -> None:
        new = self._logged.new(values, update)
        if new:
            self._remember()  # first: a kill between the two loses a point, and repeats none
            self._run.log({**new, "update": update})

    def file(self, path: Path) -> None:
        import wandb

        if path.suffix == ".png":
            self._run.log({f"pictures/{path.stem}": wandb.Image(str(path))})
        else:
            self._run.save(path, base_path=path.parent, policy="now")

    def end(self, status: str) -> None:
        if self._run is not None:
            self._run.summary["status"] = status
            self._run.finish(exit_code=0 if status == "finished" else 1)
            self._run = None

    def _remember(self) -> None:
        write_json(self._state, {"id": self._id, "logged": self._logged.last})


def _settings(kind: Any) -> Any:
    """Settings with a short interval of flushes, in versions of wandb that have one."""
    name = "x_transaction_log_flush_interval"
    return kind(**{name: FLUSH} if name in kind.model_fields else {})
