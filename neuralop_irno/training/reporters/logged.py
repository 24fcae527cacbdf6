"""What a tracker already holds of a training that goes on, so that nothing is logged twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from neuralop_irno.errors import expected
from neuralop_irno.training.reporting import Values


class Logged:
    """The last update at which each name was logged.

    A resumed training makes the updates after its snapshot again, to the same bits; a tracker may hold them.

    Args:
        last: the updates by name.

    Example:
        >>> logged = Logged({"loss": 20})
        >>> logged.new({"loss": 0.5, "valid/h_0": 0.1}, 20)
        {'valid/h_0': 0.1}
        >>> logged.new({"loss": 0.4}, 30), logged.new({"loss": 0.4}, 30)
        ({'loss': 0.4}, {})
    """

    def __init__(self, last: Mapping[str, int] | None = None) -> None:
        self.last = dict(last or {})

    def new(self, values: Values, update: int) -> dict[str, float]:
        """The values that were not logged at this update or after it; from now on they count as logged."""
        found = {name: value for name, value in values.items() if update > self.last.get(name, -1)}
        self.last |= dict.fromkeys(found, update)
        return found


def folder_of(folder: Path | None, tracker: str) -> Path:
    """The folder of a training, which a tracker needs."""
    if folder is None:
        raise ValueError(expected(f"a folder for {tracker}", "none", "Trainer(.., folder='runs/a')"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
