"""What the tests of rollouts share: small models and small graphs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from neuralop.models import FNO
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import rollout
from neuralop_irno.rollouts import HDF5, Ending, Zarr
from neuralop_irno.rollouts.sink import Plan, Saved, Sink, Step

SIZES = (7, 4, 9)


def fno(in_channels: int = 1, out_channels: int = 1, dim: int = 2) -> FNO:
    torch.manual_seed(1)
    return FNO((4,) * dim, in_channels, out_channels, hidden_channels=4, n_layers=1).eval()


def point_model(in_channels: int, out_channels: int) -> nn.Module:
    """A smooth map of the channels at every point, in double precision, that does not blow up."""
    torch.manual_seed(2)
    return PointModel(in_channels, out_channels).double().eval()


class PointModel(nn.Module):
    """Works on grids of any dimension, channels first."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        mixed = gain * x + 0.3 * x.roll(1, -1)
        return torch.tanh(self.linear(mixed.movedim(1, -1))).movedim(-1, 1)


def graph(n: int, channels: int = 1, times: int | None = None) -> Data:
    generator = torch.Generator().manual_seed(n)
    pos = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    distance = torch.cdist(pos, pos)
    edge_index = ((distance < 0.6) & (distance > 0)).nonzero().T
    shape = (n, channels) if times is None else (n, times, channels)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return Data(x=x, edge_index=edge_index, pos=pos)


def graphs(channels: int = 1, times: int | None = None) -> Batch:
    return Batch.from_data_list([graph(n, channels, times) for n in SIZES])


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Stands for whatever ends a run early."""


class Breaking:
    """A sink that ends the run before it takes a frame."""

    def __init__(self, sink: Sink, frame: int) -> None:
        self.sink, self.frame = sink, frame

    def begin(self, plan: Plan) -> Saved | None:
        return self.sink.begin(plan)

    def write(self, step: Step) -> Ending | None:
        if step.index == self.frame:
            raise Interrupted
        return self.sink.write(step)

    def finish(self) -> Tensor | None:
        return self.sink.finish()


ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"
KINDS: dict[str, Any] = {"h5": HDF5, "zarr": Zarr}
START = torch.randn(2, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
MODEL = point_model(1, 1)


def half_done(kind: str, folder: Path, **options: Any) -> Path:
    """A rollout of 4 frames, two of which are there."""
    path = folder / f"run.{kind}"
    with pytest.raises(Interrupted):
        rollout(MODEL, START, 4, to=Breaking(KINDS[kind](path), 2), **options)
    return path
