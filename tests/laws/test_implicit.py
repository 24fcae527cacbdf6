"""Law 2 for the gradient of the fixed point: it agrees with a long unroll, and needs one step's memory."""

from itertools import pairwise

import pytest
import torch
from conftest import Contracting, identity

from neuralop_irno import IterativeRefiner, RefinementLoss

X = torch.randn(3, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.randn(3, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def gradients(rule: object, steps: int, solver: str = "picard") -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(3)
    model = IterativeRefiner(
        identity, Contracting(), steps=steps, solver=solver, gradient=rule, train_output="field"
    ).train()
    answer = model(X)
    return answer.detach(), list(
        torch.autograd.grad((answer - Y).square().sum(), list(model.correction.parameters()))
    )


@pytest.mark.parametrize("solver", ["picard", "anderson"])
@pytest.mark.parametrize("backward", ["picard", "anderson", "broyden"])
def test_implicit_agrees_with_a_long_unroll(solver: str, backward: str) -> None:
    rule = {"name": "implicit", "rtol": 1e-12, "backward": backward, "backward_rtol": 1e-12}
    long_answer, exact = gradients("unrolled", steps=80)
    answer, ours = gradients(rule, steps=80, solver=solver)
    torch.testing.assert_close(answer, long_answer, rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(ours, exact, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def test_more_terms_of_the_series_come_closer() -> None:
    _, exact = gradients("unrolled", steps=80)
    size = torch.stack([g.norm() for g in exact]).norm()

    def distance(rule: object) -> torch.Tensor:
        _, ours = gradients(rule, steps=80)
        return torch.stack([(a - b).norm() for a, b in zip(ours, exact, strict=True)]).norm() / size

    series = [distance({"name": "neumann", "terms": n, "rtol": 1e-12}) for n in (1, 2, 4, 16)]
    assert all(later < 0.7 * earlier for earlier, later in pairwise(series))
    assert distance({"name": "one_step", "rtol": 1e-12}) == series[0]
    assert series[-1] < 1e-3


def test_it_trains_through_the_loss_and_learns_alpha() -> None:
    model = IterativeRefiner(
        identity, Contracting(), steps=30, alpha={"name": "learned", "value": 0.8}, gradient="implicit"
    ).train()
    trajectory = model(X, y=Y)
    assert len(trajectory.iterates) == 1
    RefinementLoss(spectral=0.3, fixed_point=0.1)(trajectory, Y).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_fixed_point_does_not_know_alpha() -> None:
    """At rest the answer does not depend on the step that led there, and so neither does the gradient."""
    model = IterativeRefiner(
        identity,
        Contracting(),
        steps=400,
        alpha={"name": "learned", "value": 0.7},
        gradient={"name": "implicit", "rtol": 1e-13, "backward_rtol": 1e-12},
        train_output="field",
    ).train()
    model(X).square().sum().backward()
    assert model.solver.alpha.values.grad.abs().max() < 1e-9


def test_default_tolerances_are_close_to_a_long_unroll() -> None:
    _, exact = gradients("unrolled", steps=80)
    _, ours = gradients("implicit", steps=80)
    size = torch.stack([g.norm() for g in exact]).norm()
    away = torch.stack([(a - b).norm() for a, b in zip(ours, exact, strict=True)]).norm()
    assert away < 3e-5 * size
