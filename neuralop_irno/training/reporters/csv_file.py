"""Numbers in a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralop_irno.checkpoint import write_bytes
from neuralop_irno.training.reporters.logged import Logged, folder_of
from neuralop_irno.training.reporting import Reporter, Values

LOG = "log.csv"

UPDATE = "update"


class CsvReporter(Reporter):
    """Writes ``log.csv`` in the folder of a training: a row for each log, a column for each name.

    Cells of names that a row does not have are empty. Numbers have all their digits.

    Example:
        >>> import tempfile
        >>> import neuralop_irno as irno
        >>> data = irno.burgers(trajectories=(1, 1, 1), frames=3, size=16)
        >>> folder = tempfile.mkdtemp()
        >>> import torch
        >>> base = torch.nn.Conv1d(1, 1, 3, padding=1)
        >>> options = {"folder": folder, "show": False, "reporters": [CsvReporter()]}
        >>> trainer = irno.Trainer(base, irno.Recipe(epochs=1), **options)
        >>> result = trainer.fit(data["train"], data["valid"])
        >>> "log.csv" in {path.name for path in Path(folder).iterdir()}
        True
    """

    def __init__(self) -> None:
        self._path, self._logged, self._columns = Path(), Logged(), [UPDATE]

    def start(self, config: Mapping[str, Any], folder: Path | None, update: int) -> None:
        self._path = folder_of(folder, LOG) / LOG
        rows = _whole_rows(self._path) if update and self._path.exists() else []
        self._columns = list(rows[0]) if rows else [UPDATE]
        self._logged = Logged()
        for row in rows:
            held = {name: float(cell) for name, cell in row.items() if cell and name != UPDATE}
            self._logged.new(held, int(row[UPDATE]))
        self._rewrite(rows)  # without a last row that a kill cut off

    def log(self, values: Values, update: int) -> None:
        new = self._logged.new(values, update)
        if not new:
            return
        if added := [name for name in new if name not in self._columns]:
            rows = _whole_rows(self._path)
            self._columns += added
            self._rewrite(rows)
        with self._path.open("a", newline="", encoding="utf-8") as file:
            self._writer(file).writerow({UPDATE: update, **{name: repr(new[name]) for name in new}})

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = self._writer(text)
        writer.writeheader()
        writer.writerows(rows)
        write_bytes(self._path, text.getvalue().encode())

    def _writer(self, file: Any) -> csv.DictWriter[str]:
        return csv.DictWriter(file, self._columns, restval="", lineterminator="\n")


def _whole_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file that end with a line break."""
    text = path.read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))
