"""Networks on points: each family as it is called, law 3, law 7, law 13, padding to the bit, query points."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from point_networks import (
    FAMILIES,
    MESHGRAPH,
    RIGNO,
    SIZES,
    B,
    D,
    Masked,
    Mixing,
    N,
    NeuralSolverLibrary,
    PhysicsNemoTransolver,
    call,
    refiner,
)
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import Bands, IterativeRefiner, PointOperator


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def at(sample: dict[str, Tensor], family: str, rows: Any) -> dict[str, Tensor]:
    """A call with other fields and coordinates: those that ``rows`` makes of them."""
    names = FAMILIES[family][1]
    own = (names["fields"], names["pos"])
    return {name: rows(part) if name in own else part for name, part in sample.items()}


@pytest.mark.parametrize("correction", [MESHGRAPH, RIGNO, "pyg:GraphSAGE"], ids=str)
def test_an_untrained_refiner_is_the_base(family: str, correction: Any) -> None:
    kind, names, _ = FAMILIES[family]
    net = kind(3 + D).double()
    model = IterativeRefiner(PointOperator(net, **names), correction, **SIZES).double().eval()
    for sample in (call(family), call(family, 1), call(family, shared=family == "GAOT")):
        answer = net(**sample)
        assert torch.equal(model(**sample), answer)
        assert torch.equal(model.solve(**sample, rtol=1e-3).value, answer)
        in_order = inspect.signature(net.forward).bind(**sample).args
        assert torch.equal(model(*in_order), answer)


def test_a_batch_equals_a_loop_and_permuting_the_points_permutes_the_answer(family: str) -> None:
    model, sample = refiner(family), call(family)
    together = model(**sample)
    assert not torch.allclose(together, model.base(**sample))
    for row in range(B):
        alone = model(**at(sample, family, lambda part, row=row: part[row : row + 1]))
        torch.testing.assert_close(alone[0], together[row])
    order = torch.randperm(N)
    torch.testing.assert_close(model(**at(sample, family, lambda part: part[:, order])), together[:, order])


@pytest.mark.parametrize("solver", ["picard", "anderson"])
def test_forward_solve_and_iterates_are_one(family: str, solver: str) -> None:
    model, sample = refiner(family, solver=solver), call(family)
    answer = model(**sample)
    assert torch.equal(model.solve(**sample, steps=2).value, answer)
    assert torch.equal(model.iterates(**sample)[2], answer)


def test_coordinates_that_all_samples_share_are_those_of_each() -> None:
    family = "GAOT"
    model, sample = refiner(family), call(family, shared=True)
    each = {**sample, "xcoord": sample["xcoord"].expand(B, N, D)}
    assert torch.equal(model(**sample), model(**each))


@pytest.mark.parametrize("correction", [MESHGRAPH, RIGNO], ids=str)
def test_padding_changes_nothing_to_the_bit_and_is_answered_by_the_base(correction: Any) -> None:
    model, sample, counts = refiner("with a mask", correction), call("with a mask"), (N, 14, 17)
    mask = torch.stack([torch.arange(N) < count for count in counts])[:, torch.randperm(N)]
    outside = ~mask[..., None]
    other = {name: torch.where(outside, part.flip(0) * 5, part) for name, part in sample.items()}
    once, again = model(**sample, mask=mask), model(**other, mask=mask)
    assert torch.equal(once[mask], again[mask])
    assert torch.equal(again[~mask], model.base(**other, mask=mask)[~mask])
    for row in range(B):
        alone = model(**{name: part[row : row + 1, mask[row]] for name, part in sample.items()})
        torch.testing.assert_close(alone[0], once[row, mask[row]])
    nothing = {name: torch.where(outside, torch.nan, part) for name, part in sample.items()}
    y = torch.where(outside, torch.nan, torch.zeros(B, N, 2, dtype=torch.float64))
    trajectory = model.train()(**nothing, mask=mask, y=y)
    assert trajectory.last.shape == (sum(counts), 2)
    start = model.eval()(**nothing, mask=mask)  # as a trainer takes it, NaN outside
    assert model(**nothing, mask=mask, start=start)[mask].isfinite().all()
    with pytest.raises(ValueError, match="expected start to be finite"):
        model(**nothing, mask=mask, start=torch.full_like(start, torch.nan))


def test_padding_has_no_band_whatever_the_base_answers_there() -> None:
    model, sample = refiner("with a mask"), call("with a mask")
    mask = torch.stack([torch.arange(N) < count for count in (N, 14, 17)])
    model.bands = Bands("local", 2.0, share=0.8, coverage=0.9, samples=20)
    for outside in (1.0, torch.nan):
        padded = {name: torch.where(mask[..., None], part, outside) for name, part in sample.items()}
        band = model.solve(**padded, mask=mask).error_band
        assert torch.equal(band.isnan(), ~mask[..., None].expand(band.shape))
        assert band[mask].isfinite().all()


def test_the_answer_is_at_the_query_points_and_x_is_interpolated_to_them() -> None:
    model, sample = refiner("GAOT"), call("GAOT")
    queries = torch.cat([sample["xcoord"][:, 3:5], torch.rand(B, 6, D).double()], 1)
    problem = model.problem((), {**sample, "query_coord": queries})
    assert model(**sample, query_coord=queries).shape == (B, 8, 2)
    assert torch.equal(problem.x.unflatten(0, (B, 8))[:, :2], sample["pndata"][:, 3:5])
    same = model(**sample, query_coord=sample["xcoord"])
    assert torch.equal(same, model(**sample, query_coord=sample["xcoord"].clone()))
    order = torch.randperm(8)
    moved = model(**sample, query_coord=queries[:, order])
    torch.testing.assert_close(moved, model(**sample, query_coord=queries)[:, order])


def test_several_fields_are_joined_and_coordinates_may_be_a_field() -> None:
    class TwoFields(Mixing):
        def forward(self, points, u, v):
            return self.mixed(torch.cat([points, u, v], -1))

    base = PointOperator(TwoFields(D + 3), fields=("v", "u", "points"), pos="points")
    model = IterativeRefiner(base, MESHGRAPH, in_channels=3 + D, out_channels=2).eval()
    points, u, v = torch.rand(B, N, D), torch.randn(B, N, 2), torch.randn(B, N, 1)
    assert torch.equal(model.problem((points, u, v), {}).x, torch.cat([v, u, points], -1).flatten(0, 1))


def test_a_periodic_box_joins_points_across_its_seam() -> None:
    def nothing(fx, x):
        return fx

    torus = PointOperator(nothing, fields="fx", pos="x", period=(1.0, None))
    ticks = torch.arange(8.0) / 8
    pos = torch.cartesian_prod(ticks, ticks)
    edges = torus.problem((torch.zeros(1, 64, 1), pos), {}).domain.edges.index
    joined = {(a, b) for a, b in edges.T.tolist()}
    assert (0, 56) in joined  # neighbours along the first axis
    assert (0, 7) not in joined  # the two ends of the second


def test_graphs_of_any_sizes_are_the_samples_one_by_one() -> None:
    sizes = (9, 13, 9)
    graphs = [Data(x=torch.randn(n, 3).double(), pos=torch.rand(n, D).double()) for n in sizes]
    batch = Batch.from_data_list(graphs)
    for name in ("Neural-Solver-Library", "with a mask"):
        model = refiner(name)
        together = model(batch)
        fields, pos = FAMILIES[name][1]["fields"], FAMILIES[name][1]["pos"]
        for i, graph in enumerate(graphs):
            torch.testing.assert_close(model(graph), together[batch.batch == i])
            dense = model(**{fields: graph.x[None], pos: graph.pos[None]})
            torch.testing.assert_close(dense[0], model(graph))
        torch.testing.assert_close(model(x=batch.x, pos=batch.pos, batch=batch.batch), together)
        order = torch.randperm(sum(sizes))
        parts = {"x": batch.x[order], "pos": batch.pos[order], "batch": batch.batch[order]}
        torch.testing.assert_close(model(**parts), together[order])


FX, X = torch.randn(B, N, 3), torch.rand(B, N, D)
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a field that is no argument": (
        lambda: PointOperator(NeuralSolverLibrary(5), fields="f", pos="x"),
        "an argument of NeuralSolverLibrary, got 'f'",
    ),
    "no field": (
        lambda: PointOperator(NeuralSolverLibrary(5), fields=(), pos="x"),
        "at least one field, got none",
    ),
    "no coordinates": (lambda: wrong()(fx=FX), "the argument x as a tensor, got"),
    "channels first": (lambda: wrong()(X, FX.mT), rf"fx of shape \(B, {N}, C\), .* got \({B}, 3, {N}\)"),
    "no channels": (lambda: wrong()(X, FX[..., 0]), rf"fx of shape \(B, {N}, C\), .* got \({B}, {N}\)"),
    "another batch": (lambda: wrong()(X, FX[:2]), f"coordinates and fields of {B} samples, got 2"),
    "whole numbers as coordinates": (lambda: wrong()(X.long(), FX), "pos in floating point, got torch.int64"),
    "an answer per sample": (
        lambda: wrong(lambda x, fx: fx.mean(1))(X, FX),
        rf"an answer of shape \({B}, {N}, C\), .* got \({B}, 3\)",
    ),
    "a mask of numbers": (
        lambda: wrong()(X, FX, mask=FX[..., 0]),
        rf"mask of shape \({B}, {N}\), True at points",
    ),
    "a mask with channels": (
        lambda: wrong()(X, FX, mask=FX > 0),
        rf"mask of shape \({B}, {N}\), True at points",
    ),
    "a mask that the adapter does not name": (
        lambda: IterativeRefiner(PointOperator(Masked(5), "u", "pos"), MESHGRAPH, **SIZES)(
            X, FX, mask=torch.ones(B, N, dtype=torch.bool)
        ),
        "a mask that the adapter knows by name, got an argument mask",
    ),
    "padding alone": (lambda: wrong()(X, FX, mask=torch.zeros(B, N)), "at least one node in every graph"),
    "a measure of others": (lambda: wrong()(X, FX, measure=torch.ones(7)), r"measure of shape"),
    "an argument of nobody": (lambda: wrong()(X, FX, tau=1.0), "an argument of forward, got 'tau'"),
}


def wrong(net: Any = None) -> IterativeRefiner:
    base = PointOperator(net or NeuralSolverLibrary(5), fields="fx", pos="x", mask="mask")
    return IterativeRefiner(base, MESHGRAPH, in_channels=3, out_channels=2).eval()


@pytest.mark.parametrize(("attempt", "reason"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_read_is_refused_by_name(attempt: Callable[[], Any], reason: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^expected .*{reason}.*; try "):
        attempt()


def test_points_are_no_line_unless_a_layout_says_so() -> None:
    net = nn.Sequential(nn.Linear(3, N), nn.GELU(), nn.Linear(N, 2))  # as many channels as points
    words = {"name": "unet", "dim": 1, "width": 4, "depth": 1}
    with pytest.raises(
        ValueError, match=rf"on a set of {N} points, .*; try irno.PointOperator\(base, .*a graph"
    ):
        IterativeRefiner(net, words, channels="last", **SIZES)(FX)
    with pytest.raises(ValueError, match=rf"on a set of {N} points, .*; try irno.PointOperator"):
        # of embeddings with more channels than coordinates have, in the channels that an error may propose
        IterativeRefiner(PhysicsNemoTransolver(9, 1), words, in_channels=N, out_channels=N)(
            torch.randn(2, N, 1), torch.randn(2, N, 8)
        )
    line = IterativeRefiner(net, words, layout="B L C", **SIZES).eval()
    assert torch.equal(line(FX), net(FX))
    with pytest.raises(ValueError, match=rf"on a set of {N} points, .*; try irno.PointOperator"):
        IterativeRefiner(NeuralSolverLibrary(5), words, **SIZES)(X, FX)


def test_a_mask_may_be_a_condition_of_a_network_that_takes_none() -> None:
    mask = torch.arange(N)[None] < torch.tensor([[N], [9], [14]])
    base = PointOperator(NeuralSolverLibrary(5), fields="fx", pos="x")
    model = IterativeRefiner(base, MESHGRAPH, condition=("mask",), channels="last", **SIZES).eval()
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.3)
    answer, start = model(X, FX, mask=mask), base(X, FX)
    assert torch.equal(answer[~mask], start[~mask])
    assert not torch.allclose(answer[mask], start[mask])
