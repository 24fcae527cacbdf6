"""Several fields of one answer are one state: each on its own grid or points, refined together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import (
    IterativeRefiner,
    Outcome,
    PointOperator,
    Recipe,
    RefinementLoss,
    SobolevLoss,
    SpectralLoss,
    Trainer,
    TupleOperator,
    rollout,
)
from neuralop_irno.correction.correction import Correction
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.metrics import vrmse
from neuralop_irno.solution import Trajectory
from neuralop_irno.training.evaluation import scores_per_step

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
UNET = {"name": "unet", "width": 2, "depth": 1}
B, SURFACE, VOLUME = 3, 7, 9


class Flow(nn.Module):
    """Velocity on the grid of x, pressure on every second point of it, and a number, in a dict."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.net = CONVOLUTION[dim](3, 3, 3, padding=1)

    def forward(self, x):
        answer = self.net(x)
        half = (..., *[slice(None, None, 2)] * self.dim)
        return {"loss": answer.mean(), "velocity": answer[:, :2], "pressure": answer[:, 2:][half]}


class Airflow(nn.Module):
    """From two sets of points to the fields on both, in a tuple, as DoMINO's volume and surface."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 2)

    def forward(self, surface, normals, volume, offsets):
        on_surface = self.net(torch.cat([surface, normals], -1))
        return self.net(torch.cat([volume, offsets], -1))[..., :1], on_surface


@dataclass
class Case:
    """A base, the options of its refiner, and the shapes of its arguments without the samples."""

    base: Callable[[], nn.Module]
    options: dict[str, Any]
    arguments: dict[str, tuple[int, ...]]
    names: tuple[Any, Any]
    correction: Any

    def refiner(self, scale: float = 0.0, **options: Any) -> IterativeRefiner:
        torch.manual_seed(0)
        given = {"correction": self.correction, "steps": 3, "alpha": 0.5, **self.options, **options}
        model = IterativeRefiner(self.base(), **given)
        for weight in model.correction.parameters() if scale else ():
            nn.init.normal_(weight, std=scale)
        return model.eval()

    def call(self, samples: int = B) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        return {
            name: torch.rand(samples, *shape, generator=generator) for name, shape in self.arguments.items()
        }


def on_points() -> TupleOperator:
    net = Airflow()
    surface = PointOperator(net, fields="normals", pos="surface", output=1)
    return TupleOperator([surface, PointOperator(net, fields="offsets", pos="volume", output=0)])


def on_grid(dim: int) -> Case:
    options = {"output": ("velocity", "pressure"), "in_channels": 3, "out_channels": (2, 1)}
    sizes = (8, 6, 5)[:dim]
    return Case(lambda: Flow(dim), options, {"x": (3, *sizes)}, ("velocity", "pressure"), UNET)


CASES = {
    "line": on_grid(1),
    "plane": on_grid(2),
    "box": on_grid(3),
    "points": Case(
        on_points,
        {"in_channels": 3, "out_channels": (2, 1)},
        {
            name: (n, 3)
            for name, n in zip(("surface", "normals", "volume", "offsets"), (7, 7, 9, 9), strict=True)
        },
        (1, 0),
        {"name": "meshgraph", "width": 4, "steps": 1, "dim": 3},
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def fields(case: Case, answer: Any) -> list[Tensor]:
    return [answer[name] for name in case.names]


def close(one: list[Tensor], other: list[Tensor], **options: Any) -> None:
    for pair in zip(one, other, strict=True):
        torch.testing.assert_close(*pair, **options)


def test_untrained_it_returns_the_answer_of_the_base_and_its_container(case: Case) -> None:
    model, call = case.refiner(), case.call()
    plain = model.base.module(**call)
    for answer in (model(**call), model.solve(**call, rtol=1e-3).value, model.iterates(**call)[-1]):
        assert type(answer) is type(plain)
        assert len(answer) == len(plain)
        assert all(map(torch.equal, fields(case, answer), fields(case, plain)))


def test_forward_solve_and_iterates_agree_and_a_batch_is_a_loop(case: Case) -> None:
    model, call = case.refiner(scale=0.3), case.call()
    answer = fields(case, model(**call))
    assert all(not torch.equal(*pair) for pair in zip(answer, fields(case, model.base(**call)), strict=True))
    assert all(map(torch.equal, answer, fields(case, model.solve(**call, steps=3).value)))
    assert all(map(torch.equal, answer, fields(case, model.iterates(**call)[3])))
    for row in range(B):
        alone = model(**{name: value[row : row + 1] for name, value in call.items()})
        close(fields(case, alone), [field[row : row + 1] for field in answer])


def test_it_is_trained_saved_and_read_from_its_config(case: Case, tmp_path: Path) -> None:
    model, call = case.refiner(gradient="unrolled"), case.call(4)
    torch.manual_seed(2)
    truth = {name: torch.randn_like(field) for name, field in zip(case.names, fields(case, model(**call)))}
    data = [
        {**{key: value[row] for key, value in call.items()}, "y": {k: v[row] for k, v in truth.items()}}
        for row in range(4)
    ]
    before = scores_per_step(model, data)
    Trainer(model, Recipe(epochs=1, batch_size=2, learning_rate=1e-2), show=False).fit(data, data)
    after = scores_per_step(model.eval(), data)
    assert before.shape == after.shape == (4, 4)
    torch.testing.assert_close(before[0], after[0])  # h_0 is the base's
    assert not torch.allclose(before[3], after[3])
    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=case.base()).eval()
    again.base.load_state_dict(model.base.state_dict())
    assert all(map(torch.equal, fields(case, again(**call)), fields(case, model(**call))))
    config = {**model.config, "base": case.base()}
    assert IterativeRefiner(**config).config == model.config


def test_gradients_reach_every_correction_and_states_are_replayed(case: Case) -> None:
    model, call = case.refiner(), case.call(2)
    truth = [field + 1 for field in fields(case, model(**call))]
    y = dict(zip(case.names, truth, strict=True))
    RefinementLoss(fixed_point=0.1)(model.train()(**call, y=y), y).backward()
    for correction in model.correction.each:
        assert any(weight.grad is not None and weight.grad.any() for weight in correction.parameters())
    data = [
        {**{k: v[row] for k, v in call.items()}, "y": {k: v[row] for k, v in y.items()}} for row in range(2)
    ]
    Trainer(model, Recipe(epochs=2, batch_size=2, replay=3), show=False).fit(data)


def test_a_tuple_of_one_field_is_the_plain_field(case: Case) -> None:
    if "output" not in case.options:
        base = on_points().parts[0]
        several, plain = TupleOperator([base]), base
        options = [{"in_channels": 3, "out_channels": 2}] * 2
    else:
        several, plain = Flow(len(case.arguments["x"]) - 1), None
        common = {"in_channels": 3, "out_channels": 1}
        options = [{**common, "output": each} for each in (["pressure"], "pressure")]
        plain = several
    models = [
        Case(lambda base=base: base, given, {}, ("", ""), case.correction).refiner(scale=0.3)
        for base, given in zip((several, plain), options, strict=True)
    ]
    name, call = ("pressure" if "output" in case.options else 1), case.call()
    one, other = (model.solve(**call, rtol=1e-2, solver="anderson") for model in models)
    assert torch.equal(one.value[name], other.value[name])
    assert torch.equal(one.steps, other.steps)
    assert all(map(torch.equal, one.residuals, other.residuals))
    y = torch.randn_like(one.value[name])
    loss = RefinementLoss(spectral=1.0, fixed_point=1.0)
    if "output" in case.options:
        a, b = loss(models[0].train()(**call, y=[y]), [y]), loss(models[1].train()(**call, y=y), y)
        assert torch.equal(a, b)


def test_permuted_fields_permute_the_answer(case: Case) -> None:
    if "output" not in case.options:
        pytest.skip("the order of the adapters is that of the corrections")
    model, call = case.refiner(scale=0.3), case.call()
    swapped = IterativeRefiner(
        model.base.module, model.correction.each[::-1], steps=3, alpha=0.5, output=["pressure", "velocity"]
    ).eval()
    close(fields(case, model(**call)), fields(case, swapped(**call)))
    solved, other = (each.solve(**call, rtol=1e-2) for each in (model, swapped))
    assert torch.equal(solved.steps, other.steps)
    close(fields(case, solved.value), fields(case, other.value))


class Relax(Correction):
    """To a number, at a rate."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x, h):
        return self.rate * (1 - h)


def test_a_sample_goes_on_until_all_of_its_fields_have_converged() -> None:
    case = CASES["plane"]
    model = case.refiner(correction=[Relax(1.0), Relax(0.1)], alpha=1.0)
    solution = model.solve(**case.call(), rtol=1e-4)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    assert solution.steps.min() > 50  # 0.9^k; the velocity alone takes two steps
    for field in fields(case, solution.value):
        torch.testing.assert_close(field, torch.ones_like(field), atol=1e-2, rtol=0)


def test_every_field_sees_all_others_on_its_own_grid() -> None:
    seen: list[Tensor] = []

    class Watching(Correction):
        def forward(self, x, h):
            seen.append(torch.cat([x, h], 1))
            return 0 * h

    case = CASES["plane"]
    model = case.refiner(correction=[Watching(), Watching()], steps=1)
    call = case.call()
    answer = model(**call)
    velocity, pressure = seen
    assert velocity.shape == (B, 3 + 1 + 2, 8, 6)
    assert pressure.shape == (B, 3 + 2 + 1, 4, 3)
    assert torch.equal(velocity[:, :3], call["x"])
    torch.testing.assert_close(velocity[:, 3:4, ::2, ::2], answer["pressure"])
    torch.testing.assert_close(pressure[:, 3:5], answer["velocity"][:, :, ::2, ::2])
    torch.testing.assert_close(pressure[:, 5:], answer["pressure"])


@pytest.mark.parametrize("loss", [SpectralLoss(), SobolevLoss(), RefinementLoss(spectral=0.5, sobolev=0.5)])
def test_losses_are_means_over_the_fields(loss: Any) -> None:
    shapes = (B, 2, 8, 6), (B, 1, 4, 3)
    states, truths = ([torch.randn(shape) for shape in shapes] for _ in range(2))
    domain = TupleDomain([GridDomain.of(field) for field in states], [2, 1])
    whole = Trajectory((domain.packed(states),), (torch.ones(B),), domain)
    alone = [loss(state, truth) for state, truth in zip(states, truths, strict=True)]
    torch.testing.assert_close(loss.per_sample(whole, domain.packed(truths)).sum(), sum(alone) / 2)


def test_scores_are_means_over_the_fields() -> None:
    case = CASES["plane"]
    model, call = case.refiner(), case.call()
    answer = fields(case, model(**call))
    truth = [torch.randn_like(field) for field in answer]
    data = [{"x": call["x"][row], "y": [field[row] for field in truth]} for row in range(B)]
    alone = [vrmse(*pair).flatten(1).mean(1) for pair in zip(answer, truth, strict=True)]
    torch.testing.assert_close(scores_per_step(model, data)[-1], sum(alone) / 2)


class Pair(NamedTuple):
    pressure: Tensor
    velocity: Tensor


def test_the_truth_and_the_start_are_read_from_any_container() -> None:
    case = CASES["plane"]
    model, call = case.refiner(scale=0.3), case.call()
    velocity, pressure = (torch.randn_like(field) for field in fields(case, model(**call)))
    given = (
        (velocity, pressure), [velocity, pressure], {"pressure": pressure, "velocity": velocity},
        Pair(pressure, velocity), {**model(**call), "pressure": pressure, "velocity": velocity},
    )  # fmt: skip
    losses = [RefinementLoss()(model.train()(**call, y=y), y) for y in given]
    assert all(torch.equal(loss, losses[0]) for loss in losses)
    model.eval()
    first = model(**call, start=given[2])
    for start in given:
        answer = model(**call, start=start)
        assert type(answer) is type(start)
        read = [answer.velocity, answer.pressure] if isinstance(start, Pair) else None
        ordered = list(answer) if isinstance(start, (tuple, list)) else fields(case, answer)
        assert all(map(torch.equal, read or ordered, fields(case, first)))


def test_an_index_is_that_of_the_answer_of_the_base_if_it_can_be() -> None:
    base = lambda x: (x[:, :1, ::2], 3, x)  # noqa: E731
    model = IterativeRefiner(base, UNET, output=(2, 0), in_channels=2, out_channels=(2, 1)).train()
    x = torch.randn(2, 2, 8)
    y = x + 1, x[:, :1, ::2] - 1
    as_answer = y[1], 3, y[0]
    assert torch.equal(*(RefinementLoss()(model(x, y=each), each) for each in (y, as_answer)))
    swapped = IterativeRefiner(base, UNET, output=(-1, 0), in_channels=2, out_channels=(2, 1)).train()
    with pytest.raises(ValueError, match="the field -1 like that of the base's answer"):
        swapped(x, y=y)


def test_layouts_are_those_of_each_field() -> None:
    """Levels are folded into channels, as of Aurora's fields on levels beside those at the surface."""

    def aurora(x):
        return {"surface": x[:, :2], "levels": x[:, :3].unflatten(1, (1, 3)).expand(-1, 2, -1, -1, -1)}

    layout = ("B C H W", "B C H W -> B C T H W")
    with pytest.raises(ValueError, match="expected"):
        IterativeRefiner(aurora, UNET, output=("surface", "levels"), layout=layout[:1])
    model = IterativeRefiner(
        aurora, UNET, output=("surface", "levels"), layout=layout, in_channels=4, out_channels=(2, 6)
    ).eval()
    x = torch.randn(2, 4, 8, 6)
    assert torch.equal(model(x)["levels"], aurora(x)["levels"])
    for correction in model.correction.each:
        nn.init.normal_(correction.last.weight, std=0.1)
    assert model(x)["levels"].shape == (2, 2, 3, 8, 6)
    y = model(x)
    data = [{"x": x[row], "y": {name: field[row] for name, field in y.items()}} for row in range(2)]
    Trainer(model, Recipe(epochs=1, batch_size=2), show=False).fit(data, data)


def test_several_inputs_are_carried_to_the_grid_of_each_field() -> None:
    def base(u, p):
        return u + p.mean(), p + u.mean()

    model = IterativeRefiner(base, UNET, output=(0, 1), in_channels=3, out_channels=(2, 1)).eval()
    u, p = torch.randn(2, 2, 8), torch.randn(2, 1, 4)
    assert all(map(torch.equal, model(u, p), base(u, p)))
    wrong = IterativeRefiner(base, UNET, output=(0, 1), in_channels=2, out_channels=(2, 1)).eval()
    with pytest.raises(ValueError, match="the input and of all other fields for the correction of field 0"):
        wrong(u, p)


def test_scalars_are_conditions_of_every_field() -> None:
    def base(x, tau):
        return x * tau[:, None, None], x[:, :1, ::2]

    x, tau = torch.randn(2, 2, 8), torch.tensor([0.5, 2.0])
    sizes = {"in_channels": 2, "out_channels": (2, 1), "output": (0, 1)}
    for name in ("unet", "fno"):
        correction = UNET if name == "unet" else {"name": "fno", "n_modes": [4], "hidden_channels": 4}
        model = IterativeRefiner(base, correction, condition=("tau",), **sizes).eval()
        assert all(map(torch.equal, model(x, tau), base(x, tau)))


def test_on_other_grids_every_field_is_at_the_resolution_of_its_training() -> None:
    case = CASES["line"]
    sizes = {"fields": [{"cells": [8]}, {"cells": [4]}]}
    model = case.refiner(
        scale=0.3, resolution={"extent": "fixed", "pair": "points", "layout": "left", **sizes}
    )
    model.base.module = Interpolating()
    x = torch.randn(2, 3, 8)
    fine = torch.nn.functional.interpolate(x, scale_factor=2)
    coarse, answer = model(x), model(fine)
    torch.testing.assert_close(answer["velocity"][..., ::2], coarse["velocity"])
    assert answer["pressure"].shape == (2, 1, 8)
    assert model(x[..., ::2])["pressure"].shape == (2, 1, 2)
    model.resolution = IterativeRefiner(**{**model.config, "base": Flow(1), "resolution": sizes}).resolution
    with pytest.raises(ValueError, match="expected x on 8 points, as in training, got 16"):
        model(fine)


class Interpolating(nn.Module):
    """Acts on points, so that a finer grid has the same answer at the points of a coarse one."""

    def forward(self, x):
        return {"loss": None, "velocity": x[:, :2], "pressure": x[:, 2:, ::2]}


def on_other_axes(x):
    return {"velocity": x, "pressure": x.mean(-1)}


REFUSED: dict[str, tuple[Callable[[IterativeRefiner, Tensor], Any], str]] = {
    "truth": (lambda m, x: m.train()(x, y=x), "the fields 'velocity', 'pressure', got a tensor"),
    "missing": (lambda m, x: m.train()(x, y={"velocity": x}), "the part 'pressure' of the base's answer"),
    "residual": (
        lambda m, x: m.solve(x, residual_fn=lambda x, h: h, residual_tol=1),
        "one field for residual_fn",
    ),
    "rollout": (lambda m, x: rollout(m, x, steps=2), "one field for a rollout"),
    "patches": (lambda m, x: m.in_patches(4)(x), "a correction of 2 fields, got InPatches"),
    "measure": (lambda m, x: m(x, measure=torch.ones(8, 6)), "a measure that broadcasts"),
    "correction": (
        lambda m, x: setattr(m, "correction", nn.Conv2d(4, 2, 1)) or m(x),
        "a correction of 2 fields",
    ),
}


@pytest.mark.parametrize("use", REFUSED)
def test_what_has_one_field_refuses_a_tuple(use: str) -> None:
    call, message = REFUSED[use]
    model = CASES["plane"].refiner()
    with pytest.raises((ValueError, TypeError), match=message):
        call(model, torch.randn(2, 3, 8, 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_channels": None}, r"out_channels for each of 2 fields, got \[None, None\]"),
        ({"out_channels": 3}, "out_channels for each of 2 fields, got 3"),
        ({"out_channels": (2, 1, 1)}, "out_channels for each of 2 fields"),
        ({"correction": [UNET]}, "a correction for each of 2 fields, got 1"),
        ({"correction": nn.Conv2d(1, 1, 1)}, "a correction for each of 2 fields, got one Conv2d"),
        ({"output": ("velocity", "velocity")}, "another entry of output"),
        ({"output": ()}, "at least one field in output"),
        ({"output": "velocity"}, "one out_channels for one field"),
        ({"output": "velocity", "out_channels": 2, "correction": [UNET]}, "one correction for one field"),
        ({"layout": "C B H W"}, "layouts of several fields with B first"),
        ({"condition": ("mask",)}, "scalars as conditions of a tuple"),
        ({"correction": [{**UNET, "padding": "circular"}, UNET]}, "the same periodic axes"),
        ({"resolution": {"fields": [{}]}}, "a resolution for each of 2 fields"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    case = CASES["plane"]
    with pytest.raises((ValueError, TypeError), match=message):
        case.refiner(**options)(**case.call())


def test_fields_that_cannot_be_carried_are_refused() -> None:
    case = CASES["plane"]
    model = IterativeRefiner(on_other_axes, UNET, output=case.names, in_channels=3, out_channels=(3, 3))
    with pytest.raises(ValueError, match="expected"):
        model(torch.randn(2, 3, 8, 6))
    net = Airflow()
    with pytest.raises(ValueError, match="without padding"):
        TupleOperator([PointOperator(net, fields="normals", pos="surface", mask="inside")])
    with pytest.raises(ValueError, match="adapters around one model, got 2 models"):
        TupleOperator([*on_points().parts[:1], *on_points().parts[1:]])
    with pytest.raises(ValueError, match="another field for each entry"):
        IterativeRefiner(lambda x: [x, x], UNET, output=(0, 1), in_channels=1, out_channels=(1, 1))(
            torch.ones(1, 1, 8)
        )


@pytest.mark.parametrize("option", [{"shifts": True}, {"resolutions": [1, 2]}])
def test_recipes_for_one_grid_refuse_a_tuple(option: dict[str, Any]) -> None:
    case = CASES["plane"]
    model = case.refiner(correction={**UNET, "padding": "circular"})
    x = torch.randn(3, 8, 6)
    data = [{"x": x, "y": (x[:2], x[:1, ::2, ::2])}] * 2
    with pytest.raises(ValueError, match="fields on one grid for .*, got tuples of fields"):
        Trainer(model, Recipe(epochs=1, **option), show=False).fit(data)
