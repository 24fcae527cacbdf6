"""Rollouts of which several processes write their samples; run by `processes.together`."""

from pathlib import Path
from typing import Any

import torch
from cases import Breaking, Interrupted, point_model
from torch import Tensor

from neuralop_irno import RolloutPart, Zarr, rollout
from neuralop_irno.rollouts import Clock, Rollout
from neuralop_irno.training.distributed import Peers

SAMPLES, STEPS = 5, 4
START = torch.randn(SAMPLES, 2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

START[3] = 1e300

OPTIONS: dict[str, Any] = {"fields": ["u", "v"], "chunks": (2, 4), "shards": (4, 4), "units": {"u": "m"}}
OPTIONS |= {"coordinates": {"y": torch.arange(6.0), "x": torch.arange(4.0)}}


class Growing(torch.nn.Module):
    """Each sample by itself; large ones overflow."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = point_model(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 1e-300 * x * x * x


def work(
    path: Path, part: RolloutPart, stop: int | None = None, steps: int = STEPS, **options: Any
) -> Rollout:
    """The rollout of a part; it ends before frame ``stop``."""
    sink: Any = Zarr(path, existing="continue", part=part, **{**OPTIONS, **options})
    sink = sink if stop is None else Breaking(sink, stop)
    return rollout(Growing().eval(), START[part.rows], steps, clock=Clock(step=0.5), to=sink)


def of_rank(path: Path, stops: list[int | None]) -> list[int]:
    """The rollout of this process, which ends early, and then goes on; returns its frames by sample."""
    peers = Peers.join(torch.device("cpu"))
    part = RolloutPart.of_process(SAMPLES)
    assert (part.rank, part.world) == (peers.rank, peers.world)
    try:
        work(path, part, stops[part.rank])
    except Interrupted:
        peers.wait()
    else:
        peers.wait()
    return work(path, part).lasted.tolist()
