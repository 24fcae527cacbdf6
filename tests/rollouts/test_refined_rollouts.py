"""Refinement in time: accounts, tolerances, warm starts, budgets, and answers that are not trusted."""

import pytest
import torch
from cases import fno, graphs
from conftest import Contracting
from torch import Tensor, nn
from torch_geometric.nn import GCN

from neuralop_irno import Calibration, IterativeRefiner, Outcome, UNet, rollout
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.rollouts import Adaptive, Ending, Refine, UntrustedFrames


def contracting(steps: int = 4) -> IterativeRefiner:
    return IterativeRefiner(lambda x: 0.9 * x, Contracting(), steps=steps, alpha=0.7).eval()


START = torch.linspace(-2, 2, 3 * 8, dtype=torch.float64).reshape(3, 1, 8)


def test_k_steps_with_an_account_are_the_models_own() -> None:
    phi = UNet(1, 1, width=4, depth=1)
    nn.init.normal_(phi.last.weight, std=0.1)
    model = IterativeRefiner(fno(), phi, steps=3, alpha=0.5).eval()
    start = torch.randn(2, 1, 12, 12)
    plain, told = rollout(model, start, 4), rollout(model, start, 4, refinement=Refine())
    assert torch.equal(plain.frames, told.frames)
    assert plain.account is None
    assert told.account.evaluations.tolist() == [[3, 3]] * 4
    state = start
    for step in range(4):
        solution = model.solve(state)
        state = solution.value
        torch.testing.assert_close(told.account.residual[step], solution.predictors["residual"])
        torch.testing.assert_close(told.account.error_bound[step], solution.error_bound)
        torch.testing.assert_close(told.account.contraction[step], solution.contraction)
        assert told.account.outcomes[step] == solution.outcomes


@pytest.mark.parametrize("refinement", [Refine(rtol=1e-3), Adaptive(2.0, 4)], ids=repr)
def test_an_account_does_not_depend_on_torchs_default(refinement: object) -> None:
    model = contracting()
    told = rollout(model, START, 3, refinement=refinement)
    torch.set_default_dtype(torch.float64)
    try:
        again = rollout(model, START, 3, refinement=refinement)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(told.frames, again.frames)
    torch.testing.assert_close(told.account.residual, again.account.residual)


def test_a_tolerance_in_every_step() -> None:
    model = contracting()
    run = rollout(model, START, 5, refinement=Refine(rtol=1e-6, max_steps=60))
    assert {o for row in run.account.outcomes for o in row} == {Outcome.CONVERGED}
    exact = rollout(model, START, 5, refinement=Refine(rtol=1e-13, max_steps=90)).frames
    torch.testing.assert_close(run.frames, exact, rtol=1e-5, atol=1e-5)
    assert not torch.equal(run.frames, exact)


def test_a_warm_start_saves_steps_and_leads_to_the_same_fixed_points() -> None:
    model = contracting()
    words = {"rtol": 1e-9, "max_steps": 90}
    cold = rollout(model, START, 8, refinement=Refine(**words))
    warm = rollout(model, START, 8, refinement=Refine(**words, warm_start=True))
    torch.testing.assert_close(warm.frames, cold.frames, rtol=1e-6, atol=1e-8)
    assert torch.equal(warm.account.evaluations[0], cold.account.evaluations[0])
    assert (warm.account.evaluations[1:].sum(0) < cold.account.evaluations[1:].sum(0)).all()


def drifting(hard: int) -> IterativeRefiner:
    """A base that is nearly right but for one of its calls, and a correction that halves the error."""
    calls: list[int] = []

    def base(x: Tensor) -> Tensor:
        calls.append(len(calls))
        return x + (1.0 if calls[-1] == hard else 0.01)

    return IterativeRefiner(base, FunctionCorrection(lambda x, h: x - h), steps=4, alpha=0.5).eval()


def test_adaptive_refinement_spends_its_budget_where_the_estimated_error_grows() -> None:
    hard, steps, budget = 5, 10, 2.4
    run = rollout(drifting(hard), 1 + START.abs(), steps, refinement=Adaptive(budget, most=6))
    spent = run.account.evaluations
    assert (spent.sum(0) <= budget * steps).all()
    easy = [call for call in range(1, steps) if call != hard]
    assert (spent[hard] > spent[easy].amax(0)).all()
    everywhere = rollout(drifting(hard), 1 + START.abs(), steps, refinement=Refine(steps=2))
    error, error_everywhere = ((r.frames[:, -1] - 1 - START.abs()).abs().mean() for r in (run, everywhere))
    assert error < 0.5 * error_everywhere


@pytest.mark.parametrize("budget", [1.0, 1.7, 3.0])
def test_no_budget_is_passed_and_nobody_pays_for_others(budget: float) -> None:
    model, steps = contracting(), 9
    scaled = START * torch.tensor([1e-3, 1.0, 30.0]).double()[:, None, None]
    together = rollout(model, scaled, steps, refinement=Adaptive(budget, most=5))
    assert (together.account.evaluations.sum(0) <= budget * steps).all()
    assert (together.account.evaluations >= 1).all()
    for i in range(3):
        alone = rollout(model, scaled[i : i + 1], steps, refinement=Adaptive(budget, most=5))
        assert torch.equal(alone.account.evaluations[:, 0], together.account.evaluations[:, i])
        torch.testing.assert_close(alone.frames[0], together.frames[i], rtol=0, atol=1e-12)


def test_a_budget_has_room_for_fields_of_zeros() -> None:
    still = IterativeRefiner(lambda x: x, FunctionCorrection(lambda x, h: x.clamp(min=0)), alpha=1.0).eval()
    start = torch.tensor([0.0, 1.0, 1e-40]).double()[:, None, None].expand(3, 1, 4)
    run = rollout(still, start, 6, refinement=Adaptive(2.0, most=4))
    assert torch.equal(run.frames[0], torch.zeros(6, 1, 4).double())
    assert (run.account.evaluations.sum(0) <= 12).all()


@pytest.mark.parametrize("refinement", [Refine(warm_start=True), Adaptive(2.0, most=4)], ids=repr)
def test_graphs_are_refined_as_one_by_one_even_when_others_leave(refinement: object) -> None:
    torch.manual_seed(4)
    base = GCN(1, 8, 2, 1).double()
    model = IterativeRefiner(base, "meshgraph", steps=3, alpha=0.3, in_channels=1, out_channels=1)
    model = model.double().eval()
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.1)
    batch = graphs()
    together = rollout(model, batch, 5, refinement=refinement, amend=Spoil(batch.batch == 1))
    assert together.lasted.tolist() == [5, 2, 5]
    assert together.account.evaluations[3:, 1].tolist() == [0, 0]
    assert together.account.outcomes[4][1] is None
    for i in (0, 2):
        alone = rollout(model, batch[i], 5, refinement=refinement)
        torch.testing.assert_close(together.frames[batch.batch == i], alone.frames, rtol=0, atol=1e-10)


class Spoil:
    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def bind(self, last: Tensor, domain: object, steps: int) -> object:
        hole = torch.where(self.rows[:, None], torch.inf, 0.0).to(last.dtype)
        return lambda index, frame: frame + hole if index == 2 else frame


def doubtful() -> IterativeRefiner:
    """The residual of a sample is half its size: samples grow by a quarter a step."""
    model = IterativeRefiner(lambda x: x, FunctionCorrection(lambda x, h: 0.25 * x), steps=1, alpha=1.0)
    model.calibration = Calibration("residual", factor=2.0, coverage=0.9, samples=20)
    return model.eval()


SIZES = torch.tensor([1.0, 0.1, 2.0]).double()[:, None, None].expand(3, 1, 4).contiguous()


def test_doubt_is_recorded() -> None:
    run = rollout(doubtful(), SIZES, 4, refinement=Refine(), limit=0.9)
    estimates = run.account.error_estimate
    torch.testing.assert_close(estimates[0], torch.tensor([0.5, 0.05, 1.0]))
    assert torch.equal(run.untrusted, estimates > 0.9)
    assert run.untrusted.sum() == 4 + 1
    assert run.endings == (Ending.COMPLETED,) * 3


def test_doubt_may_stop_a_sample() -> None:
    run = rollout(doubtful(), SIZES, 4, refinement=Refine(), limit=0.9, on_untrusted="stop")
    assert run.lasted.tolist() == [3, 4, 0]
    assert [e is Ending.UNTRUSTED for e in run.endings] == [True, False, True]
    whole = rollout(doubtful(), SIZES, 4).frames
    for i, lasted in enumerate(run.lasted.tolist()):
        assert torch.equal(run.frames[i, :lasted], whole[i, :lasted])
        assert run.frames[i, lasted:].isnan().all()


def test_doubt_may_be_settled_by_a_solver() -> None:
    doubts: list[UntrustedFrames] = []

    def solver(doubt: UntrustedFrames) -> Tensor:
        doubts.append(doubt)
        return doubt.history[:, -1:] * 0.5

    run = rollout(doubtful(), SIZES, 4, refinement=Refine(), limit=0.9, on_untrusted=solver)
    assert [(d.frame, d.samples.tolist()) for d in doubts] == [(0, [2]), (3, [0])]
    for doubt in doubts:
        for i in range(3):
            before = doubt.history[i, -1]
            factor = 0.5 if i in doubt.samples.tolist() else 1.25
            torch.testing.assert_close(run.frames[i, doubt.frame], factor * before)


def test_a_fall_back_rescues_what_is_not_finite() -> None:
    blows_up = FunctionCorrection(lambda x, h: torch.where(x > 1.5, torch.inf, 0.0).to(x.dtype))
    model = IterativeRefiner(lambda x: x, blows_up, steps=1, alpha=1.0).eval()
    words = {"refinement": Refine(), "limit": 1e9}
    lost = rollout(model, SIZES, 3, **words)
    assert lost.lasted.tolist() == [3, 3, 0]
    rescued = rollout(model, SIZES, 3, **words, on_untrusted=lambda doubt: doubt.history[:, -1:])
    assert rescued.lasted.tolist() == [3, 3, 3]
    assert torch.equal(rescued.frames, SIZES[:, None].expand(3, 3, 1, 4))
