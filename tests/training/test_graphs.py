"""The trainer on graphs of many sizes."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GraphSAGE

from neuralop_irno import IterativeRefiner
from neuralop_irno.metrics import relative_l2
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.evaluation import score, scores_per_step
from neuralop_irno.training.trainer import Trainer


def rings(count: int, seed: int) -> list[Data]:
    """Cycles of 6 to 12 nodes; y is x averaged over the two neighbours, which one message knows."""
    generator = torch.Generator().manual_seed(seed)
    graphs = []
    for _ in range(count):
        n = int(torch.randint(6, 13, (), generator=generator))
        node = torch.arange(n)
        edge_index = torch.cat([torch.stack([node, (node + 1) % n]), torch.stack([(node + 1) % n, node])], 1)
        angle = node * (2 * torch.pi / n)
        x = torch.randn(n, 1, generator=generator)
        y = 0.5 * (x.roll(1, 0) + x.roll(-1, 0))
        graphs.append(Data(x=x, y=y, edge_index=edge_index, pos=torch.stack([angle.cos(), angle.sin()], 1)))
    return graphs


def refiner() -> IterativeRefiner:
    torch.manual_seed(0)
    words = {"name": "meshgraph", "width": 16, "steps": 1}
    return IterativeRefiner(GraphSAGE(1, 4, 1, 1), words, steps=2, in_channels=1, out_channels=1)


def test_training_on_graphs_lowers_the_error_of_every_step() -> None:
    model = refiner()
    recipe = Recipe(epochs=30, batch_size=8, learning_rate=1e-2)
    history = Trainer(model, recipe, metric=relative_l2, show=False).fit(rings(48, 1), rings(8, 2))
    assert all(after < 0.4 * history[-1]["valid"][0] for after in history[-1]["valid"][1:])


def test_scores_are_per_graph() -> None:
    graphs = rings(5, 3)
    model = refiner()
    whole = scores_per_step(model, graphs, metric=relative_l2)
    assert whole.shape == (3, 5)
    for i, graph in enumerate(graphs):
        alone = score(relative_l2, model.eval()(graph), graph.y, torch.zeros(graph.num_nodes).long())
        torch.testing.assert_close(whole[-1, i : i + 1], alone)


def test_what_needs_one_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected fields on one grid for replay and shifts, got graphs"):
        Trainer(refiner(), Recipe(epochs=1, replay=2.0), show=False).fit(rings(4, 1))
