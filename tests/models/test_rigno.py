"""What RIGNO has to be whatever its weights: equivariant, indifferent to its batch, trainable, repeatable."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from neuralop_irno._neuralop import build_model
from neuralop_irno.correction.rigno import RegionCorrection
from neuralop_irno.models.rigno import RIGNO, Statistics, TimeStepper, build_region_graph
from neuralop_irno.models.rigno import store as store_module
from neuralop_irno.registry import CORRECTIONS

UNIT = (0.0, 1.0)
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def small(**options: object) -> RIGNO:
    settings = {"width": 8, "steps": 2, "periodic": True, "domain": UNIT, **options}
    return RIGNO(2, 1, **settings).eval()


def cloud(points: int, dim: int = 2) -> Data:
    t, tau = torch.rand(2).tolist()
    return Data(x=torch.randn(points, 2), pos=torch.rand(points, dim), t=t, tau=tau)


def test_the_published_number_of_parameters() -> None:
    model = RIGNO(4, 4, periodic=True, domain=UNIT, steps=12)
    assert sum(p.numel() for p in model.parameters()) == 1_910_936


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("periodic", [True, False])
def test_renumbering_the_points_permutes_the_answer(dim: int, periodic: bool) -> None:
    model, data = small(dim=dim, periodic=periodic), cloud(64, dim)
    order = torch.randperm(64)
    answer = model(data)
    renumbered = model(data.x[order], data.pos[order], t=data.t, tau=data.tau)
    assert answer.shape == (64, 1)
    torch.testing.assert_close(renumbered, answer[order], **CLOSE)


def test_a_batch_equals_a_loop() -> None:
    model, data = small(), [cloud(n) for n in (40, 64, 51)]
    loop = torch.cat([model(each) for each in data])
    batch = Batch.from_data_list(data)
    torch.testing.assert_close(model(batch), loop, **CLOSE)
    order = torch.randperm(len(batch.x))
    shuffled = model(batch.x[order], batch.pos[order], batch.batch[order], batch.t, batch.tau)
    torch.testing.assert_close(shuffled, loop[order], **CLOSE)


def test_samples_that_share_a_mesh_equal_a_loop() -> None:
    model, data = small(), [cloud(48) for _ in range(3)]
    for each in data:
        each.pos = data[0].pos
    loop = torch.cat([model(each) for each in data])
    torch.testing.assert_close(model(Batch.from_data_list(data)), loop, **CLOSE)


def test_graphs_travel_with_the_data() -> None:
    model, data = small(), [cloud(n) for n in (40, 64)]
    for each in data:
        each.graph = build_region_graph(each.pos, True, UNIT)
    (batch,) = DataLoader(data, batch_size=2)
    torch.testing.assert_close(model(batch), torch.cat([model(each) for each in data]), **CLOSE)


def test_translating_a_periodic_field_translates_the_answer() -> None:
    # One level: where few regions fill the torus, which of two images they are joined to is arbitrary.
    model, x = small(frequencies=0, levels=1), torch.randn(128, 2)
    pos = (torch.rand(128, 2) * 4096).floor() / 4096  # translated without rounding
    moved = (pos + torch.tensor([0.25, 0.625])) % 1
    graphs = [build_region_graph(p, True, UNIT, p[:40], levels=1, frequencies=0) for p in (pos, moved)]
    for kind in ("p2r", "r2r", "r2p"):
        assert torch.equal(*(graph.tensors()[kind] for graph in graphs))
    answers = [model(x, t=0.0, tau=0.5, graph=graph) for graph in graphs]
    torch.testing.assert_close(*answers, **CLOSE)


@pytest.mark.parametrize("time", [True, False])
def test_gradients_reach_every_parameter(time: bool) -> None:
    model, data = small(time=time).train(), Batch.from_data_list([cloud(64), cloud(80)])
    model(data).square().sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in silent if not name.startswith("decode_regions")] == []
    assert all(not p.requires_grad for p in model.decode_regions.parameters())


def test_edges_are_masked_in_training_only_and_the_seed_repeats_them() -> None:
    model, data = small(), cloud(64)
    whole = model(data)
    assert torch.equal(model(data), whole)
    model.train()
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(model(data).detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])
    assert not torch.allclose(drawn[0], whole)


def test_graphs_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = small(cache=tmp_path), cloud(64)
    answer = model(data)
    (file,) = tmp_path.iterdir()
    other = small(cache=tmp_path)
    other.load_state_dict(model.state_dict())
    with monkeypatch.context() as patch:
        patch.delattr(store_module, "build_region_graph")
        assert torch.equal(other(data), answer)
    file.write_bytes(file.read_bytes()[:100])
    third = small(cache=tmp_path)
    third.load_state_dict(model.state_dict())
    with pytest.warns(UserWarning, match="Its content is computed again"):
        assert torch.equal(third(data), answer)
    small(cache=tmp_path, seed=1)(data)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_a_graph_is_refused() -> None:
    line = torch.linspace(0, 0.9, 64)
    for message, pos, options in (
        ("at least 16 points", torch.rand(1, 2), {}),
        ("span 2 dimensions", torch.stack([line, line], 1), {"domain": UNIT}),
        ("the box of a periodic domain", torch.rand(64, 2), {"periodic": True}),
        ("every point of a periodic domain", 2 * torch.rand(64, 2), {"periodic": True, "domain": UNIT}),
        ("hi > lo", torch.rand(64, 2), {"domain": (1.0, 0.0)}),
        ("finite positions", torch.full((64, 2), float("nan")), {}),
    ):
        with pytest.raises(ValueError, match=message):
            build_region_graph(pos, **options)
    with pytest.raises(ValueError, match="expected t and tau"):
        small()(torch.randn(64, 2), torch.rand(64, 2))


def trajectories() -> tuple[Tensor, Tensor, Tensor]:
    u = torch.randn(3, 4, 10, 2).cumsum(1) * torch.tensor([1.0, 5.0]) + 2
    return u, torch.tensor([0.0, 0.2, 0.4, 0.6]), 3 + torch.randn(3, 1, 10, 1)


@pytest.mark.parametrize("rule", ["out", "res", "der"])
def test_a_network_that_says_the_target_steps_to_the_truth(rule: str) -> None:
    u, times, c = trajectories()
    statistics = Statistics.of(u, times, span=(0.0, 2.0), c=c)
    before, after = u[:2, 0].flatten(0, 1), torch.cat([u[0, 1], u[1, 3]])
    tau, batch = torch.tensor([0.2, 0.6]), torch.arange(2).repeat_interleave(10)
    x = torch.cat([before, c[:2, 0].flatten(0, 1)], 1)
    seen = []

    def network(*given: object) -> Tensor:
        seen.extend(given)
        return stepper.target(x, after, tau, batch)

    stepper = TimeStepper(network, statistics, rule)
    torch.testing.assert_close(stepper(x, None, batch, t=1.0, tau=tau), after, atol=1e-5, rtol=1e-4)
    fields, _, _, t, lead, _ = seen
    torch.testing.assert_close(fields[:, 2:], (x[:, 2:] - c.mean()) / c.std(correction=0), **CLOSE)
    torch.testing.assert_close((t, lead), (torch.tensor(0.5), tau / 2))


def test_statistics_pool_all_leads() -> None:
    u, times, _ = trajectories()
    found = Statistics.of(u, times, longest=2)
    changes = [
        (u[:, j] - u[:, i], times[j] - times[i]) for i in range(4) for j in range(i + 1, min(i + 3, 4))
    ]
    rates = torch.stack([change / lead for change, lead in changes]).flatten(0, -2)
    torch.testing.assert_close(found.derivative.mean, rates.mean(0))
    torch.testing.assert_close(found.derivative.std, rates.std(0, correction=0))
    torch.testing.assert_close(
        found.residual.std, torch.stack([change for change, _ in changes]).flatten(0, -2).std(0, correction=0)
    )
    assert Statistics.of(torch.ones(2, 1, 5, 1), torch.zeros(1)).u.std.tolist() == [1.0]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("periodic", [True, False])
def test_points_and_regions_are_joined_within_the_radius(dim: int, periodic: bool) -> None:
    pos, which = torch.rand(300, dim), torch.randperm(300)[:70]
    graph = build_region_graph(pos, periodic, UNIT, which, frequencies=1)
    z = 2 * (pos[:, None] - pos[which])
    if periodic:
        z = (z + 1) % 2 - 1
    distance, radius = z.norm(dim=-1), graph.region_features[:, -1]
    for kind, overlap in (("p2r", 1.0), ("r2p", 2.0)):
        reach = (overlap * radius).clamp(max=radius.max())
        reach = torch.where(reach >= 0.5, 0.2, reach)
        pairs = (distance <= reach).nonzero().T
        assert torch.equal(graph.tensors()[kind], pairs if kind == "p2r" else pairs.flip(0))
        signed = graph.tensors()[f"{kind}_features"][:, :dim] * 2 * dim**0.5
        vectors = z[pairs[0], pairs[1]] * (1 if kind == "p2r" else -1)
        torch.testing.assert_close(signed, vectors, **CLOSE)


@pytest.mark.parametrize("periodic", [True, False])
def test_regions_are_joined_once_per_pair_and_both_ways(periodic: bool) -> None:
    graph = build_region_graph(torch.rand(256, 2), periodic, UNIT)
    pairs = graph.r2r.T.tolist()
    assert pairs == sorted(pairs)
    assert len({tuple(pair) for pair in pairs}) == len(pairs)
    assert {(s, r) for s, r in pairs} == {(r, s) for s, r in pairs}
    assert bool((graph.r2r_copies == 0).any(0).all())
    assert bool(graph.r2r_copies.any()) == periodic
    coarse = {s for s, r in pairs if s < 4 and r < 4}  # the last level of 256 / 4 / 4 / 4 regions
    assert coarse == {0, 1, 2, 3}


# torch compiles its own forward-mode rules with torch.jit when they are first used.
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_a_mesh_first_seen_inside_a_transform_is_remembered_as_plain_tensors() -> None:
    data = Batch.from_data_list([cloud(40), cloud(64)])
    tangent = torch.randn_like(data.x)

    def linearised(model: RIGNO) -> Tensor:
        def answer(x: Tensor) -> Tensor:
            return model(x, data.pos, data.batch, data.t, data.tau)

        return torch.func.jvp(answer, (data.x,), (tangent,))[1]

    model = small().double()
    data.x, tangent = data.x.double(), tangent.double()
    change, step = linearised(model), 1e-4
    shifted = [
        model(data.x + sign * step * tangent, data.pos, data.batch, data.t, data.tau) for sign in (1, -1)
    ]
    torch.testing.assert_close(change, (shifted[0] - shifted[1]) / (2 * step), atol=1e-5, rtol=1e-4)
    other = small()
    with torch.inference_mode():
        other(data.x.float(), data.pos, data.batch, data.t, data.tau)
    other(data.x.float(), data.pos, data.batch, data.t, data.tau).sum().backward()


def test_the_base_and_the_correction_take_the_same_words_for_their_domain() -> None:
    words = {"periodic": True, "domain": [0.0, 1.0], "width": 8, "steps": 1}
    base = build_model({"model_arch": "rigno", **words}, 1, 1)
    correction = CORRECTIONS.build({"name": "rigno", **words}, in_channels=1, out_channels=1)
    older = {"name": "rigno", "is_periodic": True, "box": [0.0, 1.0], "width": 8, "steps": 1}
    again = CORRECTIONS.build(older, in_channels=1, out_channels=1)
    options = correction.module.graphs.options
    assert options["periodic"] is base.graphs.options["periodic"] is True
    assert options["domain"] == base.graphs.options["domain"] == [0.0, 1.0]
    assert again.module.graphs.options == options
    with pytest.raises(ValueError, match="an option under one of its names"):
        CORRECTIONS.build({**older, "domain": [0.0, 1.0]}, in_channels=1, out_channels=1)


@pytest.mark.parametrize("periodic", [True, False])
def test_regions_of_one_spacing_do_not_follow_the_number_of_points(periodic: bool) -> None:
    torch.manual_seed(0)
    box = {"periodic": periodic, "domain": (0.0, 2.0), "levels": 1, "spacing": 0.3}
    graphs = [build_region_graph(2 * torch.rand(count, 2), **box) for count in (1000, 4000)]
    few, many = (len(graph.region_features) for graph in graphs)
    assert few == pytest.approx(many, rel=0.2)
    for graph in graphs:
        between = graph.r2r_features[graph.r2r[0] != graph.r2r[1]]
        assert between[:, -1].min() >= 1  # in units of the spacing
        assert between[:, -1].median() < 2
        torch.testing.assert_close(between[:, :2].norm(dim=1), between[:, -1])


def test_a_spacing_of_regions_is_an_option_of_the_correction() -> None:
    phi = RegionCorrection(1, 1, width=8, steps=1, levels=1, spacing=0.2)
    pos = torch.rand(200, 2)
    found, wanted = phi.module.graphs.graph_of(pos), build_region_graph(pos, levels=1, spacing=0.2)
    assert torch.equal(found.p2r, wanted.p2r)
    with pytest.raises(ValueError, match="expected spacing > 0"):
        build_region_graph(pos, spacing=0.0)
