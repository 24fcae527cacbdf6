"""The folder of a run: the best model, the history, digests of data and model, and snapshots."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import checkpoint, digest, parallel, stored_base
from neuralop_irno.claim import claim
from neuralop_irno.errors import expected
from neuralop_irno.persistence import split_state
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training import best_model, identity, process_files, snapshot
from neuralop_irno.training.best_model import MODEL as MODEL
from neuralop_irno.training.best_model import held_tensors
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.divergence import refuse_not_finite
from neuralop_irno.training.identity import Identity
from neuralop_irno.training.machines import add_machine
from neuralop_irno.training.training_run import Progress, TrainingRun
from neuralop_irno.training.writer import Writer

HISTORY = "history.json"

CONFIG = "config.yaml"
"""The file of a run that ``irno train`` started."""


def files_of(folder: Path) -> list[Path]:
    """The files of a run that are of use without its snapshots: model, base, history and config."""
    files = [folder / name for name in (MODEL, HISTORY, CONFIG)]
    return [path for path in (*files, *sorted(folder.glob(f"base-*{checkpoint.SUFFIX}"))) if path.is_file()]


def best_weights(folder: Path, progress: Progress) -> dict[str, Tensor] | None:
    """The best weights of a run so far, from its ``model.safetensors``; None if there is none yet.

    After a kill between the two writes the model is of a later epoch than the snapshot: that epoch
    is trained again, and writes the same model again.

    Raises:
        ValueError: the file is damaged, or holds the model of another run.
    """
    if progress.best == float("inf"):
        return None
    tensors, content = checkpoint.read(folder / MODEL)
    notes = content.get("notes")
    epoch = notes.get("epoch") if isinstance(notes, dict) else None
    later = isinstance(epoch, int) and epoch > progress.epoch
    if progress.best_weights and not later and digest.of_tensors(tensors) != progress.best_weights:
        got = "other ones: the file was changed, or is that of another run"
        wanted = f"the weights in {folder / MODEL} that the run's snapshot names"
        raise ValueError(expected(wanted, got, "a backup copy of it, or another folder for a new run"))
    return tensors


class RunFolder:
    """Writes the files of a run; without a folder it writes nothing.

    Args:
        path: the folder; None writes nothing.
        peers: the processes of the run; the first one writes the common files.
    """

    def __init__(self, path: Path | None, peers: Peers) -> None:
        self.path, self.peers = path, peers
        self._own: Identity = {}
        self._writer = Writer()
        self._token = ""

    @contextmanager
    def claimed(self, resume: bool) -> Iterator[None]:
        """Lock the folder against other writers.

        Args:
            resume: if False, a folder that holds a run is refused, and left as it is.

        Raises:
            ValueError: another process holds the folder, or it holds a run.
        """
        if resume and self.path is None:
            raise ValueError(expected("a folder to resume from", "none", "Trainer(.., folder='runs/a')"))
        self._token = self.peers.gather(secrets.token_hex(4))[0]
        if self.path is None or not self.peers.first:
            with closing(self._writer):
                yield
            return
        with claim(self.path), closing(self._writer):
            if not resume and snapshot.exists(self.path):
                raise ValueError(
                    expected("a folder without a run", str(self.path), "resume=True, or another folder")
                )
            yield

    def states_file(self) -> Path | None:
        """The file for the states of this process on disk; None without a folder."""
        return self.path and process_files.states_path(self.path, self._token, self.peers.rank)

    def begin(
        self, run: TrainingRun, own: Callable[[], Identity], resume: bool, say: Callable[[str], object]
    ) -> dict[str, Tensor] | None:
        """Store the digests of a new run, or restore the run from the folder's snapshot.

        Args:
            run: new or to be restored.
            own: computes the digests of its data, model, loss and recipe.
            resume: restore the snapshot, if there is one.
            say: called with a line about a damaged snapshot.

        Returns:
            the best weights so far, if there are any.
        """
        if self.path is None:
            return None
        self._own = own()
        # The first process decides, which waits for a snapshot that its thread may still be writing.
        if self.peers.gather(resume and snapshot.exists(self.path))[0]:
            snapshot.load(self.path, run, self._own, self.peers, say)
            self._repair_base(run.model)
            return best_weights(self.path, run.progress)
        snapshot.begin(self.path, self.peers)
        if self.peers.first:
            identity.write(self._own, self.path)
        return None

    def _repair_base(self, model: nn.Module) -> None:
        """Write the file of a frozen base again, if it is missing or damaged: the run has the same base."""
        together = self.peers.first or parallel.is_sharded(model)
        if self.path is not None and together and isinstance(model, IterativeRefiner):
            base = split_state(model)[1]
            if self.peers.first and base and (self.path / MODEL).is_file():
                stored_base.write(self.path, base, digest.of_tensors(base))

    def add_machine(self, device: torch.device) -> None:
        """Note the machine of this training, for readers of the folder."""
        if self.path is not None and self.peers.first:
            add_machine(self.path, device, self.peers.world)

    def snapshot(self, run: TrainingRun) -> None:
        """Copy what a snapshot holds and begin to write it, when the one before is written.

        Raises:
            DivergenceError: a weight is not finite; the snapshots before are left as they are.
        """
        if self.path is None:
            return
        path, peers = self.path, self.peers
        self.wait()
        taken = snapshot.capture(run, self._own, peers, self._token)
        self._writer.start(lambda until: snapshot.write(path, taken, peers, until))

    def wait(self) -> None:
        """Wait until the last snapshot is whole, in all processes, and remove what is not needed any more."""
        self._writer.wait()
        if self.path is not None:
            snapshot.forget(self.path, self.peers, self._token)

    def write_model(self, model: nn.Module, notes: dict[str, Any]) -> None:
        """Write the model that is the best so far.

        Raises:
            DivergenceError: a weight is not finite; the file before is left as it is.
        """
        if self.path is None or not (self.peers.first or parallel.is_sharded(model)):
            return
        refuse_not_finite(model)
        if self.peers.first:
            self._writer.wait()
            best_model.keep(self.path, snapshot.referred(self.path))
        if isinstance(model, IterativeRefiner):
            model.save(self.path / MODEL, notes)
            return
        tensors = held_tensors(model)
        if self.peers.first:
            checkpoint.write(self.path / MODEL, tensors, {"notes": notes})

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """Write one record for each epoch, as JSON."""
        if self.path is not None and self.peers.first:
            self._writer.wait()
            checkpoint.write_json(self.path / HISTORY, history)
