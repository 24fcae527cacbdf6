"""The folder of a run: the best model, the history, what the run belongs to, and snapshots to resume from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from neuralop_irno import checkpoint
from neuralop_irno.claim import claim
from neuralop_irno.errors import expected
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training import identity, snapshot
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.divergence import refuse_not_finite
from neuralop_irno.training.identity import Identity
from neuralop_irno.training.snapshot import Run

HISTORY = "history.json"
MODEL = f"model{checkpoint.SUFFIX}"


class RunFolder:
    """Writes the files of a run; without a folder it writes nothing.

    Args:
        path: the folder, if there is one.
        peers: the processes of the run; the first one writes what they have in common.
    """

    def __init__(self, path: Path | None, peers: Peers) -> None:
        self.path, self.peers = path, peers
        self._own: Identity = {}

    @contextmanager
    def claimed(self, resume: bool) -> Iterator[None]:
        """Hold the folder against other writers.

        Args:
            resume: without it a folder that holds a run is refused, and left as it is.

        Raises:
            ValueError: another process holds the folder, or it holds a run.
        """
        if resume and self.path is None:
            raise ValueError(expected("a folder to resume from", "none", "Trainer(.., folder='runs/a')"))
        if self.path is None or not self.peers.first:
            yield
            return
        with claim(self.path):
            if not resume and snapshot.exists(self.path):
                raise ValueError(
                    expected("a folder without a run", str(self.path), "resume=True, or another folder")
                )
            yield

    def begin(
        self, run: Run, own: Callable[[], Identity], resume: bool, say: Callable[[str], object]
    ) -> dict[str, Tensor] | None:
        """Write down what a new run belongs to, or put the run where the folder's snapshot left it.

        Args:
            run: that begins.
            own: computes what it belongs to.
            resume: go on, if there is a snapshot.
            say: takes a line about a damaged snapshot.

        Returns:
            the best weights so far, if there are any.
        """
        if self.path is None:
            return None
        self._own = own()
        if resume and snapshot.exists(self.path):
            snapshot.load(self.path, run, self._own, self.peers, say)
            has_best = run.progress.best < float("inf")
            return checkpoint.read(self.path / MODEL)[0] if has_best else None
        if self.peers.first:
            identity.write(self._own, self.path)
        return None

    def snapshot(self, run: Run) -> None:
        """Write a snapshot; see `neuralop_irno.training.snapshot.save`."""
        if self.path is not None:
            snapshot.save(self.path, run, self._own, self.peers)

    def write_model(self, model: nn.Module, notes: dict[str, Any]) -> None:
        """Write the model that is the best so far.

        Raises:
            DivergenceError: a weight is not finite; the file before is left as it is.
        """
        if self.path is None or not self.peers.first:
            return
        refuse_not_finite(model)
        if isinstance(model, IterativeRefiner):
            model.save(self.path / MODEL, notes)
        else:
            tensors = checkpoint.tensors_only(model.state_dict())
            checkpoint.write(self.path / MODEL, tensors, {"notes": notes})

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """Write one record for each epoch, as JSON."""
        if self.path is not None and self.peers.first:
            checkpoint.write_bytes(self.path / HISTORY, json.dumps(history, indent=1).encode())
