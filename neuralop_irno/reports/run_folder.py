"""What the folder of a run holds, for its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralop_irno import checkpoint, digest, stored_base
from neuralop_irno.reports.files import read_csv, read_json
from neuralop_irno.reports.of_rollout import LABELS
from neuralop_irno.training.folder import HISTORY, MODEL
from neuralop_irno.training.identity import DIGESTS
from neuralop_irno.training.reporters.csv_file import LOG


@dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    Attributes:
        folder: of the run.
        history: a record for each finished epoch.
        identity: the content of ``digests.json``.
        model: the config of the model, with its notes.
        parameters: numbers of parameters, by part; of a frozen base those in its own file.
        weights: the digest of the tensors in that file.
        log: the rows of ``log.csv``.
    """

    folder: Path
    history: Sequence[Mapping[str, Any]]
    identity: Mapping[str, Any]
    model: Mapping[str, Any]
    parameters: Mapping[str, int]
    weights: str
    log: Sequence[Mapping[str, str]]

    @property
    def metric(self) -> str:
        """The name of the validation score."""
        name = str(self.identity.get("metric", "score")).rpartition(".")[2]
        return LABELS.get(name, name)

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The record of the epoch from which the weights are; None without a validation."""
        epoch = (self.model.get("notes") or {}).get("epoch")
        return next((each for each in self.history if each["epoch"] == epoch and "valid" in each), None)

    @classmethod
    def read(cls, folder: Path) -> RunFolder:
        """The files in a folder; what is missing is empty.

        Raises:
            ValueError: a file is damaged.
        """
        content, parameters, weights = dict[str, Any](), dict[str, int](), ""
        if (folder / MODEL).is_file():
            tensors, content = checkpoint.read(folder / MODEL)
            weights = digest.of_tensors(tensors)
            for key, tensor in tensors.items():
                part = key.partition(".")[0]
                parameters[part] = parameters.get(part, 0) + tensor.numel()
            sha256 = stored_base.reference(content, MODEL)
            if sha256 is not None and (base := stored_base.file_of(folder, sha256)).is_file():
                parameters["base"] = sum(tensor.numel() for tensor in stored_base.checked(base).values())
        history, identity = read_json(folder / HISTORY) or [], read_json(folder / DIGESTS) or {}
        return cls(folder, history, identity, content, parameters, weights, read_csv(folder / LOG))
