"""Networks on points: each family as it is called, law 3, law 7, law 13, padding to the bit, query points."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import IterativeRefiner, PointOperator, Recipe, Trainer
from neuralop_irno.metrics import vrmse
from neuralop_irno.training.evaluation import scores_of_solutions, scores_per_step

B, N, D = 3, 20, 2


class Mixing(nn.Module):
    """A network of points and their mean: permutations of the points permute the answer."""

    def __init__(self, inputs: int, outputs: int = 2) -> None:
        super().__init__()
        self.own, self.mean = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def mixed(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        weight = torch.ones_like(values[..., :1]) if mask is None else mask[..., None].to(values)
        mean = (torch.where(weight > 0, values, 0)).sum(-2, keepdim=True) / weight.sum(-2, keepdim=True)
        return torch.tanh(self.own(values) + self.mean(mean))


class NeuralSolverLibrary(Mixing):
    """Signature of all 19 models of thuml/Neural-Solver-Library (models/Transolver.py): x are coordinates."""

    def forward(self, x, fx, T=None, geo=None):  # noqa: N803 - as there
        return self.mixed(torch.cat([x, fx], -1))


class PhysicsNemoTransolver(Mixing):
    """Signature of Transolver and FLARE of NVIDIA/physicsnemo (models/transolver/transolver.py)."""

    def forward(self, fx, embedding=None, time=None):
        return self.mixed(torch.cat([embedding, fx], -1))


class GeoTransolver(Mixing):
    """Signature of NVIDIA/physicsnemo's (models/geotransolver/geotransolver.py), for one input stream."""

    def forward(
        self,
        local_embedding,
        local_positions=None,
        global_embedding=None,
        geometry=None,
        time=None,
        *,
        return_embedding_states=False,
        return_point_features=False,
    ):
        return self.mixed(torch.cat([local_positions, local_embedding], -1))


class GAOT(Mixing):
    """Signature of camlab-ethz/GAOT (src/model/gaot.py)."""

    def forward(
        self,
        latent_tokens_coord,
        xcoord,
        pndata,
        query_coord=None,
        encoder_nbrs=None,
        decoder_nbrs=None,
        condition=None,
    ):
        answer = self.mixed(torch.cat([xcoord.expand(len(pndata), -1, -1), pndata], -1))
        if query_coord is None:
            return answer
        return torch.tanh(query_coord @ latent_tokens_coord.T[:, :2]) + answer.mean(1, keepdim=True)


class Masked(Mixing):
    """A network that is given a mask of its points."""

    def forward(self, pos, u, mask=None):
        return self.mixed(torch.cat([pos, u], -1), mask)


FAMILIES: dict[str, tuple[Callable[..., nn.Module], dict[str, Any], dict[str, Tensor]]] = {
    "Neural-Solver-Library": (NeuralSolverLibrary, {"fields": "fx", "pos": "x"}, {}),
    "physicsnemo": (PhysicsNemoTransolver, {"fields": "fx", "pos": "embedding"}, {}),
    "GeoTransolver": (GeoTransolver, {"fields": "local_embedding", "pos": "local_positions"}, {}),
    "GAOT": (
        GAOT,
        {"fields": "pndata", "pos": "xcoord", "queries": "query_coord"},
        {"latent_tokens_coord": torch.rand(4, D)},
    ),
    "with a mask": (Masked, {"fields": "u", "pos": "pos", "mask": "mask"}, {}),
}
SIZES = {"in_channels": 3, "out_channels": 2}
MESHGRAPH = {"name": "meshgraph", "width": 8, "steps": 1}
RIGNO = {"name": "rigno", "width": 8, "steps": 1, "levels": 1, "subsample": 2.0}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def refiner(family: str, correction: Any = MESHGRAPH, **options: Any) -> IterativeRefiner:
    """A refiner around a family in double precision, with an update that is not zero."""
    kind, names, _ = FAMILIES[family]
    torch.manual_seed(0)
    base = PointOperator(kind(3 + D), **names)
    model = IterativeRefiner(base, correction, **{"steps": 2, "alpha": 0.5, **SIZES, **options}).double()
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def call(family: str, samples: int = B, shared: bool = False) -> dict[str, Tensor]:
    """The arguments of a call, by the names of the family."""
    _, names, others = FAMILIES[family]
    pos = torch.rand(N, D) if shared else torch.rand(samples, N, D)
    parts = {names["fields"]: torch.randn(samples, N, 3), names["pos"]: pos, **others}
    return {name: part.double() for name, part in parts.items()}


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


def data(family: str, samples: int = 4) -> list[dict[str, Tensor]]:
    """Samples with the names of a family, of which one is padded where it takes a mask."""
    sample, own = call(family, samples), FAMILIES[family][1]
    y, mask = torch.randn(samples, N, 2), torch.ones(samples, N, dtype=torch.bool)
    mask[1, 12:], y[1, 12:] = False, torch.nan
    if "mask" not in own:
        y = y.nan_to_num()
    return [
        {
            **{name: (part[row] if name in own.values() else part).float() for name, part in sample.items()},
            **({"mask": mask[row]} if "mask" in own else {}),
            "y": y[row],
        }
        for row in range(samples)
    ]


@pytest.mark.parametrize("correction", [MESHGRAPH, RIGNO], ids=str)
def test_each_family_is_trained_scored_saved_and_read_back(
    family: str, correction: Any, tmp_path: Path
) -> None:
    kind, names, others = FAMILIES[family]
    net, samples = kind(3 + D), data(family)
    if others:  # points that all samples share belong to the base
        shared = {name: part.float() for name, part in others.items()}
        samples = [{k: v for k, v in sample.items() if k not in shared} for sample in samples]
        net = WithShared(net, shared)
    model = IterativeRefiner(PointOperator(net, **names), correction, steps=2, **SIZES)
    frozen = {name: weight.clone() for name, weight in net.state_dict().items()}
    recipe = Recipe(epochs=1, batch_size=2, precision="float32")
    history = Trainer(model, recipe, show=False).fit(samples, samples)
    assert history[-1]["update"] == 2
    assert all(torch.equal(weight, frozen[name]) for name, weight in net.state_dict().items())
    assert model.correction.state_dict()
    path = model.save(tmp_path / "model.safetensors")
    json.dumps(model.config)
    with pytest.raises(ValueError, match=rf"with a {type(net).__name__} that was given as an object"):
        IterativeRefiner.from_checkpoint(path)
    again = IterativeRefiner.from_checkpoint(path, base=PointOperator(net, **names))
    assert torch.equal(scores_per_step(again, samples), scores_per_step(model, samples))
    assert scores_per_step(model, samples).mean(1).tolist() == pytest.approx(history[-1]["valid"])


class WithShared(nn.Module):
    """A network with arguments that are the same in every call."""

    def __init__(self, net: nn.Module, shared: dict[str, Tensor]) -> None:
        super().__init__()
        self.net, self.shared = net, shared

    def forward(self, xcoord, pndata, query_coord=None):
        return self.net(**self.shared, xcoord=xcoord, pndata=pndata, query_coord=query_coord)


def test_scores_are_those_of_the_points_that_are_not_padding() -> None:
    model, samples = refiner("with a mask").float(), data("with a mask")
    sample = {name: part[None] for name, part in samples[1].items()}
    y, inside = sample.pop("y"), sample["mask"][0]
    short = {name: part[:, inside] for name, part in sample.items() if name != "mask"}
    by_hand = vrmse(model(**short)[0].T[None], y[0, inside].T[None]).mean()
    torch.testing.assert_close(scores_per_step(model, samples)[-1, 1], by_hand.detach())
    solved = scores_of_solutions(model, samples)
    torch.testing.assert_close(solved.scores[1], by_hand.detach())


def test_a_base_alone_is_trained_and_scored_by_points_too() -> None:
    net, samples = Masked(3 + D), data("with a mask")
    base = PointOperator(net, **FAMILIES["with a mask"][1], frozen=False)
    before = net.own.weight.clone()
    Trainer(base, Recipe(epochs=1, batch_size=2, precision="float32"), show=False).fit(samples, samples)
    assert not torch.equal(net.own.weight, before)
    trainer = Trainer(IterativeRefiner(base, MESHGRAPH, **SIZES), Recipe(resolutions=[1, 2]), show=False)
    with pytest.raises(ValueError, match=r"one grid for resolutions, got sets of points; try resolutions="):
        trainer.fit(samples)
