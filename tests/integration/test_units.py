"""A model with units: the iteration on scaled fields, with fields in the units of the data outside.

Every correction by name, on grids and on graphs, around a base in units of its own and around one without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_every_name import CORRECTED, MESHES, Case
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import IterativeRefiner, PointOperator, RefinementLoss, Scaling, TupleOperator, Units
from neuralop_irno.data.splits import load_splits

pytestmark = pytest.mark.filterwarnings("ignore:Sparse (invariant checks|CSR tensor):UserWarning")

NAMES = [name for name, case in CORRECTED.items() if case.refused is None]
IN_SINGLE = ("gino", "pyg:SGFormer")
"""Corrections with layers in float32 only."""

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


class OnNodes(nn.Linear):
    """A base on graphs that acts on each node."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x)


def sample_of(case: Case, dtype: torch.dtype) -> dict[str, Any]:
    """Two samples."""
    train = load_splits(case.data)["train"]
    if case.data["name"] == MESHES["name"]:
        found = Batch.from_data_list([train[0], train[1]]).to_dict()
        found.pop("ptr")
    else:
        found = {name: torch.stack([train[0][name], train[1][name]]) for name in ("x", "y")}
    return {name: part.to(dtype) if part.is_floating_point() else part for name, part in found.items()}


def units_of(x: Tensor, y: Tensor, base: bool) -> Units:
    """Another mean and deviation for every channel."""

    def scaling(channels: int, least: float) -> Scaling:
        return Scaling(*(tuple(least + n for n in range(channels)) for least in (least, 0.5)))

    return Units(scaling(x.shape[1], 3.0), scaling(y.shape[1], -200.0), base)


def built(name: str, base: bool) -> tuple[IterativeRefiner, IterativeRefiner, dict[str, Any]]:
    """A refiner with units, the refiner of scaled fields that it should be, and a sample."""
    torch.manual_seed(0)
    case, dtype = CORRECTED[name], torch.float32 if name in IN_SINGLE else torch.float64
    sample = sample_of(case, dtype)
    x, y = sample["x"], sample["y"]
    units, on_graph = units_of(x, y, base), case.data["name"] == MESHES["name"]
    sizes = x.shape[1], y.shape[1]
    net = (OnNodes(*sizes) if on_graph else nn.Conv2d(*sizes, 3, padding=1)).to(dtype)
    options = {"in_channels": sizes[0], "out_channels": sizes[1], "steps": 2, **case.model}
    model = IterativeRefiner(net, {"name": name, **case.options}, units=units, **options)
    model = model if name in IN_SINGLE else model.double()
    own: Any = net
    if not base and on_graph:
        own = lambda x, edge_index: units.y.apply(net(units.x.undo(x), edge_index))  # noqa: E731
    elif not base:
        own = lambda x: units.y.apply(net(units.x.undo(x)))  # noqa: E731
    return model.eval(), IterativeRefiner(own, model.correction, **options).eval(), sample


def disturbed(model: IterativeRefiner) -> None:
    """Weights that are not those of an untrained correction."""
    with torch.no_grad():
        for weight in model.correction.parameters():
            weight += 0.1 * torch.randn_like(weight)


@pytest.mark.parametrize("base", [False, True], ids=["phi", "all"])
@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_the_one_of_scaled_fields(name: str, base: bool) -> None:
    model, inner, sample = built(name, base)
    y, units = sample.pop("y"), model.units
    close = {"rtol": 1e-3, "atol": 1e-3} if name in IN_SINGLE else CLOSE
    assert units is not None
    with torch.no_grad():
        assert torch.equal(model(**sample), model.base(**sample))  # untrained: the bits of the base
        disturbed(model)
        scaled = {**sample, "x": units.x.apply(sample["x"])}
        torch.testing.assert_close(model(**sample), units.y.undo(inner(**scaled)), **close)
        torch.testing.assert_close(model.base(**sample), model.iterates(**sample)[0], **close)
        assert torch.equal(model.solve(**sample).value, model.iterates(**sample)[-1])
        start = y + 1
        one, other = model(**sample, start=start), inner(**scaled, start=units.y.apply(start))
        torch.testing.assert_close(one, units.y.undo(other), **close)
    torch.manual_seed(1)
    mine = model.train()(**sample, y=y)
    torch.manual_seed(1)
    theirs = inner.train()(**scaled, y=units.y.apply(y))
    torch.testing.assert_close(mine.last, theirs.last, **close)
    loss = RefinementLoss()(mine, y)
    torch.testing.assert_close(loss, RefinementLoss()(theirs, units.y.apply(y)), **close)
    loss.backward()
    gradients = [weight.grad for weight in model.correction.parameters() if weight.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("base", [False, True], ids=["phi", "all"])
@pytest.mark.parametrize("name", ["unet", "meshgraph"])
def test_a_solve_to_a_tolerance_is_that_of_scaled_fields(name: str, base: bool) -> None:
    model, inner, sample = built(name, base)
    del sample["y"]
    disturbed(model)
    units, options = model.units, {"rtol": 1e-2, "max_steps": 7}
    assert units is not None
    one, other = (
        model.solve(**sample, **options),
        inner.solve(**{**sample, "x": units.x.apply(sample["x"])}, **options),
    )
    assert one.outcomes == other.outcomes
    torch.testing.assert_close(one.value, units.y.undo(other.value), **CLOSE)
    torch.testing.assert_close(one.error_bound, other.error_bound, **CLOSE)
    torch.testing.assert_close(one.residuals, other.residuals, **CLOSE)


def on_a_line(units: Units | None, base: Any = None, **options: Any) -> IterativeRefiner:
    torch.manual_seed(0)
    net = nn.Conv1d(2, 1, 3, padding=1) if base is None else base
    phi = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
    model = IterativeRefiner(net, phi, units=units, steps=2, in_channels=2, out_channels=1, **options)
    disturbed(model)
    return model.double().eval()


FAR = {"x": {"mean": [3.0, -5.0], "std": [2.0, 7.0]}, "y": {"mean": [101325.0], "std": [300.0]}}
SAME = {"x": {"mean": [0.0, 0.0], "std": [1.0, 1.0]}, "y": {"mean": [0.0], "std": [1.0]}}


def field(samples: int = 2) -> Tensor:
    return torch.randn(samples, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("base", [False, True], ids=["phi", "all"])
def test_units_that_change_nothing_leave_all_states_of_the_iteration(base: bool) -> None:
    plain, same = on_a_line(None), on_a_line({**SAME, "base": base})
    torch.testing.assert_close(same(field()), plain(field()), rtol=1e-14, atol=1e-14)
    call = same.problem((field(),), {})
    assert torch.equal(call.x, field())
    assert torch.equal(call.start, plain.problem((field(),), {}).start)
    assert "units" not in plain.config


def test_a_base_that_comes_trained_is_given_x_as_it_is() -> None:
    seen = []

    def recorder(x: Tensor) -> Tensor:
        seen.append(x)
        return x[:, :1]

    model, x = on_a_line(FAR, recorder), field()
    model(x), model.solve(x), model.iterates(x), model.train()(x, y=x[:, :1])
    assert len(seen) == 4
    assert all(each is x for each in seen)


@pytest.mark.parametrize("base", [False, True], ids=["phi", "all"])
def test_a_model_with_units_is_read_back_to_the_bit(base: bool, tmp_path: Path) -> None:
    model = on_a_line({**FAR, "base": base}, freeze_base=False)
    net = nn.Conv1d(2, 1, 3, padding=1).double()
    again = IterativeRefiner.from_checkpoint(model.save(tmp_path / "model.safetensors"), base=net).eval()
    assert again.units == model.units
    assert again.config == model.config
    assert torch.equal(again(field()), model(field()))


def test_another_base_is_given_x_as_it_is_unless_it_has_units() -> None:
    model = on_a_line({**FAR, "base": True})
    kept = model.with_base(model.base)
    assert kept.units == model.units
    assert torch.equal(kept(field()), model(field()))
    other = model.with_base(lambda x: x[:, :1])
    assert other.units is not None
    assert not other.units.base
    assert torch.equal(other.base(field()), field()[:, :1])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"channels": "last"}, lambda x: x.movedim(1, -1)),
        ({"layout": "B T C X -> B T C X"}, lambda x: x[:, :, None]),
        ({"layout": "X B C"}, lambda x: x.permute(2, 0, 1)),
    ],
    ids=["channels last", "times", "any order"],
)
@pytest.mark.parametrize("base", [False, True], ids=["phi", "all"])
def test_fields_in_other_layouts(options: dict[str, str], shape: Any, base: bool) -> None:
    """The base doubles both channels; x and the answer have the same units."""
    side = {"mean": [3.0, -5.0], "std": [2.0, 7.0]}
    units = {"x": side, "y": side, "base": base}
    phi = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
    x, one = field(), IterativeRefiner(lambda x: 2 * x, phi, units=units, in_channels=2, out_channels=2)
    other = IterativeRefiner(
        lambda x: 2 * x, one.correction, units=units, in_channels=2, out_channels=2, **options
    )
    disturbed(one.double().eval()), other.double().eval()
    torch.testing.assert_close(other(shape(x)), shape(one(x)), **CLOSE)
    torch.testing.assert_close(other.base(shape(x)), shape(one.base(x)), **CLOSE)


@pytest.mark.parametrize("base", [False, True], ids=["phi", "all"])
def test_a_batch_of_graphs_has_the_answers_of_its_members(base: bool) -> None:
    model, _, sample = built("meshgraph", base)
    disturbed(model)
    batch = sample["batch"]
    graph = Data(**{name: sample[name] for name in ("x", "edge_index", "pos", "measure")})
    whole, x = model(**{name: part for name, part in sample.items() if name != "y"}), graph.x.clone()
    for place in range(2):
        own = graph.subgraph(batch == place)
        torch.testing.assert_close(model(own), whole[batch == place], rtol=1e-6, atol=1e-6)
    assert torch.equal(graph.x, x)  # the graph of the caller is not written to


@pytest.mark.parametrize("base", [False, True], ids=["phi", "all"])
def test_padded_points_and_fields_outside_of_a_mask(base: bool) -> None:
    def net(pos: Tensor, fx: Tensor, mask: Tensor) -> Tensor:
        return 2 * fx

    operator = PointOperator(net, fields="fx", pos="pos", mask="mask")
    side = {"mean": [7.0], "std": [3.0]}
    options = {"units": {"x": side, "y": side, "base": base}, "in_channels": 1, "out_channels": 1}
    model = IterativeRefiner(operator, {"name": "meshgraph", "width": 4}, **options).double().eval()
    pos, fx, mask = torch.rand(1, 12, 2).double(), torch.randn(1, 12, 1).double(), torch.ones(1, 12) > 0
    mask[:, 9:] = False
    disturbed(model)
    alone = model(pos[:, :9], fx[:, :9], mask[:, :9])
    torch.testing.assert_close(model(pos, fx, mask)[:, :9], alone, **CLOSE)

    line = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
    masked = IterativeRefiner(lambda x: 2 * x, line, condition=["mask"], **options).double().eval()
    disturbed(masked)
    x, inside = torch.randn(1, 1, 16).double(), torch.arange(16)[None] < 10
    answer, base_answer = masked(x, mask=inside), masked.base(x)
    assert torch.equal(answer[..., 10:], base_answer[..., 10:])
    assert not torch.equal(answer[..., :10], base_answer[..., :10])
    x[..., 10:] = torch.nan  # what is outside does not matter
    torch.testing.assert_close(masked(x, mask=inside)[..., :10], answer[..., :10], **CLOSE)


def test_a_residual_is_that_of_the_equation_in_the_units_of_the_data() -> None:
    seen = []

    def equation(x: Tensor, h: Tensor) -> Tensor:
        seen.append((x, h))
        return h - x[:, :1]

    model = on_a_line(FAR)
    model.solve(field(), residual_fn=equation, residual_tol=1.0, max_steps=1)
    torch.testing.assert_close(seen[0][0], field(), **CLOSE)
    torch.testing.assert_close(seen[-1][1], model.iterates(field(), steps=1)[-1], **CLOSE)


def test_answers_in_half_precision_keep_their_digits() -> None:
    model, x = on_a_line({**FAR, "base": True}).float(), field().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert (model(x) - model.base(x)).abs().max() < 300
        assert model(x).dtype == torch.float32


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ({"x": SAME["x"]}, "units with a mean and a std for each channel of x and of y"),
        ({**SAME, "scale": 1}, "also scale"),
        ({**SAME, "y": {"mean": [0.0], "std": [0.0]}}, "std > 0"),
        ({**SAME, "y": {"mean": 0.0, "std": 1.0}}, "units with a mean"),
        ({**SAME, "base": "yes"}, "base of units as True or False"),
        ([1.0], "units of the refiner"),
    ],
)
def test_other_units_are_refused(units: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^expected .*{words}.*; try "):
        on_a_line(units)


def test_fields_with_other_channels_are_refused_by_name() -> None:
    three = {"mean": [0.0] * 3, "std": [1.0] * 3}
    for base in (False, True):
        with pytest.raises(ValueError, match=r"^expected x with the 3 channels of"):
            on_a_line({**SAME, "x": three, "base": base})(field())
    parts = [PointOperator(lambda u, p: (u, u), fields="u", pos="p", output=place) for place in (0, 1)]
    for part in parts[1:]:
        part.module = parts[0].module
    with pytest.raises(ValueError, match="one field for a model with units"):
        IterativeRefiner(TupleOperator(parts), "rigno", units=SAME, out_channels=[1, 1])


def test_a_tensor_that_is_two_arguments_is_not_scaled_in_both() -> None:
    base = PointOperator(lambda u, p: u, fields="u", pos="p")
    side = {"mean": [0.0, 0.0], "std": [1.0, 1.0]}
    options = {"units": {"x": side, "y": side, "base": True}, "in_channels": 2, "out_channels": 2}
    model, pos = IterativeRefiner(base, {"name": "meshgraph", "width": 4}, **options), torch.rand(1, 9, 2)
    with pytest.raises(ValueError, match="the input as one argument of the call, got 2"):
        model(pos, pos)
