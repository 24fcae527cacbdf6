"""The trainer on graphs of many sizes."""

import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GraphSAGE

from neuralop_irno import IterativeRefiner
from neuralop_irno.metrics import relative_l2
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.evaluation import score, scores_per_step
from neuralop_irno.training.replay import Replay
from neuralop_irno.training.states import States
from neuralop_irno.training.trainable import Trainable
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


def test_replayed_states_are_the_iterates_of_their_graphs() -> None:
    """With weights that stand still, a state that has k steps behind it is h_k, graph by graph."""
    model = refiner()
    torch.nn.init.normal_(model.correction.last.weight, std=0.3)
    graphs = rings(6, 4)
    answers, sizes = zip(*Trainable(model).answers(graphs, torch.device("cpu"), 4), strict=True)
    starts = States.of(answers, torch.cat(sizes))
    replay = Replay(starts, life=3.0)
    iterates = [model.eval().iterates(graph, steps=12) for graph in graphs]
    seen: set[int] = set()
    for _ in range(8):
        index = torch.randperm(6)[:4]
        start, taken = replay.take(index)
        expected = [iterates[i][k] for i, k in zip(index.tolist(), taken.tolist(), strict=True)]
        torch.testing.assert_close(start, torch.cat(expected))
        batch = Batch.from_data_list([graphs[i] for i in index.tolist()])
        with torch.no_grad():
            trajectory = model.train()(batch, y=batch.y, start=start, taken=taken)
        replay.put(index, trajectory.last, trajectory.last)  # no state is lost
        seen |= set(taken.tolist())
    assert len(seen) > 2
    lost = starts[torch.tensor([2, 0])].clone()
    lost[0] = torch.nan  # a node of the first of the two
    before = replay.take(torch.tensor([0]))[1]
    replay.life = 1e9
    replay.put(torch.tensor([2, 0]), lost, starts[torch.tensor([2, 0])])
    assert torch.equal(replay.take(torch.tensor([2]))[0], starts[torch.tensor([2])])
    assert replay.taken[[2, 0]].tolist() == [0, before.item() + 1]


def test_cached_answers_of_the_base_change_nothing() -> None:
    def doubles(count: int, seed: int) -> list[Data]:
        return [graph.apply(lambda part: part.double(), "x", "y", "pos") for graph in rings(count, seed)]

    weights = []
    for cached in (True, False):
        model = refiner().double()
        recipe = Recipe(epochs=2, batch_size=4, cache_base=cached)
        Trainer(model, recipe, show=False).fit(doubles(10, 1), doubles(3, 2))
        weights.append([parameter.detach().clone() for parameter in model.parameters()])
    for ours, theirs in zip(*weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_replay_on_graphs_keeps_the_error_from_growing_past_k() -> None:
    model = refiner()
    recipe = Recipe(epochs=40, batch_size=8, learning_rate=1e-2, replay=4.0)
    Trainer(model, recipe, metric=relative_l2, show=False).fit(rings(48, 1), rings(8, 2))
    errors = scores_per_step(model, rings(8, 5), steps=6, metric=relative_l2).mean(1)
    assert errors[-1] < 0.4 * errors[0]
    assert errors[-1] < 1.1 * errors[2]


def test_what_needs_one_grid_is_refused() -> None:
    trainer = Trainer(IterativeRefiner(GraphSAGE(1, 4, 1, 1), "meshgraph"), show=False)
    trainer.recipe = Recipe(epochs=1, shifts=True)
    with pytest.raises(ValueError, match=r"expected fields on one grid for shifts, got graphs"):
        trainer.fit(rings(4, 1))
