"""Our trainer trains on rollouts, on grids and graphs, and goes on after an interruption to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GraphSAGE

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.recipe import Recipe
from neuralop_irno.rollouts import Curriculum, RolloutModel, RolloutTraining, TrajectorySegments, Window
from neuralop_irno.training.trainer import Trainer

FRAMES = 4


def waves(count: int, seed: int, points: int = 16, frames: int = 9) -> Tensor:
    """Waves that travel round a ring and shrink, ``(count, frames, 1, points)``."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.arange(points) * (2 * torch.pi / points)
    phase = torch.rand(count, 1, 1, 1, generator=generator) * 2 * torch.pi
    time = torch.arange(frames).reshape(1, -1, 1, 1)
    return 0.95**time * torch.sin(place - 0.3 * time + phase)


def stretches(count: int, seed: int) -> TrajectorySegments:
    return TrajectorySegments(waves(count, seed), inputs=2, frames=FRAMES, every=2)


def in_time() -> RolloutModel:
    torch.manual_seed(0)
    base = nn.Conv1d(2, 1, 3, padding=1, padding_mode="circular")
    words = {"name": "unet", "width": 4, "depth": 1}
    model = IterativeRefiner(base, words, steps=2, alpha=0.5, in_channels=2, out_channels=1)
    plan = RolloutTraining(Curriculum(1, FRAMES - 1, updates=9), free=1, noise=0.05, truncate=2)
    return RolloutModel(model, plan, Window(inputs=2))


class Interrupted(TrajectorySegments):
    """A data set that ends a process, as far as a trainer can tell, after so many samples."""

    def __init__(self, left: int) -> None:
        super().__init__(waves(6, 1), inputs=2, frames=FRAMES, every=2)
        self.left = left

    def __getitem__(self, place: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().__getitem__(place)


def test_interrupted_and_resumed_is_never_interrupted(tmp_path: Path) -> None:
    """The place in the curriculum, and the noise that is drawn, are part of what goes on."""
    recipe = Recipe(epochs=3, batch_size=4, save_every=1)

    def trainer(name: str) -> Trainer:
        return Trainer(in_time(), recipe, RefinementLoss(fixed_point=0.1), tmp_path / name, show=False)

    whole, valid = trainer("whole"), stretches(2, 2)
    history = whole.fit(stretches(6, 1), valid)
    with pytest.raises(KeyboardInterrupt):
        trainer("cut").fit(Interrupted(left=18), valid)
    resumed = trainer("cut")
    assert resumed.fit(stretches(6, 1), valid, resume=True) == history
    states = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert len(history) == 3


def test_training_on_rollouts_lowers_the_error_of_the_rollout() -> None:
    torch.manual_seed(0)
    model = RolloutModel(
        nn.Conv1d(2, 1, 3, padding=1, padding_mode="circular"),
        RolloutTraining(Curriculum(1, FRAMES, updates=30), gradient="checkpointed"),
        Window(inputs=2),
    )
    recipe = Recipe(optimizer="adamw", epochs=20, batch_size=8, learning_rate=3e-2)
    history = Trainer(model, recipe, show=False).fit(stretches(16, 3), stretches(4, 4))
    assert history[-1]["valid"][-1] < 0.2 * history[0]["valid"][-1]


def test_graphs_of_many_sizes() -> None:
    graphs = []
    for points in (6, 9, 12, 7):
        node = torch.arange(points)
        edges = torch.cat([torch.stack([node, node.roll(1)]), torch.stack([node.roll(1), node])], 1)
        fields = waves(1, points, points)[0].permute(2, 0, 1)
        graphs.append(Data(x=fields, edge_index=edges, pos=torch.stack([node.cos(), node.sin()], 1)))
    data = TrajectorySegments(graphs, inputs=1, frames=FRAMES)
    assert len(data) == 4 * 5
    assert torch.equal(data[1].y, graphs[0].x[:, 2 : 2 + FRAMES, 0])
    torch.manual_seed(0)
    words = {"name": "meshgraph", "width": 8, "steps": 1}
    refiner = IterativeRefiner(GraphSAGE(1, 4, 1, 1), words, steps=2, in_channels=1, out_channels=1)
    model = RolloutModel(refiner, RolloutTraining(2, free=2))
    history = Trainer(
        model, Recipe(optimizer="adamw", epochs=5, batch_size=8, learning_rate=1e-2), show=False
    ).fit(data, data)
    assert history[-1]["loss"] < history[0]["loss"]
