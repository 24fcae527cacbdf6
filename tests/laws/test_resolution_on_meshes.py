"""Law 11 on meshes: on a finer mesh the iterates are those of its coarse nodes, brought there."""

from __future__ import annotations

import pytest
import torch
from spaced_meshes import (
    CORRECTIONS,
    FINE,
    RATIOS,
    OfEachNode,
    base,
    batch_of,
    call,
    domain_of,
    graph,
    maps_of,
    mesh,
    refiner,
)
from torch import nn
from torch_geometric.data import Data

from neuralop_irno import IterativeRefiner
from neuralop_irno.domain.node_maps import NodeMaps, coarsenings_of
from neuralop_irno.domain.spacing import spacings

PAIRS = ("points", "means")
WAYS = (*({"pair": pair} for pair in PAIRS), {})


@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_prolonged_field_is_restricted_to_itself_and_constants_stay(name, ratio, pair):
    maps, domain = maps_of(FINE[name], ratio, pair)
    coarse = torch.randn(len(maps.nodes), 2, dtype=torch.float64)
    one = torch.ones_like(coarse)
    assert torch.allclose(maps.restrict(maps.prolong(coarse)), coarse, atol=1e-10)
    assert torch.allclose(maps.prolong(one), torch.ones_like(domain.pos[:, :1]), atol=1e-10)
    assert torch.allclose(maps.restrict(torch.ones_like(FINE[name].x)), one, atol=1e-10)


@pytest.mark.parametrize("name", ["plane with a hole", "line", "square", "cube", "torus"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_the_coarse_nodes_have_the_wanted_spacing_and_the_whole_measure(name, ratio):
    maps, domain = maps_of(FINE[name], ratio, "points")
    coarse = maps.coarse_domain(domain)
    assert spacings(coarse)[0] == pytest.approx(ratio * spacings(domain)[0], rel=0.1)
    if domain.measure is not None:
        assert float(coarse.measure.sum()) == pytest.approx(float(domain.measure.sum()), rel=1e-2)


@pytest.mark.parametrize("pair", PAIRS)
def test_linear_functions_are_interpolated(pair):
    maps, domain = maps_of(FINE["plane with a hole"], 2.0, "points")
    linear = domain.pos @ torch.tensor([[1.0], [-2.0]]).double()
    assert (maps.prolong(maps.restrict(linear)) - linear).abs().max() < 0.02


def test_holes_stay_open_and_seams_closed():
    ring = mesh(4)
    maps, domain = maps_of(ring, 2.0, "points")
    source, target = maps.coarse_domain(domain).edges.index
    pos = domain.pos[maps.nodes]
    middle = (pos[source] + pos[target]) / 2
    assert ((middle - 0.5).norm(dim=1) > 0.1).all()
    maps, domain = maps_of(FINE["torus"], 2.0, "points")
    coarse = maps.coarse_domain(domain)
    straight = (coarse.pos[coarse.edges.index[1]] - coarse.pos[coarse.edges.index[0]]).norm(dim=1)
    assert (straight > 0.5).any()
    assert coarse.way().norm(dim=1).max() < 0.4


@pytest.fixture(params=CORRECTIONS)
def correction(request) -> str:
    return request.param


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("nodes", [2, 4])
def test_the_answer_on_a_finer_mesh_restricts_to_that_on_its_coarse_nodes(correction, pair, nodes):
    model, fine = refiner(correction, pair=pair), mesh(nodes)
    domain = domain_of(fine)
    wanted = model.resolution.coarser(spacings(domain)[0])
    maps = NodeMaps.of(coarsenings_of(domain, [wanted]), domain, pair)
    coarse = maps.coarse_domain(domain)
    known = {"pos": coarse.pos, "edge_index": coarse.edges.index}
    answer = call(model, fine)
    there = call(model, Data(x=maps.restrict(fine.x), **known))
    assert (there - maps.restrict(fine.x[:, :1])).abs().max() > 1e-3
    assert torch.allclose(maps.restrict(answer), there, atol=1e-9)


def test_the_trained_spacing_keeps_its_bits(correction):
    model = refiner(correction)
    plain = IterativeRefiner(OfEachNode(), model.correction, steps=3).eval()
    assert torch.equal(call(model, mesh(seed=1)), call(plain, mesh(seed=1)))
    grows = refiner(correction, extent="grows")
    assert torch.equal(call(grows, mesh(4)), call(plain, mesh(4)))


@pytest.mark.parametrize("known", WAYS, ids=str)
def test_a_batch_equals_a_loop_and_those_that_leave_change_no_others(correction, known):
    model = refiner(correction, **known)
    graphs = [mesh(4), mesh(1), mesh(2, seed=1), mesh(4, seed=2)]
    sizes = [len(each.x) for each in graphs]
    together = batch_of(*graphs)
    alone = torch.cat([call(model, each) for each in graphs])
    assert torch.allclose(call(model, together), alone, atol=1e-10)
    shuffled = torch.randperm(len(alone))
    place = shuffled.argsort()
    mixed = Data(
        x=together.x[shuffled], pos=together.pos[shuffled], batch=together.batch[shuffled],
        measure=together.measure[shuffled], edge_index=place[together.edge_index],
    )  # fmt: skip
    assert torch.allclose(call(model, mixed), alone[shuffled], atol=1e-9)
    counts = torch.tensor([1, 4, 2, 3])
    leaving = model.solve(**together.to_dict(), max_steps=counts, rtol=1e-12).value.split(sizes)
    for part, each, count in zip(leaving, graphs, counts.tolist(), strict=True):
        own = model.solve(**each.to_dict(), max_steps=count, rtol=1e-12).value
        assert torch.allclose(part, own, atol=1e-10)


@pytest.mark.parametrize("known", WAYS[1:], ids=str)
def test_forward_solve_and_iterates_agree(correction, known):
    model, fine = refiner(correction, **known), mesh(4).to_dict()
    with torch.no_grad():
        answer = model(**fine)
    assert torch.equal(model.solve(**fine, steps=3).value, answer)
    assert torch.equal(model.iterates(**fine)[-1], answer)
    assert torch.equal(model.solve(**fine, steps=0).value, base(fine["x"], fine["pos"]))


@pytest.mark.parametrize("known", WAYS, ids=str)
def test_renumbering_the_nodes_permutes_the_answer(correction, known):
    model, fine = refiner(correction, **known), mesh(4)
    order = torch.randperm(len(fine.x))
    other = Data(
        x=fine.x[order], pos=fine.pos[order], measure=fine.measure[order],
        edge_index=order.argsort()[fine.edge_index][:, torch.randperm(fine.edge_index.shape[1])],
    )  # fmt: skip
    assert torch.allclose(call(model, other), call(model, fine)[order], atol=1e-9)


def test_a_lattice_full_of_ties_may_be_renumbered_too():
    ticks = torch.arange(12).double() / 12
    pos = torch.cartesian_prod(ticks, ticks)
    order = torch.randperm(len(pos))
    found, other = (
        maps_of(graph(place, period=torch.ones(1, 2)), 2.0, "points")[0] for place in (pos, pos[order])
    )
    field = torch.randn(len(pos), 1).double()
    through = found.prolong(found.restrict(field))
    assert torch.allclose(other.prolong(other.restrict(field[order])), through[order], atol=1e-12)


def test_edges_across_the_seam_of_a_torus_are_short():
    model, here = refiner("meshgraph", spacing=None), FINE["torus"]
    moved = here.clone()
    moved.pos = (here.pos + torch.tensor([0.3, 0.7])) % 1
    assert torch.allclose(call(model, moved), call(model, here), atol=1e-9)


def test_a_spacing_that_nothing_explains_is_refused():
    refused = r"a mesh of spacing 0.14\d*, as in training, got 0.06\d+; .*fixed.*grows"
    with pytest.raises(ValueError, match=refused):
        call(refiner("meshgraph", extent=None), mesh(4))
    assert call(refiner("meshgraph", extent=None, spacing=None), mesh(4)).isfinite().all()


@pytest.mark.parametrize("form", ["vectors", "vectors and lengths", "lengths and vectors", "lengths", "ones"])
def test_geometric_attributes_of_edges_follow_and_others_are_refused(form):
    def known(data: Data) -> Data:
        way = data.pos[data.edge_index[1]] - data.pos[data.edge_index[0]]
        length = way.norm(dim=1, keepdim=True)
        data.edge_attr = {
            "vectors": way, "vectors and lengths": torch.cat([way, length], 1), "lengths": length,
            "lengths and vectors": torch.cat([length, way], 1), "ones": torch.ones_like(length),
        }[form]  # fmt: skip
        return data

    fine = known(mesh(4))
    maps, domain = maps_of(fine, 2.0, "points")
    coarse = maps.coarse_domain(domain, {"edge_attr"})
    there = known(Data(pos=coarse.pos, edge_index=coarse.edges.index))
    assert torch.allclose(coarse.edges.attr, there.edge_attr)
    fine.edge_attr = fine.edge_attr + torch.rand(len(fine.edge_attr))[:, None]
    maps, domain = maps_of(fine, 2.0, "points")
    assert maps.coarse_domain(domain).edges.attr is None
    with pytest.raises(ValueError, match="expected edge_attr as vectors or lengths"):
        maps.coarse_domain(domain, {"edge_attr"})


def test_lengths_in_units_of_a_spacing_do_not_follow_the_longest_edge():
    data = mesh()
    far = data.clone()
    far.edge_index = torch.cat([data.edge_index, torch.tensor([[0], [len(data.x) - 1]])], 1)
    options = {"name": "meshgraph", "width": 4, "steps": 1}
    for spacing, kept in ((None, False), (0.12, True)):
        torch.manual_seed(0)
        words = {**options, "spacing": spacing}
        model = IterativeRefiner(OfEachNode(), words, steps=1, in_channels=2, out_channels=1).double().eval()
        for weight in model.correction.parameters():
            nn.init.normal_(weight, std=0.3)
        one, other = call(model, data), call(model, far)
        assert torch.allclose(one[1:-1], other[1:-1]) is kept
