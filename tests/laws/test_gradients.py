"""Law 2: the gradient rules agree with each other and with finite differences, in double precision."""

import pytest
import torch
from conftest import Contracting, SmallNet, identity

from neuralop_irno import IterativeRefiner, RefinementLoss

X = torch.randn(2, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.randn(2, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def gradients(rule: object, steps: int = 4, spectral: float = 0.7) -> list[torch.Tensor]:
    torch.manual_seed(3)
    model = IterativeRefiner(identity, SmallNet(), steps=steps, alpha=0.6, gradient=rule).train()
    loss = RefinementLoss(spectral=spectral, fixed_point=0.1)(model(X, y=Y), Y)
    return list(torch.autograd.grad(loss, list(model.correction.parameters())))


def test_checkpointed_and_last_k_are_the_unrolled_gradient() -> None:
    exact = gradients("unrolled")
    for rule in ("checkpointed", {"name": "last", "n": 4}, {"name": "last", "n": 9}):
        for ours, theirs in zip(gradients(rule), exact, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_unrolled_is_what_finite_differences_say() -> None:
    torch.manual_seed(3)
    model = IterativeRefiner(identity, SmallNet(), steps=3, alpha=0.6, gradient="unrolled").train()
    parameters = list(model.correction.parameters())

    def loss(*values: torch.Tensor) -> torch.Tensor:
        named = dict(zip(dict(model.correction.named_parameters()), values, strict=True))
        state = {f"correction.{name}": value for name, value in named.items()}
        trajectory = torch.func.functional_call(model, state, (X,), {"y": Y})
        return RefinementLoss(spectral=0.5)(trajectory, Y)

    assert torch.autograd.gradcheck(loss, parameters)


def test_last_one_is_the_gradient_of_the_last_step_alone() -> None:
    torch.manual_seed(3)
    model = IterativeRefiner(identity, SmallNet(), steps=3, alpha=0.6, gradient="unrolled")
    with torch.no_grad():
        before = model.eval().iterates(X)[2]
    h = before + 0.6 * model.correction(X, before)
    expected = torch.autograd.grad((h - Y).square().mean((1, 2)).sum(), list(model.correction.parameters()))
    model.gradient = IterativeRefiner(identity, SmallNet(), gradient={"name": "last", "n": 1}).gradient
    trajectory = model.train()(X, y=Y)
    assert len(trajectory.iterates) == 1
    got = torch.autograd.grad(RefinementLoss()(trajectory, Y), list(model.correction.parameters()))
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_detached_is_on_average_the_sum_of_every_steps_own_gradient() -> None:
    torch.manual_seed(3)
    model = IterativeRefiner(identity, SmallNet(), steps=3, alpha=0.6, gradient="detached").train()
    parameters = list(model.correction.parameters())
    with torch.no_grad():
        states = model.eval().iterates(X)[:3]
    own = [
        torch.autograd.grad((h + 0.6 * model.correction(X, h) - Y).square().mean((1, 2)).sum(), parameters)
        for h in states
    ]
    expected = [torch.stack(parts).mean(0) for parts in zip(*own, strict=True)]
    model.train()
    draws = 400
    total = [torch.zeros_like(p) for p in parameters]
    for _ in range(draws):
        trajectory = model(X, y=Y)
        assert len(trajectory.iterates) == 1
        for t, g in zip(total, torch.autograd.grad(RefinementLoss()(trajectory, Y), parameters), strict=True):
            t += g / draws
    for ours, theirs in zip(total, expected, strict=True):
        assert (ours - theirs).norm() < 0.15 * theirs.norm()


def test_detached_supervises_step_k_plus_one_from_h_k() -> None:
    model = IterativeRefiner(identity, SmallNet(), steps=4, alpha=0.6, gradient="detached")
    x, y = X.repeat(8, 1, 1), Y.repeat(8, 1, 1)
    iterates = torch.stack(model.eval().iterates(x))
    trajectory = model.train()(x, y=y)
    steps = (trajectory.progress[0] * 3 + 1).round().long()
    assert set(steps.tolist()) == {1, 2, 3, 4}
    expected = iterates[steps, torch.arange(len(x))]
    torch.testing.assert_close(trajectory.last.detach(), expected)


@pytest.mark.parametrize("rule", ["unrolled", "checkpointed", "detached", {"name": "last", "n": 2}])
def test_a_field_in_training_is_h_k_with_a_gradient(rule: object) -> None:
    model = IterativeRefiner(identity, SmallNet(), steps=3, alpha=0.6, gradient=rule, train_output="field")
    with torch.no_grad():
        answer = model.eval()(X)
    field = model.train()(X, y=Y)
    torch.testing.assert_close(field.detach(), answer)
    field.sum().backward()
    assert all(p.grad is not None for p in model.correction.parameters())


def test_gradients_reach_the_input_in_evaluation() -> None:
    model = IterativeRefiner(identity, SmallNet(), steps=2, alpha=0.6).eval()
    assert torch.autograd.gradcheck(model, X.clone().requires_grad_())


SOLVERS = ["picard", "anderson", "broyden", "aitken", "backtracking", "safeguarded", "best_so_far"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_gradients_cross_every_solver(solver: str) -> None:
    """Unrolled, checkpointed and finite differences agree, whatever takes the steps."""
    torch.manual_seed(3)
    words = {"steps": 3, "solver": solver, "gradient": "unrolled"}
    model = IterativeRefiner(identity, Contracting(), **words).train()
    named = dict(model.correction.named_parameters())

    def loss(*values: torch.Tensor) -> torch.Tensor:
        state = {f"correction.{name}": value for name, value in zip(named, values, strict=True)}
        return RefinementLoss()(torch.func.functional_call(model, state, (X,), {"y": Y}), Y)

    assert torch.autograd.gradcheck(loss, list(named.values()))
    exact = torch.autograd.grad(loss(*named.values()), list(named.values()))
    model.gradient = IterativeRefiner(identity, Contracting(), gradient="checkpointed").gradient
    again = torch.autograd.grad(loss(*named.values()), list(named.values()))
    for ours, theirs in zip(again, exact, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_untrained_correction_can_start_to_learn_under_every_solver(solver: str) -> None:
    words = {"name": "unet", "width": 4, "depth": 1, "dim": 1}
    sizes = {"in_channels": 1, "out_channels": 1}
    model = IterativeRefiner(identity, words, steps=4, solver=solver, gradient="unrolled", **sizes).train()
    RefinementLoss()(model(X.float(), y=Y.float()), Y.float()).backward()
    grads = [p.grad for p in model.correction.parameters()]
    assert all(g is not None and g.isfinite().all() for g in grads)
    assert any(g.abs().sum() > 0 for g in grads)
