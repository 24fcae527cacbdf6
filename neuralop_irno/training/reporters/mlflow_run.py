"""A run of MLflow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuralop_irno.checkpoint import write_json
from neuralop_irno.errors import from_extra
from neuralop_irno.training.reporters.logged import Logged, folder_of
from neuralop_irno.training.reporting import Reporter, Values

STATE = "mlflow.json"
"""The file of a run folder with the id of its run."""

STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}

RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}
"""For all calls: a training waits 7 seconds for a server that is gone; by MLflow's defaults 4 minutes."""

TIMEOUT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Seconds to wait for an answer; not for the upload of a file, which may take longer."""

LONGEST = 500
"""Characters of a parameter that every store of MLflow accepts."""


@contextmanager
def _with(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, while a block or a decorated function runs."""
    own = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


class MlflowReporter(Reporter):
    """Logs to a run of MLflow: metrics by update, options as parameters, files as artifacts.

    Its variables apply: ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME`` (default: irno), and those of
    its retries, for which this class has shorter defaults: `RETRIES` and `TIMEOUT`. A resumed training
    continues the run. Needs ``pip install 'neuralop_irno[mlflow]'``.

    Example:
        >>> issubclass(MlflowReporter, Reporter)  # as in Trainer(model, reporters=[MlflowReporter()])
        True
    """

    def __init__(self) -> None:
        with from_extra("mlflow for logs", "mlflow"):
            import mlflow
        self._client: Any = mlflow.MlflowClient()
        self._run, self._logged = "", Logged()

    @_with(RETRIES | TIMEOUT)
    def start(self, config: Mapping[str, Any], folder: Path | None, update: int) -> None:
        place = folder_of(folder, "the id of a run of MLflow")
        state = place / STATE
        if update and state.exists():
            self._run = json.loads(state.read_bytes())["id"]
            self._client.update_run(self._run, "RUNNING")
            self._logged = Logged(self._last())
            return
        run = self._client.create_run(self._experiment(), run_name=str(place))
        self._run, self._logged = run.info.run_id, Logged()
        write_json(state, {"id": self._run})
        for name, value in _flat(config):
            self._client.log_param(self._run, name, str(value)[:LONGEST])

    @_with(RETRIES | TIMEOUT)
    def log(self, values: Values, update: int) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 10**6
        new = self._logged.new(values, update)
        self._client.log_batch(self._run, [Metric(name, value, now, update) for name, value in new.items()])

    @_with(RETRIES)
    def file(self, path: Path) -> None:
        self._client.log_artifact(self._run, str(path), "pictures" if path.suffix == ".png" else None)

    @_with(RETRIES | TIMEOUT)
    def end(self, status: str) -> None:
        if self._run:
            self._client.set_terminated(self._run, STATUS[status])
            self._run = ""

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "irno")
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)

    def _last(self) -> dict[str, int]:
        """The last update of each metric of the run."""
        names = self._client.get_run(self._run).data.metrics
        history = {name: self._client.get_metric_history(self._run, name) for name in names}
        return {name: max(metric.step for metric in metrics) for name, metrics in history.items()}


def _flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The options of nested mappings, by names with dots between them."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
