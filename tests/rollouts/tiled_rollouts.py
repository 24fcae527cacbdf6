"""Rollouts of which several processes write one sample, in tiles; run by `processes.together`."""

from pathlib import Path
from typing import Any

import torch
from cases import Breaking, Interrupted, graph, point_model
from torch import Tensor

from neuralop_irno import RolloutPart, Zarr, rollout
from neuralop_irno.rollouts import Clock, Rollout, Window
from neuralop_irno.training.distributed import Peers

STEPS = 4

NODES = 7

FIELDS: dict[str, Any] = {"fields": ["u", "v"], "units": {"u": "m"}}

OPTIONS: dict[str, dict[str, Any]] = {
    "plane": {**FIELDS, "chunks": (1, 2), "shards": (2, 4), "coordinates": {"b": range(5), "a": range(4)}},
    "box": {"chunks": (1, 2, 2), "shards": (1, 2, 2)},
    "mesh": {**FIELDS, "chunks": (2,), "shards": (2,)},
}
"""Of a file, by kind: 5 points in files of 2, 2, 1, and 3 points and 7 nodes in files of 1 and 2."""

SHAPES = {"plane": (5, 4), "box": (3, 2, 2)}


class Nodes(torch.nn.Module):
    """A model of the graph, whose nodes depend on their neighbours in the order of nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = point_model(4, 2)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.inner(x.T[None])[0].T + 0.1 * x[:, :2].index_add(0, edge_index[0], x[edge_index[1], :2])


def tiled(
    kind: str,
    path: Path,
    part: RolloutPart | None = None,
    samples: int = 1,
    stop: int | None = None,
    **options: Any,
) -> Rollout:
    """The rollout of a part, or of all samples; it ends before frame ``stop``."""
    own: dict[str, Any] = {} if part is None else {"part": part}
    sink: Any = Zarr(path, existing="continue", **{**OPTIONS[kind], **own, **options})
    sink = sink if stop is None else Breaking(sink, stop)
    clock, window = Clock(step=0.5), Window(inputs=2)
    if kind == "mesh":
        data = graph(NODES, 2, 2)
        data.face = torch.tensor([[0, 1, 4], [1, 2, 5], [2, 3, 6]])
        return rollout(Nodes().eval(), data, STEPS, clock=clock, window=window, to=sink)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(samples, 2, 2, *SHAPES[kind], dtype=torch.float64, generator=generator)
    start = start if part is None else start[part.rows]
    return rollout(point_model(4, 2), start, STEPS, clock=clock, window=window, to=sink)


def of_rank(kind: str, path: Path, stops: list[int | None]) -> list[int]:
    """The rollout of this process, which ends early, and then goes on; returns its frames by sample."""
    peers, part = Peers.join(torch.device("cpu")), RolloutPart.of_process(1)
    try:
        tiled(kind, path, part, stop=stops[part.rank])
    except Interrupted:
        peers.wait()
    else:
        peers.wait()
    return tiled(kind, path, part).lasted.tolist()
