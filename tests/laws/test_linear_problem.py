"""Law 1: on a linear problem the rate and the limit are the known ones."""

import pytest
import torch
from conftest import Linear, zero

from neuralop_irno import IterativeRefiner, Outcome


def spectrum(values: list[float], rotate: bool = True) -> torch.Tensor:
    """A symmetric matrix with these eigenvalues."""
    q, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64))
    return q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ q.T


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.9])
def test_error_shrinks_by_the_norm_of_one_minus_alpha_a(alpha: float) -> None:
    eigenvalues = [0.5, 0.8, 1.3, 2.0]
    matrix = spectrum(eigenvalues)
    offset = torch.randn(4, dtype=torch.float64)
    model = IterativeRefiner(zero, Linear(matrix, offset), steps=120, alpha=alpha).eval()
    x = torch.zeros(1, 1, 4, dtype=torch.float64)
    limit = torch.linalg.solve(matrix, offset)
    errors = torch.stack([(h - limit).norm() for h in model.iterates(x)])

    rate = max(abs(1 - alpha * value) for value in eigenvalues)
    late = errors[:121][errors[:121] > 1e-12]
    observed = (late[-1] / late[-11]) ** (1 / 10)
    assert observed.item() == pytest.approx(rate, rel=1e-3)
    assert (errors[1:] <= rate * errors[:-1] + 1e-12).all()  # a symmetric A never does worse
    assert model(x).flatten().tolist() == pytest.approx(limit.tolist(), abs=max(1e-10, 3 * rate**120))


def test_a_tolerance_is_met_when_it_says_so() -> None:
    matrix, offset = spectrum([0.5, 1.0]), torch.randn(2, dtype=torch.float64)
    model = IterativeRefiner(zero, Linear(matrix, offset), alpha=0.8).eval()
    solution = model.solve(torch.zeros(3, 1, 2, dtype=torch.float64), max_steps=200, rtol=1e-6)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    limit = torch.linalg.solve(matrix, offset)
    # |h* - h| <= q / (1 - q) |update|, and the update met the tolerance.
    bound = 0.6 / 0.4 * 1e-6 * limit.norm()
    assert ((solution.value - limit).norm(dim=-1) <= 1.01 * bound).all()


def test_residuals_have_their_true_length_and_count() -> None:
    model = IterativeRefiner(zero, Linear(spectrum([0.5, 1.0]), torch.ones(2).double()), alpha=0.8)
    x = torch.zeros(2, 1, 2, dtype=torch.float64)
    start = torch.stack([torch.zeros(1, 2), 1e6 * torch.ones(1, 2)]).double()
    solution = model.eval().solve(x, max_steps=500, rtol=1e-8, start=start)
    assert [len(r) for r in solution.residuals] == solution.steps.tolist()
    assert solution.steps[0] < solution.steps[1]
    assert solution.evaluations == solution.steps.sum()


def test_divergence_is_an_outcome() -> None:
    grows = Linear(-3 * torch.eye(2).double(), torch.ones(2).double())
    model = IterativeRefiner(zero, grows, alpha=1.0).eval()
    x = torch.zeros(2, 1, 2, dtype=torch.float64)
    assert set(model.solve(x, max_steps=100, rtol=1e-6).outcomes) == {Outcome.GROWING}
    assert set(model.solve(x, steps=2000).outcomes) == {Outcome.NOT_FINITE}
    assert set(model.solve(x, steps=5).outcomes) == {Outcome.COMPLETED}
    assert set(model.solve(x, max_steps=3, rtol=1e-6).outcomes) == {Outcome.OUT_OF_STEPS}
    with pytest.raises(RuntimeError, match=r"samples \[0, 1\] ended badly"):
        model.solve(x, max_steps=100, rtol=1e-6, throw=True)


def test_scheduled_and_learned_step_sizes_take_the_steps_they_say() -> None:
    one = Linear(torch.eye(1).double(), torch.ones(1).double())
    x = torch.zeros(1, 1, 1, dtype=torch.float64)
    for alpha in ([0.5, 0.25], {"name": "learned", "value": 0.5, "steps": 2}):
        model = IterativeRefiner(zero, one, steps=3, alpha=alpha).eval()
        if isinstance(alpha, dict):
            with torch.no_grad():
                model.solver.alpha.values[1] = 0.25
        errors = [1 - h.item() for h in model.iterates(x)]
        assert errors == pytest.approx([1, 0.5, 0.375, 0.28125])
