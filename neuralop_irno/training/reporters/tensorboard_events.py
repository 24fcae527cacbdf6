"""Numbers and pictures in event files of TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralop_irno.errors import from_extra
from neuralop_irno.training.reporters.logged import Logged, folder_of
from neuralop_irno.training.reporting import Reporter, Values

PICTURES = (".png",)
TEXTS = (".json", ".yaml", ".txt")


class TensorBoardReporter(Reporter):
    """Writes event files to ``tensorboard`` in the folder of a training; numbers are in float32.

    ``tensorboard --logdir FOLDER`` shows the numbers, the pictures, and the options and text files as text.
    Needs ``pip install 'neuralop_irno[tensorboard]'``.

    Example:
        >>> import neuralop_irno as irno
        >>> import torch
        >>> trainer = irno.Trainer(torch.nn.Conv1d(1, 1, 3), reporters=[TensorBoardReporter()])
    """

    def __init__(self) -> None:
        with from_extra("tensorboard for logs", "tensorboard"):
            import tensorboard  # noqa: F401
        self._writer: Any = None
        self._logged, self._update = Logged(), 0

    def start(self, config: Mapping[str, Any], folder: Path | None, update: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        target = folder_of(folder, "event files") / "tensorboard"
        held = target.exists()
        self._logged, self._update = Logged(_last(target) if held and update else None), update
        # Readers leave out what an earlier attempt without a snapshot logged.
        self._writer = SummaryWriter(target, purge_step=0 if held and not update else None)
        if not update:
            self._writer.add_text("config", _as_code(json.dumps(config, indent=1, default=str)))

    def log(self, values: Values, update: int) -> None:
        for name, value in self._logged.new(values, update).items():
            self._writer.add_scalar(name, value, update)
        self._update = max(self._update, update)
        self._writer.flush()  # so that a kill loses nothing before the last snapshot

    def file(self, path: Path) -> None:
        if path.suffix in PICTURES:
            from matplotlib.image import imread

            self._writer.add_image(path.stem, imread(path)[..., :3], self._update, dataformats="HWC")
        elif path.suffix in TEXTS:
            self._writer.add_text(path.name, _as_code(path.read_text(encoding="utf-8")), self._update)

    def end(self, status: str) -> None:
        if self._writer is not None:
            self._writer.add_text("status", status, self._update)
            self._writer.close()
            self._writer = None


def _last(folder: Path) -> dict[str, int]:
    """The last update of each scalar in the event files of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 1, "images": 1, "tensors": 1})
    events.Reload()
    return {name: events.Scalars(name)[-1].step for name in events.Tags()["scalars"]}


def _as_code(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
