"""Published operators, by their signatures: wrapped in three lines, trained, saved, read back, rolled out."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import wraps
from neuralop.models import FNO, UQNO
from operators import (
    RNO,
    Aurora,
    AViT,
    DiT,
    DPOTNet,
    IsotropicModel,
    Masked,
    MeshGraphNet,
    Metadata,
    PDETransformer,
    ScOT,
    TwoInputs,
    Weather,
    WellMetadata,
)
from point_networks import GAOT, OTNO, DoMINO, NeuralSolverLibrary, PhysicsNemoTransolver
from torch import Tensor, nn
from torch.utils.data import default_collate
from torch_geometric.data import Batch, Data

from neuralop_irno import Clock, IterativeRefiner, Recipe, Trainer, TupleOperator, Window, rollout

N, IMAGE = 12, (1, 8, 9)
"""The number of points, and the shape of a field."""


def weather(net: nn.Module, call: Mapping[str, Any]) -> Tensor:
    """Aurora's answer to the fields of a call, on channels: its two surface fields and one on two levels."""
    x, times = call["x"], tuple(wraps.START + timedelta(hours=hour) for hour in call["t"].tolist())
    surface = {"2t": x[:, :, 0], "msl": x[:, :, 1]}
    batch = Weather(surface, wraps.STATIC, {"t": x[:, :, 2:]}, Metadata(*wraps.PLACES, times, wraps.LEVELS))
    answer = net(batch)
    assert answer.metadata.time[0] - times[0] == timedelta(hours=6)
    fields = (answer.surf_vars["2t"], answer.surf_vars["msl"], *answer.atmos_vars["t"].unbind(2))
    return torch.stack(fields, 2)


def by_name(net: nn.Module, call: Mapping[str, Any]) -> Any:
    return net(**call)


@dataclass
class Case:
    """One of the calls.

    Attributes:
        base: builds the published operator.
        wrap: its refiner, as a user writes it.
        sample: a sample of a data set, without y.
        state: the argument that a rollout replaces; None for an operator that does not step in time.
        published: the operator's own answer to a call.
        options: of a rollout.
    """

    base: Callable[[], nn.Module]
    wrap: Callable[[Any], IterativeRefiner]
    sample: Callable[[], Any]
    state: str | None
    published: Callable[[nn.Module, Mapping[str, Any]], Any] = by_name
    options: dict[str, Any] = field(default_factory=dict)


def shaped(**shapes: tuple[int, ...]) -> Callable[[], dict[str, Tensor]]:
    """Samples of random numbers of these shapes."""
    return lambda: {name: torch.randn(shape) for name, shape in shapes.items()}


def in_domain() -> dict[str, Tensor]:
    return {"x": torch.randn(1, 8, 9), "mask": torch.rand(8, 9) < 0.7}


def simulation() -> dict[str, Tensor]:
    return {"x": torch.randn(3, *IMAGE), "state_labels": torch.ones(1), "bcs": torch.zeros(2, 2)}


def transport() -> dict[str, Tensor]:
    points = {"normals": torch.randn(N, 3), "pos": torch.rand(N, 2)}
    return {"x": torch.randn(4, 5, 5), "ind_dec": torch.randint(25, (N,)), **points}


def car() -> dict[str, Tensor]:
    surface = {"surface_mesh_centers": torch.rand(N, 3), "surface_normals": torch.randn(N, 3)}
    return {**surface, "volume_mesh_centers": torch.rand(9, 3), "pos_volume_closest": torch.randn(9, 3)}


def mesh() -> Data:
    near = torch.cdist(pos := torch.rand(N, 2), pos) < 0.5
    edges = (near & ~torch.eye(N, dtype=torch.bool)).nonzero().T
    return Data(x=torch.randn(N, 2), pos=pos, edge_index=edges, edge_attr=torch.randn(edges.shape[1], 2))


def of_a_graph(net: nn.Module, call: Mapping[str, Any]) -> Tensor:
    return net(call["x"], call["edge_attr"], Data(**call))


IN_TIME = {"window": Window(inputs=3)}
CASES = {
    "Poseidon": Case(ScOT, wraps.poseidon, shaped(pixel_values=IMAGE, time=()), "pixel_values"),
    "Poseidon's tuple": Case(
        ScOT, wraps.poseidon_tuple, shaped(pixel_values=IMAGE, time=()), "pixel_values",
        lambda net, call: net(**call, return_dict=False),
    ),
    "PDE-Transformer": Case(
        PDETransformer, wraps.pde_transformer, shaped(hidden_states=IMAGE), "hidden_states"
    ),
    "PDE-Transformer's tuple": Case(
        lambda: PDETransformer(return_dict=False), wraps.plain, shaped(hidden_states=IMAGE), "hidden_states"
    ),
    "DPOT": Case(DPOTNet, wraps.dpot, shaped(x=(8, 9, 3, 1)), "x", options=IN_TIME),
    "MPP": Case(AViT, wraps.mpp, simulation, "x", options=IN_TIME),
    "Walrus": Case(
        IsotropicModel, wraps.walrus, shaped(x=(3, *IMAGE)), "x",
        lambda net, call: net(call["x"], torch.ones(1), torch.zeros(2, 2), WellMetadata()), IN_TIME,
    ),
    "RNO": Case(RNO, wraps.rno, shaped(x=(3, *IMAGE)), "x", options=IN_TIME),
    "DiT": Case(
        DiT, wraps.dit, shaped(x=IMAGE, t=()), "x", options={"clock": Clock(torch.tensor([0.1, 0.7]), 0.2)}
    ),
    "UQNO": Case(lambda: UQNO(FNO((2, 2), 1, 1, 4, n_layers=1)), wraps.plain, shaped(x=IMAGE), "x"),
    "a masked base": Case(Masked, wraps.masked, in_domain, "x"),
    "a base of two inputs": Case(TwoInputs, wraps.two_inputs, shaped(u=IMAGE, v=IMAGE), "u"),
    "Neural-Solver-Library": Case(
        lambda: NeuralSolverLibrary(4), wraps.neural_solver_library, shaped(x=(N, 2), fx=(N, 2)), "fx"
    ),
    "PhysicsNeMo's Transolver": Case(
        lambda: PhysicsNemoTransolver(4), wraps.physicsnemo_transolver,
        shaped(embedding=(N, 2), fx=(N, 2)), "fx",
    ),
    "GAOT": Case(
        lambda: GAOT(4), wraps.gaot, shaped(xcoord=(N, 2), pndata=(N, 2)), "pndata",
        lambda net, call: net(torch.linspace(0, 1, 8).reshape(4, 2), **call),
    ),
    "MeshGraphNet": Case(lambda: MeshGraphNet(2, 2), wraps.meshgraphnet, mesh, "x", of_a_graph),
    "OTNO": Case(
        OTNO, wraps.otno, transport, None,
        lambda net, call: torch.stack([net(call["x"][i : i + 1], call["ind_dec"][i]).T for i in range(2)]),
    ),
    "DoMINO": Case(lambda: DoMINO(6), wraps.domino, car, None, lambda net, call: net(dict(call))),
    "Aurora": Case(
        Aurora, wraps.aurora, shaped(x=(2, 4, 8, 9), t=()), "x", weather,
        {"window": Window(inputs=2), "clock": Clock(torch.tensor([0.0, 6.0]), 6.0)},
    ),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def call_of(model: IterativeRefiner, samples: list[Any]) -> dict[str, Any]:
    """A batch of samples as the arguments of a call."""
    if isinstance(samples[0], Data):
        parts = Batch.from_data_list(samples).to_dict()
        return {name: part for name, part in parts.items() if name not in ("ptr", "y")}
    batch = model.base.from_batch(default_collate(samples))
    return {name: part for name, part in batch.items() if name != "y"}


def parts(answer: Any) -> Iterator[Tensor]:
    """All tensors of an answer, in order."""
    if isinstance(answer, Tensor):
        yield answer
    else:
        for value in answer.values() if isinstance(answer, dict) else answer:
            yield from parts(value)


def same(answer: Any, other: Any) -> bool:
    """Whether two answers are of one type, with the same tensors to the bit."""
    pairs = zip(parts(answer), parts(other), strict=True)
    return type(answer) is type(other) and all(torch.equal(one, two) for one, two in pairs)


def rows(model: IterativeRefiner, answer: Any, place: int) -> tuple[Tensor, ...]:
    """The fields of one sample of a batch, as a data set has them."""
    if isinstance(model.base, TupleOperator):
        return tuple(field[place] for field in model.base.fields_of(answer))
    field = model.base.field_of(answer)
    if model.base.ON_GRID or field.dim() > 2:
        return (field.select(model.base.layout.answer.axis("B") or 0, place),)
    return (field[place * N : (place + 1) * N],)


@torch.no_grad()
def with_truth(model: IterativeRefiner, sample: Any) -> Any:
    """The sample with a y that is 1 above the answer of the base; NaN outside of a mask."""
    y, *others = (field + 1 for field in rows(model, model.base(**call_of(model, [sample])), 0))
    if isinstance(sample, Data):
        return Data(**sample.to_dict(), y=y)
    if "mask" in sample:
        y = torch.where(sample["mask"], y, torch.nan)
    return {**sample, "y": (y, *others) if others else y}


@torch.no_grad()
def error(model: IterativeRefiner, answer: Any, data: list[Any]) -> float:
    """The distance of a batch of answers to y, where y is known."""
    distances = []
    for place, sample in enumerate(data):
        y = sample["y"] if isinstance(sample["y"], tuple) else (sample["y"],)
        distances += [
            (h - truth).abs().nanmean() for h, truth in zip(rows(model, answer, place), y, strict=True)
        ]
    return float(torch.stack(distances).mean())


def test_a_wrap_is_three_lines_and_for_aurora_twenty() -> None:
    for case in CASES.values():
        body = [line for line in inspect.getsource(case.wrap).splitlines()[1:] if line]
        assert len(body) <= (20 if case.base is Aurora else 3)


def test_untrained_it_returns_the_answer_of_the_base_and_its_container(case: Case) -> None:
    net = case.base()
    model = case.wrap(net).eval()
    call = call_of(model, [case.sample() for _ in range(2)])
    answer = case.published(net, call)
    for found in (model(**call), model.solve(**call).value, model.iterates(**call)[-1]):
        assert same(found, answer)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_without_its_options_it_is_refused_or_read_as_with_them(case: Case, dim: int) -> None:
    """Also in the channels that the errors propose."""
    net = case.base()
    model = case.wrap(net)
    call = call_of(model, [case.sample() for _ in range(2)])
    start, sizes = model.problem((), call).start, {"in_channels": 1, "out_channels": 1}
    for _ in range(4):
        try:
            found = IterativeRefiner(net, {**wraps.UNET, "dim": dim}, **sizes).problem((), call)
        except (ValueError, TypeError, AttributeError) as error:
            proposed = re.findall(r"(\w+_channels)=(\d+)", str(error).split("; try ")[-1])
            sizes |= {name: int(number) for name, number in proposed}
            continue
        assert torch.equal(found.start, start)
        return


def test_it_is_trained_saved_read_back_and_rolled_out(case: Case, tmp_path: Path) -> None:
    net = case.base()
    model = case.wrap(net)
    data = [with_truth(model, case.sample()) for _ in range(4)]
    history = Trainer(model, Recipe(epochs=10, batch_size=2, learning_rate=1e-2), show=False).fit(data)
    assert history[-1]["update"] == 20
    model.eval()
    call = call_of(model, data[:2])
    answer, start = model(**call), model.base(**call)
    errors = [error(model, found, data[:2]) for found in (start, answer)]
    assert errors[1] < 0.9 * errors[0]

    for found in (model.solve(**call, steps=2).value, model.iterates(**call)[2]):
        assert same(found, answer)
    for place, sample in enumerate(data[:2]):
        alone = model(**call_of(model, [sample]))
        torch.testing.assert_close(rows(model, alone, 0), rows(model, answer, place))

    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=case.wrap(copy.deepcopy(net)).base).eval()
    assert same(again(**call), answer)
    if case.state is not None:
        check_rollout(again, call, case.state, case.options)


def check_rollout(model: IterativeRefiner, call: dict[str, Any], state: str, options: dict[str, Any]) -> None:
    """Three frames of a rollout are three calls by hand."""
    axes, given = model.base.layout.x, {name: part for name, part in call.items() if name != state}
    inputs, clock = options.get("window", Window()).inputs, options.get("clock")
    known = axes.fold(call[state])
    start = known.unflatten(1, (inputs, -1)) if inputs > 1 else known
    if clock is not None:
        given.pop("t")
    by_sample = () if "edge_index" in given else given
    run = rollout(model, start, 3, given=given, per_sample=by_sample, **options)
    for step, frame in enumerate(run.frames.unbind(1)):
        times = {} if clock is None else {"t": clock.time(step)}
        after = model.base.as_field(model(**{**given, **times, state: axes.unfold(known, inputs)}))
        torch.testing.assert_close(frame, after)
        known = after if inputs == 1 else torch.cat([known, after], 1)[:, after.shape[1] :]
