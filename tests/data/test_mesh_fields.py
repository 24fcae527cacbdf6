"""Problems on meshes with holes, as graphs."""

import itertools

import pytest
import torch

from neuralop_irno.data.solvers.mesh_fields import heat_in_wind, waves


@pytest.mark.parametrize(("make", "channels"), [(heat_in_wind, 4), (waves, 2)])
def test_graphs_have_sizes_and_measures_of_their_own(make, channels: int) -> None:
    splits = make(samples=(3, 1, 2), spacing=0.1, outputs=2)
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "valid": 1, "test": 2}
    graphs = [graph for split in splits.values() for graph in split]
    assert len({graph.num_nodes for graph in graphs}) > 2
    for graph in graphs:
        assert graph.x.shape == (graph.num_nodes, channels)
        assert graph.y.shape == (graph.num_nodes, 2)
        assert graph.is_undirected()
        assert 0.75 < graph.measure.sum() < 1
        assert graph.y.isfinite().all()
    again = make(samples=(3, 1, 2), spacing=0.1, outputs=2)
    assert torch.equal(again["test"][1].y, splits["test"][1].y)


def test_heat_only_decays_and_is_nothing_on_the_boundary() -> None:
    (graph,) = heat_in_wind(samples=(1, 1, 1), spacing=0.08, outputs=3)["train"]
    sizes = [(frame.square() * graph.measure).sum() for frame in (graph.x[:, 0], *graph.y.T)]
    assert all(later < earlier for earlier, later in itertools.pairwise(sizes))
    assert graph.y[graph.x[:, 3] == 1].abs().max() == 0
