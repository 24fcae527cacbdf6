"""Every tracker holds the numbers of history.json, once, also after a kill within an epoch."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trackers
from processes import PATIENCE

from neuralop_irno.training.reporters.mlflow_run import MlflowReporter
from neuralop_irno.training.training_log import values_of

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the trackers


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a run that was killed in update 6, after the snapshots of updates 3 and 4."""
    folder = tmp_path_factory.mktemp("tracked")
    command = [sys.executable, trackers.__file__, str(folder), "6"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in trackers.variables(folder).items():
            patch.setenv(name, value)
        patch.chdir(folder)
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == -9, done.stderr
        trackers.fit(folder / "run", resume=True)
    return folder


@pytest.mark.parametrize("name", trackers.READERS)
def test_the_numbers_are_those_of_the_history_each_once(name: str, killed_and_resumed: Path) -> None:
    points = list(trackers.READERS[name](killed_and_resumed))
    found = {(name, update): value for name, update, value in points}
    assert [key for key, n in Counter((name, update) for name, update, _ in points).items() if n > 1] == []
    history = json.loads((killed_and_resumed / "run/history.json").read_text())
    assert len(history) == 3
    for record in history:
        for key, value in values_of(record).items():
            held = found[key, record["update"]]
            digits = 1e-6 if name == "tensorboard" else 0.0  # float32
            assert math.isclose(held, value, rel_tol=digits), (key, record["update"])
        assert found["solve/converged", record["update"]] + found["solve/out_of_steps", record["update"]] == 2
    assert sorted(update for key, update in found if key == "update/loss") == [2, 4, 6, 8, 10, 12]


def test_pictures_and_files_reach_those_that_keep_them(killed_and_resumed: Path) -> None:
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = killed_and_resumed / "run"
    pictures = {"fields", "error_by_band", "error_per_sample", "reliability"}
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert pictures <= {*events.Tags()["images"]}
    client, own = (
        MlflowClient(trackers.store(killed_and_resumed)),
        json.loads((run / "mlflow.json").read_text()),
    )
    paths = {item.path for item in client.list_artifacts(own["id"])}
    assert {"model.safetensors", "history.json", "pictures"} <= paths
    assert {f"pictures/{name}.png" for name in pictures} == {
        item.path for item in client.list_artifacts(own["id"], "pictures")
    }
    held = client.get_run(own["id"])
    assert (held.info.status, held.data.params["recipe.epochs"]) == ("FINISHED", "3")
    kept = {path.name for path in run.glob("wandb/offline-run-*/files/**/*") if path.is_file()}
    assert {"model.safetensors", "history.json"} <= kept
    assert any(name.startswith("fields") for name in kept)
    ids = {record.run.run_id for record in trackers.records(killed_and_resumed) if record.HasField("run")}
    assert ids == {json.loads((run / "wandb.json").read_text())["id"]}


@pytest.mark.parametrize(("stated", "requests"), [(None, 4), ("1", 2)])
def test_a_server_of_mlflow_that_fails_is_called_few_times(
    stated: str | None, requests: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the defaults of MLflow eight times, with pauses of 4 minutes in all; the user's variables apply."""
    from mlflow.exceptions import MlflowException

    variables: list[str | None] = []

    class Failing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            variables.append(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT"))
            self.send_error(503)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("localhost", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://localhost:{server.server_port}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
        if stated is not None:
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", stated)
        before, own = dict(os.environ), MlflowReporter()
        with pytest.raises(MlflowException, match="503"):
            own.start({}, tmp_path, 0)
        server.shutdown()
    assert variables == ["10"] * requests
    assert dict(os.environ) == before
