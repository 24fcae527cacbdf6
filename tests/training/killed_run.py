"""A training of several processes, of which the last is killed: `main`, or with torchrun."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import joint_runs
import torch
from torch import Tensor

from neuralop_irno import Recipe, RefinementLoss, Trainer


class Killed(RefinementLoss):
    """Kills the last process in the fifth update."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self._mark = mark

    def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
        last = int(os.environ["RANK"]) + 1 == int(os.environ["WORLD_SIZE"])
        if self.training and self.updates == 4 and last:
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().per_sample(trajectory, y)


def main(folder: str) -> None:
    """Train; the process that is killed leaves the file ``mark`` before."""
    torch.set_num_threads(1)
    recipe = Recipe(**{**joint_runs.SMALL, "epochs": 100, "save_every": 1, "replay": 2, "states": "disk"})
    loss = Killed(Path(folder) / "mark")
    Trainer(joint_runs.periodic(), recipe, loss, Path(folder) / "run", show=False).fit(joint_runs.problem(11))


if __name__ == "__main__":
    main(sys.argv[1])
