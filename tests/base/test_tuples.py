"""Several fields of one answer are one state: each on its own grid or points, refined together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from tuple_cases import CASES, B, Case, close, fields, on_points

from neuralop_irno import (
    IterativeRefiner,
    Outcome,
    Recipe,
    RefinementLoss,
    SobolevLoss,
    SpectralLoss,
    Trainer,
    TupleOperator,
)
from neuralop_irno.correction.correction import Correction
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.metrics import vrmse
from neuralop_irno.solution import Trajectory
from neuralop_irno.training.evaluation import scores_per_step


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


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
    truth = {
        name: torch.randn_like(field)
        for name, field in zip(case.names, fields(case, model(**call)), strict=True)
    }
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
    truth = [field.detach() + 1 for field in fields(case, model(**call))]
    y = dict(zip(case.names, truth, strict=True))
    RefinementLoss(fixed_point=0.1)(model.train()(**call, y=y), y).backward()
    for correction in model.correction.each:
        assert any(weight.grad is not None and weight.grad.any() for weight in correction.parameters())
    data = [
        {**{k: v[row] for k, v in call.items()}, "y": {k: v[row] for k, v in y.items()}} for row in range(2)
    ]
    Trainer(model, Recipe(epochs=2, batch_size=2, replay=3), show=False).fit(data)


@pytest.mark.parametrize("solver", ["anderson", "broyden", "aitken", "backtracking", "best_so_far"])
def test_every_solver_ends_at_the_fixed_point_of_all_fields(solver: str) -> None:
    model = CASES["line"].refiner(correction=[Relax(0.9), Relax(0.5)], alpha=None, solver=solver)
    for field in model.solve(**CASES["line"].call(), rtol=1e-5).value.values():
        if field.dim():  # the other part is the loss of the base
            torch.testing.assert_close(field, torch.ones_like(field), atol=1e-3, rtol=0)


def test_a_tuple_of_one_field_is_the_plain_field(case: Case) -> None:
    """To the bit, where fields lie in memory alike; else only the order of sums in convolutions differs."""
    call, (base, several, name) = case.call(), one_of(case)
    options = {"correction": case.correction, "in_channels": 3, "out_channels": 1 + (name == 1), "alpha": 0.5}
    models, losses, loss = [], [], RefinementLoss(spectral=1.0, fixed_point=1.0)
    for output in ([name], name):
        torch.manual_seed(0)
        given = {"output": output} if base is several else {}
        model = IterativeRefiner(base if output == name else several, gradient="unrolled", **options, **given)
        for weight in model.correction.parameters():
            nn.init.normal_(weight, std=0.1)
        models.append(model)
        y = torch.ones_like(model.eval()(**call)[name]).cumsum(1)
        truth = y if output == name else [y]
        losses.append(loss(model.train()(**call, y=truth), truth))
    assert torch.allclose(*losses, rtol=1e-6)
    # Few plain steps: far away Phi is constant, and which of two equal residuals is larger is rounding.
    one, other = (model.eval().solve(**call, rtol=1e-2, max_steps=4) for model in models)
    torch.testing.assert_close(one.value[name], other.value[name])
    assert torch.equal(one.steps, other.steps)
    for pair in zip(one.residuals, other.residuals, strict=True):
        torch.testing.assert_close(*pair)


def one_of(case: Case) -> tuple[nn.Module, nn.Module, Any]:
    """A base of one field, the same as a base of several, and the place of that field."""
    if "output" in case.options:
        flow = case.base()
        return flow, flow, "pressure"
    surface = on_points().parts[0]
    return surface, TupleOperator([surface]), 1


def test_permuted_fields_permute_the_answer(case: Case) -> None:
    model, call = case.refiner(scale=0.3), case.call()
    on_grids = "output" in case.options
    base = model.base.module if on_grids else TupleOperator(model.base.parts[::-1])
    options = {"output": ["pressure", "velocity"]} if on_grids else {}
    swapped = IterativeRefiner(base, model.correction.each[::-1], steps=3, alpha=0.5, **options).eval()
    close(fields(case, model(**call)), fields(case, swapped(**call)))
    solved, other = (each.solve(**call, rtol=1e-2, max_steps=5) for each in (model, swapped))
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
