"""Every model that neuraloperator exports, and any other module, is called as it wants to be called."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from neuralop.models import CODANO, FNO, FNOGNO, GINO, TFNO, UNO, UQNO
from tltorch import FactorizedTensor, TuckerTensor
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss, Trajectory
from neuralop_irno._neuralop import BaseModel
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.domain.grid import resample

UNET = {"name": "unet", "width": 4, "depth": 1}
ON_POINTS = {
    "name": "gino", "latent": 3, "gno_coord_dim": 2, "in_gno_radius": 0.9, "out_gno_radius": 0.9,
    "fno_n_modes": [2, 2], "fno_hidden_channels": 4, "fno_n_layers": 1,
}  # fmt: skip


def fno(dim: int = 2, kind: type[FNO] = FNO, **options: Any) -> FNO:
    words = {"in_channels": 2, "out_channels": 3, "hidden_channels": 4, "n_layers": 1, **options}
    return kind(n_modes=(4,) * dim, **words)


def uno(dim: int = 2) -> UNO:
    return UNO(
        2, 3, 4, lifting_channels=4, projection_channels=4, n_layers=3, uno_out_channels=[4] * 3,
        uno_n_modes=[[4] * dim] * 3, uno_scalings=[[0.5] * dim, [1] * dim, [2] * dim],
        channel_mlp_skip="linear",
    )  # fmt: skip


def codano() -> CODANO:
    return CODANO(
        output_variable_codimension=1, hidden_variable_codimension=2, lifting_channels=4,
        projection_channels=4, n_layers=1, n_heads=[1], n_modes=[[4, 4]], attention_scaling_factors=[1],
        per_layer_scaling_factors=[[1, 1]],
    )  # fmt: skip


def on_points(kind: type[nn.Module], **options: Any) -> nn.Module:
    return kind(
        in_channels=2, out_channels=3, gno_coord_dim=2, fno_n_modes=(2, 2), fno_hidden_channels=4,
        fno_n_layers=1, gno_use_open3d=False, gno_use_torch_scatter=False, **options,
    )  # fmt: skip


def grid(size: int) -> Tensor:
    return torch.stack(torch.meshgrid([torch.linspace(0, 1, size)] * 2, indexing="ij"), -1)


def gino_call() -> dict[str, Tensor]:
    return {
        "input_geom": torch.rand(1, 10, 2),
        "latent_queries": grid(4)[None],
        "output_queries": torch.rand(1, 7, 2),
        "x": torch.randn(2, 10, 2),
    }


def fnogno_call() -> dict[str, Tensor]:
    return {"in_p": grid(4), "out_p": torch.rand(7, 2), "f": torch.randn(2, 4, 4, 2)}


def image(*sizes: int) -> Callable[[], dict[str, Tensor]]:
    return lambda: {"x": torch.randn(2, 2, *(sizes or (8, 8)))}


@dataclass
class Case:
    """A base, the arguments that it takes in its own order, and what the refiner has to be told."""

    base: Callable[[], Any]
    call: Callable[[], dict[str, Any]]
    correction: Any = field(default_factory=lambda: UNET)
    told: dict[str, Any] = field(default_factory=dict)

    def refiner(self) -> tuple[Any, IterativeRefiner]:
        base = self.base()
        return base, IterativeRefiner(
            base, self.correction, steps=2, alpha=0.5, gradient="unrolled", **self.told
        )


CHANNELS = {"in_channels": 2, "out_channels": 3}
CASES = {
    "FNO 1-D": Case(lambda: fno(1), image(8)),
    "FNO 2-D": Case(fno, image()),
    "FNO 3-D": Case(lambda: fno(3), image(4, 5, 6)),
    "FNO onto another grid": Case(lambda: fno(n_layers=2, resolution_scaling_factor=[1, 2]), image()),
    "FNO told its output grid": Case(fno, lambda: {**image()(), "output_shape": (10, 9)}),
    "TFNO": Case(lambda: fno(kind=TFNO, factorization="tucker", rank=0.5), image()),
    "UNO 1-D": Case(lambda: uno(1), image(8)),
    "UNO 2-D": Case(uno, image()),
    "CODANO": Case(codano, image(), told={"in_channels": 2, "out_channels": 2}),
    "UQNO": Case(lambda: UQNO(base_model=fno()), image()),
    "GINO": Case(
        lambda: on_points(GINO, fno_in_channels=2, in_gno_radius=0.9, out_gno_radius=0.9),
        gino_call,
        ON_POINTS,
    ),
    "FNOGNO": Case(lambda: on_points(FNOGNO, gno_radius=0.9, gno_batched=True), fnogno_call, ON_POINTS),
    "Sequential": Case(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)), image(), told=CHANNELS
    ),
    "Conv2d": Case(lambda: nn.Conv2d(2, 3, 3, padding=1), image()),
    "built-in function": Case(lambda: torch.sin, image(), told={"in_channels": 2, "out_channels": 2}),
    "function": Case(lambda: lambda x: x.cumsum(1), image(), told={"in_channels": 2, "out_channels": 2}),
    "channels last": Case(
        lambda: nn.Linear(2, 3), lambda: {"x": torch.randn(2, 8, 7, 2)}, told={"channels": "last", **CHANNELS}
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, piece by piece."""
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other)


def state_of(module: Any) -> dict[str, Tensor]:
    """Weights and buffers, without what neuraloperator puts among them."""
    if not isinstance(module, nn.Module):
        return {}
    return {name: t.clone() for name, t in (*module.named_parameters(), *module.named_buffers())}


def solution(answer: Any) -> Tensor:
    return answer[0] if isinstance(answer, tuple) else answer


def disturb(model: IterativeRefiner) -> None:
    """An update that is not zero, as training would leave it."""
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_untrained_answer_is_the_base_s_however_it_is_called(case: Case) -> None:
    base, model = case.refiner()
    model.eval()
    call = case.call()
    answer = base(*call.values())
    assert same(model(*call.values()), answer)
    assert same(model(**call), answer)
    assert same(model.solve(**call).value, answer)
    sample = {"weight": torch.ones(2), **call, "y": torch.randn_like(solution(answer)), "name": "a sample"}
    with pytest.raises(TypeError, match="expected an argument of forward, got '"):
        model(**sample)
    assert same(model(**model.arguments(sample)), answer)
    model.ignore = ("weight", "name")
    assert same(model(**sample), answer)
    sample.pop("y")
    assert same(model.problem((), sample).x, model.problem(tuple(call.values()), {}).x)


def test_training_moves_the_correction_and_nothing_else(case: Case) -> None:
    base, model = case.refiner()
    before, correction = state_of(base), state_of(model.correction)
    call = case.call()
    y = torch.randn_like(solution(model.eval()(**call)))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    trajectory = model.train()(**call, y=y)
    assert isinstance(trajectory, Trajectory)
    assert len(trajectory.iterates) == 2
    RefinementLoss(fixed_point=0.1)(trajectory, y).backward()
    optimizer.step()
    after = state_of(base)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not all(torch.equal(correction[n], t) for n, t in state_of(model.correction).items())


def test_batch_mates_share_no_answer(case: Case) -> None:
    _, model = case.refiner()
    model.eval()
    disturb(model)
    call = case.call()
    together = solution(model(**call))
    field_name = "f" if "f" in call else "x"
    for row in range(2):
        alone = solution(model(**{**call, field_name: call[field_name][row : row + 1]}))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_tfno_is_really_factorized() -> None:
    model = IterativeRefiner(fno(kind=TFNO, factorization="tucker", rank=0.5), UNET)
    (weight,) = (m for m in model.base.modules() if isinstance(m, FactorizedTensor))
    assert isinstance(weight, TuckerTensor)
    assert weight.core.numel() + sum(f.numel() for f in weight.factors) < weight.to_tensor().numel()
    assert any(weight.core is parameter for parameter in model.parameters())


def test_uqno_refines_the_solution_and_passes_the_band_on() -> None:
    base = UQNO(base_model=fno())
    model = IterativeRefiner(base, UNET, steps=2, alpha=0.5).eval()
    disturb(model)
    x = torch.randn(2, 2, 8, 8)
    (plain, band), (refined, same_band) = base(x), model(x)
    assert torch.equal(band, same_band)
    assert not torch.equal(plain, refined)


def test_x_is_carried_to_the_grid_of_the_answer() -> None:
    model = IterativeRefiner(fno(n_layers=2, resolution_scaling_factor=[1, 2]), UNET)
    x = torch.randn(2, 2, 8, 8)
    problem = model.problem((x,), {})
    assert problem.start.shape == (2, 3, 16, 16)
    assert torch.equal(problem.x, resample(x, (16, 16), (True, True)))


def test_points_that_the_base_answers_on_keep_their_values() -> None:
    base = on_points(GINO, fno_in_channels=2, in_gno_radius=0.9, out_gno_radius=0.9)
    model = IterativeRefiner(base, ON_POINTS)
    call = gino_call()
    there = {**call, "output_queries": call["input_geom"]}
    assert torch.equal(model.problem((), there).x, call["x"].flatten(0, 1))


def test_channels_last_is_channels_first_laid_out_otherwise() -> None:
    correction = IterativeRefiner(fno(), UNET).correction
    last = IterativeRefiner(nn.Linear(2, 3), correction, channels="last", alpha=0.5).eval()
    first = IterativeRefiner(
        lambda x: last.base.module(x.movedim(1, -1)).movedim(-1, 1), correction, alpha=0.5
    ).eval()
    disturb(last)
    x = torch.randn(2, 2, 8, 7)
    assert torch.equal(last(x.movedim(1, -1)), first(x).movedim(1, -1))


def test_a_frozen_base_answers_as_in_evaluation() -> None:
    base = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5))
    model = IterativeRefiner(base, UNET, train_output="field", **CHANNELS)
    x = torch.randn(2, 2, 8, 8)
    expected = copy.deepcopy(base).eval()(x)
    assert torch.equal(model.train()(x), expected)


REFUSED = {
    "another spatial rank": (lambda x: x.mean(-1), ValueError, "the batch and the dimensions of x"),
    "another batch": (lambda x: x[:1], ValueError, "the batch and the dimensions of x"),
    "no field": (lambda x: {"mean": x.mean()}, TypeError, "a field in the base's answer, got dict with mean"),
}


@pytest.mark.parametrize(("base", "error", "reason"), REFUSED.values(), ids=REFUSED)
def test_answers_that_cannot_be_refined_are_refused(
    base: Callable[[Tensor], Any], error: type[Exception], reason: str
) -> None:
    model = IterativeRefiner(base, UNET, in_channels=2, out_channels=2)
    with pytest.raises(error, match=reason):
        model(torch.randn(2, 2, 8, 8))


def test_a_correction_for_grids_is_refused_on_points() -> None:
    base = on_points(GINO, fno_in_channels=2, in_gno_radius=0.9, out_gno_radius=0.9)
    for correction in (UNET, {**UNET, "padding": "zero"}):
        with pytest.raises(
            ValueError, match=r"a field on a grid .* got one on points; try correction='rigno'"
        ):
            IterativeRefiner(base, correction)(**gino_call())


def test_several_sets_of_output_points_are_refused() -> None:
    base = on_points(GINO, fno_in_channels=2, in_gno_radius=0.9, out_gno_radius=0.9)
    call = gino_call()
    call["output_queries"] = {"wing": call["output_queries"]}
    with pytest.raises(TypeError, match="one set of output points, got dict"):
        IterativeRefiner(base, ON_POINTS)(**call)


def test_a_call_without_an_input_says_so() -> None:
    model = IterativeRefiner(lambda place: torch.zeros(1, 1, 8, 8), UNET, in_channels=1, out_channels=1)
    with pytest.raises(ValueError, match="an input tensor, got 0 positional arguments and \\['place'\\]"):
        model(place="here")


def test_a_base_that_does_not_state_its_channels_has_to_be_told() -> None:
    with pytest.raises(ValueError, match=r"expected in_channels for .* try IterativeRefiner"):
        IterativeRefiner(nn.Linear(2, 3), UNET)
    with pytest.raises(ValueError, match="expected in_channels=2, as the base has it, got in_channels=5"):
        IterativeRefiner(fno(), UNET, in_channels=5)


def test_models_of_later_versions_that_no_adapter_can_call_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "OTNO"
    monkeypatch.setattr(BaseModel, "_models", dict(BaseModel._models))  # a subclass registers itself
    later = type(name, (FNO,), {"__module__": "neuralop.models.later"})
    with pytest.raises(ValueError, match=f"a model that maps x to a field, got {name}"):
        wrap_operator(later((4,), 1, 1, 4))
