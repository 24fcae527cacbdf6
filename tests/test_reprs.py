"""What a user prints says in one line what it is and how large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from neuralop_irno import IterativeRefiner, diagnose, rollout
from neuralop_irno.assimilation import Ensemble, ModelError, Observations
from neuralop_irno.data.fields import FieldDataset, windows
from neuralop_irno.data.frames import Frames, FrameWindows
from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.data.joined import join_pairs
from neuralop_irno.data.mesh import TriangleMesh
from neuralop_irno.data.point_clouds import PointCloud
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.trajectories import FramePairs, PointTrajectories, Solutions
from neuralop_irno.rollouts import TrajectorySegments
from neuralop_irno.solver.picard import Picard
from neuralop_irno.solver.step_size import Decaying, StepSizeLike
from neuralop_irno.study.noise import Noisy


class Zeros(Frames):
    fields, padding, metric, scaling = ("u", "v"), ("circular",), "vrmse", Scaling.none(2)
    lengths = (5, 4)

    def read(self, trajectory: int, places: range) -> torch.Tensor:
        return torch.zeros(len(places), 2, 8)


def points() -> PointTrajectories:
    return PointTrajectories(torch.zeros(3, 5, 16, 2), PointCloud(torch.rand(16, 2)), torch.arange(5.0))


def pairs() -> FieldDataset:
    return windows(torch.arange(10.0).reshape(2, 5, 1).expand(2, 5, 4), outputs=2, stride=2)


def diagnosed() -> Any:
    refiner = IterativeRefiner(
        nn.Conv1d(1, 1, 1), {"name": "unet", "width": 4, "depth": 1, "dim": 1}, steps=2
    )
    x = torch.randn(3, 1, 8)
    return diagnose(refiner, DataLoader(FieldDataset(x, x), batch_size=3), samples=2, steps=4, show=False)


MASK = torch.tensor([True, False])
SEEN = Observations(MASK, torch.zeros(1, 3, 1, 2), frames=[0, 2, 4])

PRINTED: dict[str, Callable[[], Any]] = {
    "FieldDataset(4 pairs: x (1, 4), y (2, 4))": pairs,
    "Noisy(FieldDataset(4 pairs: x (1, 4), y (2, 4)), size=0.1)": lambda: Noisy(pairs(), 0.1),
    "JoinedTrajectories(2 of 4 frames (1, 4), 1 to start from)": lambda: join_pairs(pairs(), 4),
    "GraphDataset(2 graphs: the first [1])": lambda: GraphDataset([[1], [2]]),
    "FrameWindows(5 pairs of 2 trajectories: 1 to 2 frames of u, v)": lambda: FrameWindows(Zeros(), 1, 2),
    "PointTrajectories(3 samples, 5 frames)": points,
    "FramePairs(12 pairs of PointTrajectories(3 samples, 5 frames))": lambda: FramePairs(points()),
    "Solutions(PointTrajectories(3 samples, 5 frames))": lambda: Solutions(points()),
    "PointCloud(16 points in 2 dimensions, period=None)": lambda: PointCloud(torch.rand(16, 2)),
    "TriangleMesh(3 nodes, 1 triangles)": lambda: TriangleMesh(
        np.eye(3, 2), np.array([[0, 1, 2]]), np.ones(3, dtype=bool)
    ),
    "TrajectorySegments(4 segments: 2 to 3 frames)": lambda: TrajectorySegments(
        torch.zeros(2, 6, 1, 4), 2, 3
    ),
    "Rollout(2 of 2 samples complete, frames (2, 3, 1, 4))": lambda: rollout(
        lambda x: x, torch.zeros(2, 1, 4), 3
    ),
    "Rollout(2 of 2 samples complete, frames elsewhere)": lambda: rollout(
        lambda x: x, torch.zeros(2, 1, 4), 3, to=lambda step: None
    ),
    "ModelError(5 errors, members=2, scale=1.0, seed=0)": lambda: ModelError(torch.zeros(1, 5, 1, 2), 2),
    "Ensemble(observations=Observations(in 3 frames, mask (2,)), members=2, noise=0.1, radius=inf, "
    "relaxation=0.3, sides=1.0, periodic=False)": lambda: Ensemble(SEEN, members=2, noise=0.1),
    "Diagnosis(3 samples, 4 steps, contraction of 2 samples)": diagnosed,
}


@pytest.mark.parametrize("printed", PRINTED)
def test_one_line_says_what_it_is_and_how_large(printed: str) -> None:
    assert repr(PRINTED[printed]()) == printed


class Weighted(Picard):
    """A solver of the user's own, with arguments of any type."""

    def __init__(self, weights: Any = (1, 2), *more: Any, mask: Any = None, **others: Any) -> None:
        super().__init__()
        self.weights, self.more, self.mask, self.others = weights, more, mask, others


ODD_ARGUMENTS: dict[str, Any] = {
    "[0.0, 1.0]": np.arange(2.0),
    "[0, 1, 2]": torch.arange(3),
    "[True]": torch.ones(1, dtype=torch.bool),
    "[0.5]": torch.full((1,), 0.5, dtype=torch.bfloat16),
    "[1j]": torch.full((1,), 1j),
    "[[1.0]]": torch.eye(1).to_sparse(),
    "ndarray(100, 3)": np.zeros((100, 3)),
    "Tensor(100, 3)": torch.zeros(100, 3),
    "Tensor(2)": torch.zeros(2, device="meta"),
    "{'a': (Tensor(100),)}": {"a": (torch.zeros(100),)},
    "nan": float("nan"),
}


@pytest.mark.parametrize("printed", ODD_ARGUMENTS)
def test_arguments_of_any_type_are_printed_in_short(printed: str) -> None:
    value = ODD_ARGUMENTS[printed]
    assert repr(Weighted(value)) == f"Weighted(weights={printed})"
    assert repr(Weighted(mask=value)) == f"Weighted(mask={printed})"


def test_a_default_that_is_an_array_is_left_out() -> None:
    class Own(Picard):
        def __init__(self, weights: Any = np.arange(3)) -> None:  # noqa: B008
            super().__init__()
            self.weights = weights

    assert repr(Own()) == "Own()"
    assert repr(Own(np.arange(4))) == "Own(weights=[0, 1, 2, 3])"


@pytest.mark.parametrize("alpha", [0.5, [1.0, 0.5], Decaying(0.5)])
def test_a_solver_on_the_meta_device_is_printed(alpha: StepSizeLike) -> None:
    assert "Tensor(" in repr(Picard(alpha).to("meta"))
