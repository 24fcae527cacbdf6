"""The file of a run's best model, and the earlier ones to which its snapshots refer.

The snapshot of an epoch that improved the score refers to the weights in ``model.safetensors`` by their
digest, so that an epoch writes them once. Before a later epoch replaces that file, it gets a second name, a
hard link, until no snapshot refers to it any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from neuralop_irno import checkpoint, digest
from neuralop_irno.errors import expected
from neuralop_irno.persistence import split_state
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.sharded import whole

MODEL = f"model{checkpoint.SUFFIX}"


def held_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The tensors that ``model.safetensors`` of a run holds: all but those of a refiner's frozen base.

    Those of a sharded model are put together, by a call of all processes.
    """
    if isinstance(model, IterativeRefiner):
        return split_state(model)[0]
    return whole(checkpoint.tensors_only(model.state_dict()))


def kept_file(folder: Path, sha256: str) -> Path:
    """The second name of the model with a digest of its weights."""
    return folder / f".best-{sha256[:16]}{checkpoint.SUFFIX}"


def find(folder: Path, sha256: str) -> dict[str, Tensor]:
    """The weights with a digest, in the file of the best model or in an earlier one.

    Raises:
        FileNotFoundError, ValueError: as `checkpoint.read`; or the weights are other ones.
    """
    earlier = kept_file(folder, sha256)
    path = earlier if earlier.is_file() else folder / MODEL
    tensors, _ = checkpoint.read(path)
    if digest.of_tensors(tensors) != sha256:
        got = "other ones: the file was changed, or is that of another run"
        wanted = f"the weights in {path} that the run's snapshot names"
        raise ValueError(expected(wanted, got, "a backup copy of it, or another folder for a new run"))
    return tensors


def keep(folder: Path, referred: Iterable[str]) -> None:
    """Give the best model, which is about to be replaced, a second name if a snapshot refers to it."""
    path = folder / MODEL
    missing = {sha256 for sha256 in referred if not kept_file(folder, sha256).exists()}
    if not missing or not path.is_file():
        return
    own = digest.of_tensors(checkpoint.read(path)[0])
    if own in missing:
        try:
            os.link(path, kept_file(folder, own))
        except OSError:  # a file system without hard links
            checkpoint.write_bytes(kept_file(folder, own), path.read_bytes())
        checkpoint.sync_folder(folder)  # before the file is replaced


def forget(folder: Path, referred: Iterable[str]) -> None:
    """Remove the second names of models to which no snapshot refers."""
    needed = {kept_file(folder, sha256) for sha256 in referred}
    for path in folder.glob(f".best-*{checkpoint.SUFFIX}"):
        if path not in needed:
            path.unlink()
