"""Potentials on rings: the values that are asked for, known at a few nodes and needed at all."""

from typing import Any

import pytest
import torch
from torch_geometric.utils import degree, is_undirected, to_dense_adj

from neuralop_irno.data.solvers.potentials import potentials
from neuralop_irno.data.splits import load_splits


@pytest.mark.parametrize("chords", [0.0, 0.5])
def test_free_nodes_are_the_mean_of_their_neighbours(chords: float) -> None:
    splits = potentials((8, 2, 2), (20, 30), held=3, chords=chords)
    for graph in [*splits["train"], *splits["test"]]:
        u, given, known = graph.y[:, 0], graph.x[:, 0], graph.x[:, 1] == 1
        near = to_dense_adj(graph.edge_index, max_num_nodes=len(u))[0]
        mean = near @ u / degree(graph.edge_index[1], len(u))
        assert is_undirected(graph.edge_index)
        assert near.max() == 1
        assert int(known.sum()) == 3
        torch.testing.assert_close(u[known], given[known])
        torch.testing.assert_close(u[~known], mean[~known], atol=1e-5, rtol=1e-5)
        assert not given[~known].any()
        torch.testing.assert_close(given[known].std(correction=0), torch.ones(()))


def test_values_are_far_away() -> None:
    """Half the nodes see no held node within four hops, and no node sees a value around half a ring."""
    far = []
    for graph in potentials((16, 1, 1), (48, 48))["train"]:
        near = to_dense_adj(graph.edge_index, max_num_nodes=48)[0] + torch.eye(48)
        sees = torch.linalg.matrix_power(near.double(), 4)[:, graph.x[:, 1] == 1].any(1)
        far.append((~sees).double().mean().item())
    assert sum(far) / len(far) > 0.5


def test_a_path_of_known_ends_is_a_line() -> None:
    (graph,) = potentials((1, 1, 1), (9, 9), held=2, chords=0)["train"]
    a, b = (graph.x[:, 1] == 1).nonzero()[:, 0].tolist()
    between = torch.arange(a, b + 1)
    line = torch.linspace(graph.y[a].item(), graph.y[b].item(), len(between))
    torch.testing.assert_close(graph.y[between, 0], line)


def test_splits_are_different_rings_and_a_seed_is_a_data_set() -> None:
    words = {"name": "potentials", "samples": [3, 2, 2], "nodes": [12, 12]}
    first, again, other = (load_splits({**words, "seed": seed}) for seed in (0, 0, 1))
    for split in first:
        for a, b in zip(first[split], again[split], strict=True):
            assert torch.equal(a.x, b.x)
            assert torch.equal(a.edge_index, b.edge_index)
    graphs: list[Any] = [first["train"][0], first["valid"][0], first["test"][0], other["train"][0]]
    assert len({tuple(graph.x[:, 0].tolist()) for graph in graphs}) == 4


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("three numbers of samples >= 1, got 3", {"samples": 3}),
        ("two numbers of nodes above 6", {"nodes": [6, 9]}),
        ("2 held nodes or more, but not all, got 1", {"held": 1}),
    ],
)
def test_a_mistake_is_named(words: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"expected {words}"):
        potentials(**options)
