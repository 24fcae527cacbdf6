"""Ensembles in rollouts: Kalman's filter where everything is linear, and what must not matter elsewhere."""

import pytest
import torch
from cases import SIZES, graph, point_model
from torch import Tensor
from torch_geometric.data import Batch, Data

from neuralop_irno import rollout
from neuralop_irno.assimilation import Ensemble, ModelError, Observations, moments
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain

SHAPE, MEMBERS, FLOWS, FRAMES = (5, 6), 4, 3, (1, 3)
GENERATOR = torch.Generator().manual_seed(8)
START = torch.randn(FLOWS * MEMBERS, 2, *SHAPE, generator=GENERATOR, dtype=torch.float64)
SEEN = torch.randn(FLOWS, len(FRAMES), 2, *SHAPE, generator=GENERATOR, dtype=torch.float64)
MASK = torch.rand(FLOWS, 2, *SHAPE, generator=GENERATOR) < 0.3
ERRORS = torch.randn(1, 9, 2, *SHAPE, generator=GENERATOR, dtype=torch.float64)


def ensemble(observations: Observations, members: int = MEMBERS, **words: object) -> Ensemble:
    options = {"noise": 0.4, "radius": 0.5, "sides": (1.0, 1.2), "periodic": (True, False), **words}
    return Ensemble(observations, members, **options)


def run(amend: object, start: Tensor = START) -> Tensor:
    return rollout(point_model(2, 2), start, steps=5, amend=amend).frames


def test_of_a_linear_model_it_is_kalmans_filter() -> None:
    """In every frame, from the mean and the covariance of the members that it starts with."""
    n, steps, noise = 6, 8, 0.5
    matrix = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))[0] * 1.05
    start = torch.randn(15, 1, n, dtype=torch.float64)
    mask = torch.arange(n) % 3 == 0
    values = torch.randn(1, steps, 1, n, dtype=torch.float64)
    amend = Ensemble(Observations(mask, values, range(steps)), 15, noise, relaxation=0.0)
    frames = rollout(lambda u: u @ matrix.T, start, steps, amend=amend).frames
    h = torch.eye(n, dtype=torch.float64)[mask]
    mean, covariance = start[:, 0].mean(0), start[:, 0].T.cov()
    for step in range(steps):
        mean, covariance = matrix @ mean, matrix @ covariance @ matrix.T
        gain = covariance @ h.T @ torch.linalg.inv(h @ covariance @ h.T + noise**2 * torch.eye(2))
        mean = mean + gain @ (h @ values[0, step, 0] - h @ mean)
        covariance = covariance - gain @ h @ covariance
        found = frames[:, step, 0]
        torch.testing.assert_close(found.mean(0), mean, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.T.cov(), covariance, rtol=0, atol=1e-10)


def test_where_nothing_is_observed_nothing_changes() -> None:
    nowhere = torch.zeros(SHAPE, dtype=torch.bool)
    holes = torch.full_like(SEEN, torch.nan)  # what is off the mask is not read
    assert torch.equal(run(ensemble(Observations(nowhere, holes, FRAMES))), run(()))
    assert torch.equal(run(ensemble(Observations(~nowhere, SEEN, (7, 9)))), run(()))


def test_a_batch_equals_its_flows_and_the_order_of_members_does_not_matter() -> None:
    amend = [ModelError(ERRORS, MEMBERS), ensemble(Observations(MASK, SEEN, FRAMES))]
    together = run(amend)
    for flow in range(FLOWS):
        mine, rows = slice(flow, flow + 1), slice(flow * MEMBERS, (flow + 1) * MEMBERS)
        alone = run([amend[0], ensemble(Observations(MASK[mine], SEEN[mine], FRAMES))], START[rows])
        torch.testing.assert_close(together[rows], alone, rtol=0, atol=1e-12)
    order = torch.cat([flow * MEMBERS + torch.tensor([2, 0, 3, 1]) for flow in range(FLOWS)])
    torch.testing.assert_close(run(amend[1], START[order]), run(amend[1])[order], rtol=0, atol=1e-12)


def test_beyond_the_radius_nobody_listens() -> None:
    middle = torch.zeros(SHAPE, dtype=torch.bool)
    middle[2, 3] = True
    amend = ensemble(Observations(middle, SEEN[:, :1], [0]), radius=0.3)
    changed = amend.bind(START, GridDomain.of(START), 1)(0, START) - START
    x, y = torch.meshgrid(torch.arange(5) / 5, torch.linspace(0, 1.2, 6), indexing="ij")
    chord = torch.sin(torch.pi * (x - 0.4)) / torch.pi
    far = (chord.square() + (y - 0.72).square()).sqrt() > 0.3
    assert changed[..., far].abs().max() < 1e-14
    assert (changed[..., ~far].abs().amax((0, 1)) > 1e-6).all()


def test_a_field_that_nobody_observes_follows_the_one_that_is() -> None:
    twice = torch.cat([START[:, :1], 2 * START[:, :1] + 1], 1)
    first = torch.tensor([True, False]).reshape(1, 2, 1, 1)
    amend = ensemble(Observations(first, SEEN[:, :1], [0]))
    after = amend.bind(twice, GridDomain.of(twice), 1)(0, twice)
    assert (after - twice).abs().max() > 0.1
    torch.testing.assert_close(after[:, 1], 2 * after[:, 0] + 1, rtol=0, atol=1e-12)


def nodes(field: Tensor) -> Tensor:
    """Fields of grids as rows of graphs, time after the nodes where there is any."""
    channels = field.dim() - len(SHAPE) - 1
    return field.flatten(-2).movedim(-1, 1).flatten(0, 1) if channels else field.flatten(-2)


def test_grids_and_the_same_points_as_graphs_agree() -> None:
    ticks = [torch.arange(5).double() / 5, torch.linspace(0, 1.2, 6, dtype=torch.float64)]
    pos = torch.cartesian_prod(*ticks).repeat(len(START), 1)
    batch = torch.arange(len(START)).repeat_interleave(30)
    domain = GraphDomain.of(nodes(START), {"pos": pos, "batch": batch})
    errors = ERRORS.expand(FLOWS, *ERRORS.shape[1:])
    pairs = [
        (ModelError(errors, MEMBERS, 0.5, 3), ModelError(nodes(errors), MEMBERS, 0.5, 3)),
        (
            ensemble(Observations(MASK, SEEN, FRAMES)),
            ensemble(Observations(nodes(MASK), nodes(SEEN), FRAMES)),
        ),
    ]
    for on_grid, on_graph in pairs:
        wanted = on_grid.bind(START, GridDomain.of(START), 5)(1, START)
        found = on_graph.bind(nodes(START), domain, 5)(1, nodes(START))
        torch.testing.assert_close(found, nodes(wanted), rtol=0, atol=1e-12)
    frames = run(())
    for wanted, found in zip(moments(frames, MEMBERS), moments(nodes(frames), MEMBERS, batch), strict=True):
        torch.testing.assert_close(found, nodes(wanted), rtol=0, atol=1e-14)


def members_of(one: Data) -> list[Data]:
    """Copies of a graph that start apart."""
    generator = torch.Generator().manual_seed(len(one.x))
    apart = [torch.randn(one.x.shape, generator=generator).double() for _ in range(MEMBERS)]
    return [Data(x=one.x + x, pos=one.pos, edge_index=one.edge_index) for x in apart]


def test_on_graphs_neither_company_nor_the_order_of_nodes_matters() -> None:
    def corrected(flows: list[list[Data]], mask: Tensor, seen: Tensor) -> Tensor:
        amend = Ensemble(Observations(mask, seen, [0, 2]), MEMBERS, noise=0.3, radius=0.6)
        start = Batch.from_data_list([member for members in flows for member in members])
        run = rollout(lambda data: torch.tanh(1.3 * data.x), start, steps=3, amend=amend)
        return moments(run.frames, MEMBERS, start.batch)[0]

    flows = [members_of(graph(n, 2)) for n in SIZES]
    masks = [torch.rand(n, 2) < 0.5 for n in SIZES]
    seen = [torch.randn(n, 2, 2).double() for n in SIZES]
    together = corrected(flows, torch.cat(masks), torch.cat(seen)).split(SIZES)
    for members, mask, values, frames in zip(flows, masks, seen, together, strict=True):
        torch.testing.assert_close(corrected([members], mask, values), frames, rtol=0, atol=1e-12)
        order = torch.randperm(len(mask))
        places = order.argsort()
        shuffled = [
            Data(x=one.x[order], pos=one.pos[order], edge_index=places[one.edge_index]) for one in members
        ]
        found = corrected([shuffled], mask[order], values[order])
        torch.testing.assert_close(found, frames[order], rtol=0, atol=1e-12)


def test_a_member_that_blows_up_leaves_and_the_others_go_on_without_it() -> None:
    def model(u: Tensor) -> Tensor:
        return torch.where(u > 50, torch.inf, torch.tanh(1.2 * u))

    start = START[:MEMBERS].clone()
    start[2, 0, 0, 0] = 100.0
    amend = ensemble(Observations(MASK[:1], SEEN[:1], FRAMES))
    whole = rollout(model, start, 5, amend=amend)
    others = ensemble(Observations(MASK[:1], SEEN[:1], FRAMES), members=3)
    without = rollout(model, start[[0, 1, 3]], 5, amend=others)
    assert whole.lasted.tolist() == [5, 5, 0, 5]
    torch.testing.assert_close(whole.frames[[0, 1, 3]], without.frames, rtol=0, atol=1e-13)
    for found, wanted in zip(moments(whole.frames, 4), moments(without.frames, 3), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-13)


def test_moments_are_mean_and_standard_deviation_over_the_members() -> None:
    mean, spread = moments(START[:, None], MEMBERS)
    for flow, members in enumerate(START.split(MEMBERS)):
        torch.testing.assert_close(mean[flow, 0], members.mean(0), rtol=0, atol=1e-14)
        torch.testing.assert_close(spread[flow, 0], members.std(0), rtol=0, atol=1e-14)


def test_model_errors_are_the_examples_and_move_no_mean() -> None:
    kick = ModelError(ERRORS, MEMBERS, scale=2.0, seed=5).bind(START, GridDomain.of(START), 9)
    kicks = (kick(7, START) - START).unflatten(0, (FLOWS, MEMBERS))
    torch.testing.assert_close(kicks.mean(1), torch.zeros_like(kicks[:, 0]), rtol=0, atol=1e-14)
    apart = kicks[0, 1:] - kicks[0, :1]  # of two members: of two examples
    examples = 2 * (ERRORS[0][:, None] - ERRORS[0]).flatten(0, 1)
    assert torch.cdist(apart.flatten(1), examples.flatten(1)).amin(1).max() < 1e-6
    assert torch.equal(kick(7, START), kick(7, START))  # whoever continues a rollout finds the same
    assert not torch.equal(kick(7, START), kick(8, START))


def test_an_ensemble_follows_chaos_and_knows_how_well() -> None:
    """Coupled logistic maps and a model of them that is a little wrong; a third of the points observed."""

    def maps(u: Tensor, rate: float) -> Tensor:
        local = rate * u * (1 - u)
        return 0.4 * local + 0.3 * (local.roll(1, -1) + local.roll(-1, -1))

    def model(u: Tensor) -> Tensor:
        return maps(u, 3.75).clamp(0, 1)

    members, steps = 40, 60
    truth = rollout(lambda u: maps(u, 3.76), torch.rand(4, 1, 24, dtype=torch.float64), steps + 1).frames
    values = truth[:, 1:] + 0.02 * torch.randn(4, steps, 1, 24)
    seen = Observations(torch.arange(24) % 3 == 0, values, range(steps))
    errors = (truth[:, 1:] - model(truth[:, :-1].flatten(0, 1)).unflatten(0, (4, steps)))[:1]
    model_error = ModelError(errors, members, scale=2.0)
    start = truth[:, 0].repeat_interleave(members, 0)
    start = start + 0.02 * torch.randn(start.shape).double()
    kalman = Ensemble(seen, members, noise=0.02, radius=8.0, sides=24.0, periodic=True)
    wrong, spreads = [], []
    for amend in ([model_error], [model_error, kalman]):
        mean, spread = moments(rollout(model, start, steps, amend=amend).frames, members)
        wrong.append((mean - truth[:, 1:])[:, 20:].square().mean().sqrt())
        spreads.append(spread[:, 20:].square().mean().sqrt())
    assert wrong[1] < 0.5 * wrong[0]
    assert 0.5 < spreads[1] / wrong[1] < 2


WIDE = torch.ones(SHAPE, dtype=torch.bool)
OBSERVED = Observations(WIDE, SEEN, FRAMES)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ensemble(OBSERVED, members=1), "members >= 2, got 1"),
        (lambda: ensemble(OBSERVED, noise=0.0), "noise > 0, got 0.0"),
        (lambda: ensemble(OBSERVED, radius=0.0), "radius > 0, got 0.0"),
        (lambda: ensemble(OBSERVED, relaxation=1.5), "0 <= relaxation <= 1, got 1.5"),
        (lambda: run(ensemble(OBSERVED, members=5)), "5 members of each flow, got 12 samples"),
        (lambda: run(ensemble(OBSERVED, members=6)), "observed values of shape"),
        (
            lambda: rollout(
                point_model(2, 2), START.clone().requires_grad_(), 5, grad=True, amend=ensemble(OBSERVED)
            ),
            "no gradients through an Ensemble, got grad=True",
        ),
        (lambda: ModelError(ERRORS, MEMBERS, scale=0.0), "scale > 0, got 0.0"),
        (lambda: ModelError(ERRORS / 0, MEMBERS), "finite errors, got NaN or inf"),
        (lambda: run(ModelError(ERRORS[0], MEMBERS)), r"model errors of shape \(B, E, C, ...\)"),
        (lambda: run(ModelError(ERRORS[:, :, [0, 0, 0]], MEMBERS)), "model errors of 2 channels, got 3"),
        (lambda: run(ModelError(ERRORS[..., :4], MEMBERS)), "model errors of shape"),
        (lambda: moments(START, 0), "members >= 2, got 0"),
        (
            lambda: moments(torch.zeros(5, 1, 1), 2, torch.tensor([0, 0, 0, 1, 1])),
            r"members of a flow on one mesh, got \[\[3, 2\]\] nodes",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^expected {words}"):
        make()


def test_too_many_values_for_a_dense_solve() -> None:
    field, mask = torch.zeros(2, 1, 5000), torch.ones(5000, dtype=torch.bool)
    amend = Ensemble(Observations(mask, field[:1, None], [0]), members=2, noise=0.1)
    with pytest.raises(ValueError, match=r"^expected at most 4096 observed values a sample, got 5000"):
        amend.bind(field, GridDomain.of(field), 1)
