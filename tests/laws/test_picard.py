"""Laws of iterated blocks, in float64: with T linear all that Banach's theorem says is known in numbers.

Two iterations of arXiv 2310.01618 are meant: the damped one, u <- a u + (1 - a) T(u), and the one for
equations of the second kind, lambda T(u) + f = u, where the product of lambda and T's constant is below 1.
`PicardNetwork` is both at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from solver_names import OF_CORRECTIONS
from torch import Tensor, nn
from torch_geometric.nn import GraphConv

from neuralop_irno import PicardNetwork

SOLVER_NAMES = sorted(set(OF_CORRECTIONS) - {"denoising", "flow", "confidence"})
"""All but those that seek no fixed point: one adds noise, one ends at a time, one averages over its steps."""


@dataclass(frozen=True)
class Problem:
    """A linear block, states to start from, and the matrix of the block on each sample."""

    block: nn.Module
    x: Tensor
    words: dict[str, Tensor]
    matrices: list[Tensor]
    rows: list[slice]
    """Of x, for each sample."""

    def each(self, field: Tensor) -> list[Tensor]:
        return [field[rows].flatten() for rows in self.rows]

    def solved(self, weight: float, free: Tensor) -> list[Tensor]:
        """(I - lambda M)^{-1} f, sample by sample."""
        return [
            torch.linalg.solve(torch.eye(len(m), dtype=m.dtype) - weight * m, f)
            for m, f in zip(self.matrices, self.each(free), strict=True)
        ]


def size(vector: Tensor) -> float:
    """The norm of the domain: a root of the mean square."""
    return float(vector.square().mean().sqrt())


def written_out(block: nn.Module, x: Tensor, **words: Tensor) -> Tensor:
    jacobian = torch.autograd.functional.jacobian(lambda u: block(u, **words), x)
    return jacobian.reshape(x.numel(), x.numel())


def scaled(block: nn.Module, times: float) -> nn.Module:
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.mul_(times)
    return block.double()


def on_vectors() -> Problem:
    block, x = scaled(nn.Linear(5, 5, bias=False), 0.6), torch.randn(3, 5, dtype=torch.float64)
    return Problem(block, x, {}, [block.weight.detach()] * 3, [slice(i, i + 1) for i in range(3)])


def on_grids() -> Problem:
    conv = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", bias=False)
    block, x = scaled(conv, 0.5), torch.randn(3, 2, 4, 5, dtype=torch.float64)
    return Problem(block, x, {}, [written_out(block, x[:1])] * 3, [slice(i, i + 1) for i in range(3)])


def on_tokens() -> Problem:
    block, x = scaled(nn.Linear(4, 4, bias=False), 0.7), torch.randn(2, 3, 4, dtype=torch.float64)
    return Problem(block, x, {}, [written_out(block, x[:1])] * 2, [slice(i, i + 1) for i in range(2)])


def on_graphs() -> Problem:
    """Three graphs of different sizes and norms in one batch; the convolution is not told of ``batch``."""
    block, sizes = scaled(GraphConv(2, 2, bias=False), 0.2), (4, 6, 3)
    starts = [0, 4, 10]
    edges = [torch.randint(n, (2, 2 * n)) for n in sizes]
    x = torch.randn(13, 2, dtype=torch.float64)
    rows = [slice(start, start + n) for start, n in zip(starts, sizes, strict=True)]
    matrices = [written_out(block, x[r], edge_index=e) for r, e in zip(rows, edges, strict=True)]
    words = {
        "edge_index": torch.cat([e + start for e, start in zip(edges, starts, strict=True)], 1),
        "batch": torch.repeat_interleave(torch.tensor(sizes)),
    }
    return Problem(block, x, words, matrices, rows)


PROBLEMS = {"vectors": on_vectors, "grids": on_grids, "tokens": on_tokens, "graphs": on_graphs}


@pytest.fixture(params=list(PROBLEMS))
def problem(request: pytest.FixtureRequest) -> Problem:
    return PROBLEMS[request.param]()


def norms(problem: Problem) -> Tensor:
    return torch.stack([torch.linalg.matrix_norm(m, 2) for m in problem.matrices])


@pytest.mark.parametrize(
    ("smoothing", "weight"), [(0.0, 1.0), (0.5, 1.0), (0.0, -0.8), (0.7, 0.5), (0.5, 0.0)]
)
def test_the_limit_solves_the_linear_system(problem: Problem, smoothing: float, weight: float) -> None:
    network = PicardNetwork(problem.block, smoothing=smoothing, steps=400, inject=True, weight=weight).eval()
    assert float(norms(problem).max()) * abs(weight) < 1
    answer = network(problem.x, **problem.words)
    for ours, exact in zip(problem.each(answer), problem.solved(weight, problem.x), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-10, atol=1e-10)


def test_without_a_free_function_it_rests_at_zero(problem: Problem) -> None:
    network = PicardNetwork(problem.block, smoothing=0.3, steps=500).eval()
    assert network(problem.x, **problem.words).abs().max() < 1e-12


@pytest.mark.parametrize(("smoothing", "weight"), [(0.0, 0.9), (0.4, 0.9), (0.4, -0.9)])
def test_the_observed_rate_is_the_known_one(smoothing: float, weight: float) -> None:
    """For a symmetric T it is the largest of |a + (1 - a) lambda mu| over T's eigenvalues, step by step."""
    values = torch.tensor([0.9, 0.3, -0.2, -0.7], dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    block = nn.Linear(4, 4, bias=False).double()
    with torch.no_grad():
        block.weight.copy_(basis @ values.diag() @ basis.T)
    x = torch.randn(1, 4, dtype=torch.float64)
    exact = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - weight * block.weight.detach(), x[0])
    rate = (smoothing + (1 - smoothing) * weight * values).abs().max().item()
    network = PicardNetwork(block, smoothing=smoothing, inject=True, weight=weight).eval()
    errors = [size(network.solve(x, steps=n).value - exact) for n in (60, 80)]
    assert (errors[1] / errors[0]) ** (1 / 20) == pytest.approx(rate, rel=1e-4)
    assert network.solve(x, steps=60).contraction.item() == pytest.approx(rate, rel=1e-4)
    assert rate <= network.factor(0.9) + 1e-7


@pytest.mark.parametrize(("smoothing", "weight"), [(0.0, 1.0), (0.5, -0.9)])
def test_both_bounds_hold_at_every_step(problem: Problem, smoothing: float, weight: float) -> None:
    network = PicardNetwork(problem.block, smoothing=smoothing, inject=True, weight=weight).eval()
    exact, lipschitz = problem.solved(weight, problem.x), norms(problem)
    for steps in (1, 2, 3, 5, 8, 13, 21, 34):
        solution = network.solve(problem.x, **problem.words, steps=steps, lipschitz=lipschitz)
        k = smoothing + (1 - smoothing) * abs(weight) * lipschitz
        torch.testing.assert_close(solution.factor, k, rtol=1e-6, atol=1e-6)
        assert solution.factor_known
        for i, (ours, truth) in enumerate(zip(problem.each(solution.value), exact, strict=True)):
            error = size(ours - truth)
            assert error <= solution.a_posteriori[i] * (1 + 1e-6) + 1e-14
            assert solution.a_posteriori[i] <= solution.a_priori[i] * (1 + 1e-6) + 1e-14
            first, last = solution.residuals[i][0], solution.residuals[i][-1]
            factor = solution.factor[i]
            torch.testing.assert_close(solution.a_priori[i], factor**steps / (1 - factor) * first)
            torch.testing.assert_close(solution.a_posteriori[i], factor / (1 - factor) * last)


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_the_bounds_are_equalities_where_all_directions_shrink_alike(smoothing: float) -> None:
    block = nn.Linear(6, 6, bias=False).double()
    with torch.no_grad():
        block.weight.copy_(0.6 * torch.eye(6, dtype=torch.float64))
    x = torch.randn(4, 6, dtype=torch.float64)
    network = PicardNetwork(block, smoothing=smoothing, inject=True).eval()
    for steps in (1, 4, 9):
        solution = network.solve(x, steps=steps, lipschitz=0.6)
        for i, ours in enumerate(solution.value):
            error = size(ours - x[i] / 0.4)
            assert error == pytest.approx(solution.a_priori[i].item(), rel=1e-12)
            assert error == pytest.approx(solution.a_posteriori[i].item(), rel=1e-12)


def test_a_scaled_rotation_shrinks_errors_by_its_scale_and_no_more() -> None:
    block = nn.Linear(4, 4, bias=False).double()
    with torch.no_grad():
        block.weight.copy_(0.8 * torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q)
    x = torch.randn(1, 4, dtype=torch.float64)
    exact = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - block.weight.detach(), x[0])
    network = PicardNetwork(block, smoothing=0.0, inject=True).eval()
    for steps in (1, 5, 20):
        solution = network.solve(x, steps=steps, lipschitz=0.8)
        error, start = size(solution.value[0] - exact), size(x[0] - exact)
        assert error == pytest.approx(0.8**steps * start, rel=1e-10)
        # Between the two lies how far the first step can deceive: (1 + k) / (1 - k).
        assert error <= solution.a_priori.item() <= 9.0001 * error
        assert error <= solution.a_posteriori.item() <= 9.0001 * error


@pytest.mark.parametrize("solver", SOLVER_NAMES)
def test_every_solver_comes_to_rest_at_the_same_point(problem: Problem, solver: str) -> None:
    network = PicardNetwork(problem.block, smoothing=0.2, inject=True).eval()
    solution = network.solve(
        problem.x, **problem.words, solver=solver, rtol=1e-11, max_steps=600, lipschitz=norms(problem)
    )
    assert solution.good.all()
    exact = problem.solved(1.0, problem.x)
    for i, (ours, truth) in enumerate(zip(problem.each(solution.value), exact, strict=True)):
        torch.testing.assert_close(ours, truth, rtol=1e-8, atol=1e-8)
        assert size(ours - truth) <= solution.a_posteriori[i] + 1e-14
        assert solution.a_posteriori[i] < 1e-8


@pytest.mark.parametrize("solver", ["anderson", "broyden"])
def test_what_another_solver_found_is_bounded_long_before_it_rests(problem: Problem, solver: str) -> None:
    network = PicardNetwork(problem.block, smoothing=0.2, inject=True).eval()
    exact, lipschitz = problem.solved(1.0, problem.x), norms(problem)
    for steps in (1, 2, 4):
        solution = network.solve(problem.x, **problem.words, solver=solver, steps=steps, lipschitz=lipschitz)
        errors = [size(o - t) for o, t in zip(problem.each(solution.value), exact, strict=True)]
        assert (torch.tensor(errors) <= solution.a_posteriori * (1 + 1e-6)).all()
        assert solution.a_priori.isinf().all()
        assert solution.evaluations == (steps + 1) * len(exact)


def test_each_sample_stops_on_its_own_and_a_batch_is_a_loop(problem: Problem) -> None:
    network = PicardNetwork(problem.block, smoothing=0.4, steps=300, tol=1e-6, inject=True).eval()
    together = network.solve(problem.x, **problem.words)
    assert together.good.all()
    torch.testing.assert_close(network(problem.x, **problem.words), together.value)
    for i, rows in enumerate(problem.rows):
        words = dict(problem.words)
        if words:
            mine = (words["batch"][words["edge_index"]] == i).all(0)
            words = {"edge_index": words["edge_index"][:, mine] - rows.start}
        alone = network.solve(problem.x[rows], **words)
        assert alone.steps.tolist() == [together.steps[i].item()]
        torch.testing.assert_close(alone.value, together.value[rows], rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(alone.residuals[0], together.residuals[i], rtol=1e-9, atol=1e-13)


def test_samples_of_different_difficulty_take_different_steps() -> None:
    problem = on_graphs()
    x = problem.x * torch.cat([torch.full((4, 1), 0.0), torch.ones(9, 1)])
    network = PicardNetwork(problem.block, smoothing=0.0, inject=True).eval()
    steps = network.solve(x, **problem.words, rtol=1e-9, max_steps=300).steps
    assert steps[0] == 1  # it starts at rest, and has to look once
    assert (steps[1:] > 5).all()


class Smooth(nn.Module):
    """x -> W2 tanh(W1 x), a contraction with a curved middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6).double(), nn.Linear(6, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        return 0.8 * self.second(torch.tanh(self.first(x)))


def gradients(gradient: Any, steps: int, solver: str = "picard") -> list[Tensor]:
    torch.manual_seed(1)
    network = PicardNetwork(
        Smooth(),
        smoothing=0.3,
        steps=steps,
        inject=nn.Linear(4, 4).double(),
        solver=solver,
        gradient=gradient,
    ).train()
    x = torch.randn(3, 4, dtype=torch.float64)
    answer = network(x)
    return [answer.detach(), *torch.autograd.grad(answer.square().sum(), list(network.parameters()))]


@pytest.mark.parametrize(
    ("gradient", "solver"),
    [
        ("checkpointed", "picard"),
        ({"name": "last", "n": 60}, "picard"),
        ({"name": "implicit", "rtol": 1e-13, "backward_rtol": 1e-13}, "picard"),
        ({"name": "implicit", "rtol": 1e-13, "backward_rtol": 1e-13}, "anderson"),
        ({"name": "neumann", "terms": 60, "rtol": 1e-13}, "picard"),
    ],
)
def test_all_gradient_rules_agree_at_rest(gradient: Any, solver: str) -> None:
    for ours, unrolled in zip(gradients(gradient, 100, solver), gradients("unrolled", 100), strict=True):
        torch.testing.assert_close(ours, unrolled, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("gradient", ["unrolled", "checkpointed"])
def test_the_gradient_is_what_finite_differences_say(gradient: str) -> None:
    network = PicardNetwork(Smooth(), steps=3, inject=True, weight=0.9, gradient=gradient).train()
    names = [name for name, _ in network.named_parameters()]
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)

    def answer(start: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), (start,))

    assert torch.autograd.gradcheck(answer, (x, *network.parameters()))


def test_at_rest_it_forgets_where_it_came_from_and_how_it_was_damped() -> None:
    block, x = Smooth(), torch.randn(2, 4, dtype=torch.float64)
    rests = [
        PicardNetwork(block, smoothing=a, steps=300).eval()(start)
        for a in (0.0, 0.6)
        for start in (x, 5 * x, torch.zeros_like(x))
    ]
    for rest in rests:
        torch.testing.assert_close(rest, rests[0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(block(rest), rest, rtol=1e-10, atol=1e-12)
