"""Corrections along edges on finer meshes: edges of the trained length at every node."""

from __future__ import annotations

import pytest
import torch
from spaced_meshes import CORRECTIONS, FINE, RATIOS, call, domain_of, graph, mesh, refiner
from torch_geometric.data import Data

from neuralop_irno.correction.on_finer_meshes import DRAWS, dilated
from neuralop_irno.domain.neighbourhoods import with_neighbourhoods
from neuralop_irno.domain.spacing import spacings

ALONG_EDGES = [name for name in CORRECTIONS if name != "rigno"]


@pytest.mark.parametrize("name", ALONG_EDGES)
def test_along_edges_every_node_has_the_mean_update_over_edges_of_the_trained_length(name):
    model, fine, start = refiner(name), mesh(2), mesh(2).x[:, :1]
    domain = domain_of(fine)
    wanted = [model.resolution.coarser(spacings(domain)[0])]
    draws = [dilated(domain, wanted, (), draw).edges.index for draw in range(DRAWS)]
    assert not torch.equal(draws[0], draws[1])
    model.steps = 1
    alone = refiner(name, extent="grows")
    alone.steps = 1
    updates = [call(alone, Data(x=fine.x, pos=fine.pos, edge_index=edges)) - start for edges in draws]
    assert torch.allclose(call(model, fine) - start, torch.stack(updates).mean(0), atol=1e-9)


def test_rigno_has_no_edges_to_lengthen():
    assert call(refiner("rigno"), mesh(4)).equal(call(refiner("rigno", pair="points"), mesh(4)))
    with pytest.raises(ValueError, match="expected a correction along edges for detail 'cosets'"):
        call(refiner("rigno", detail="cosets"), mesh(4))


@pytest.mark.parametrize("name", ["plane with a hole", "line of edges", "torus"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_edges_of_a_length_have_it_and_go_round_holes(name, ratio):
    at = torch.arange(40)
    both_ways = torch.stack([torch.cat([at[1:], at[:-1]]), torch.cat([at[:-1], at[1:]])])
    line = graph(at.double()[:, None] + 0.3 * torch.rand(40, 1).double(), both_ways)
    domain = domain_of(line if name == "line of edges" else FINE[name])
    mean = domain.way().norm(dim=1).mean()
    longer = with_neighbourhoods(domain, [float(ratio * mean)])
    way = longer.way()
    assert way.norm(dim=1).mean() == pytest.approx(float(ratio * mean), rel=0.2)
    degree = longer.edges.index[1].bincount(minlength=len(domain.pos))
    assert degree.min() >= 1
    assert degree.max() <= 3 * 2 ** domain.pos.shape[1]
    if name == "plane with a hole" and ratio < 3:  # longer ones are as long as the hole is wide
        source, target = longer.edges.index
        along = torch.linspace(0, 1, 9).double()[:, None, None]
        between = domain.pos[source] * along + domain.pos[target] * (1 - along)
        assert ((between - 0.5).norm(dim=2) > 0.11).all()  # chords of a hole of radius 0.15


def test_edges_in_one_direction_keep_it_and_those_of_nodes_to_themselves_stay():
    at = torch.arange(24)
    ring, loops = torch.stack([at, (at + 1) % 24]), at.repeat(2, 1)
    known = {"period": torch.tensor([[24.0]]).double()}
    line = graph(at.double()[:, None], ring, **known)
    alone, looped = domain_of(line), domain_of(graph(line.pos, torch.cat([ring, loops], 1), **known))
    longer, with_loops = (dilated(domain, [2.4], (), 0).edges.index.T for domain in (alone, looped))
    source, target = longer.T
    assert ((target - source) % 24 < 12).all()
    assert torch.equal(target.unique(), at)
    pairs = torch.cat([longer, loops.T]).tolist()
    assert sorted(pairs) == sorted(with_loops.tolist())


@pytest.mark.parametrize("name", ALONG_EDGES)
def test_in_training_a_part_of_the_calls_has_edges_drawn_anew(name):
    model, data = refiner(name, redrawn=0.5, spacing=None), mesh()
    known, y, model.steps = data.to_dict(), data.x[:, :1], 1
    plain = call(model, data)
    domain = domain_of(data)
    edges = [dilated(domain, spacings(domain), (), draw).edges.index for draw in range(DRAWS)]
    drawn = [call(model, Data(x=data.x, pos=data.pos, edge_index=each)) for each in edges]
    model.train()
    found = [model(**known, y=y).last.detach() for _ in range(24)]
    kinds = [[torch.allclose(answer, other) for other in (plain, *drawn)] for answer in found]
    assert all(sum(kind) == 1 for kind in kinds)
    assert 4 < sum(kind[0] for kind in kinds) < 20
    with pytest.raises(ValueError, match="a correction along its edges, to redraw these"):
        refiner("rigno", redrawn=0.5).train()(**known, y=y)
