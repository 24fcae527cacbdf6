"""Networks on points in time: frames (B, N, C) by the names of the network, or rows of a graph."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import IterativeRefiner, PointOperator, rollout

B, N = 2, 12


class Transolver(nn.Module):
    """Called as in Neural-Solver-Library: x are the coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor, fx: Tensor, T=None, geo=None) -> Tensor:  # noqa: N803 - as there
        return torch.tanh(self.layer(torch.cat([x, fx], -1)) + fx.mean(1, keepdim=True))


@pytest.fixture
def model() -> IterativeRefiner:
    base = PointOperator(Transolver(), fields="fx", pos="x")
    words = {"name": "meshgraph", "width": 8, "steps": 1}
    model = IterativeRefiner(base, words, steps=2, alpha=0.5, in_channels=1, out_channels=1)
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def test_three_steps_are_three_calls_on_arrays_and_on_graphs(model: IterativeRefiner) -> None:
    pos, start = torch.rand(B, N, 2), torch.randn(B, N, 1)
    frames = rollout(model, start, 3, given={"x": pos}).frames
    by_hand = start
    for step in range(3):
        by_hand = model(pos, by_hand)
        torch.testing.assert_close(frames[:, step], by_hand)
    graphs = Batch.from_data_list([Data(x=start[row], pos=pos[row]) for row in range(B)])
    rows = rollout(model, graphs, 3).frames
    torch.testing.assert_close(rows.unflatten(0, (B, N)).transpose(1, 2), frames)


def test_other_fields_beside_frames_on_points_are_refused(model: IterativeRefiner) -> None:
    pos, start = torch.rand(B, N, 2), torch.randn(B, N, 1)
    with pytest.raises(
        ValueError, match=r"^expected one frame \(B, N, C\) for a base on points, .*; try a graph"
    ):
        rollout(model, start, 3, given={"x": pos}, static=torch.randn(B, N, 1))
