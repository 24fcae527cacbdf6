"""Iterated tuples of fields, like the recycled pair of AlphaFold: f on points, g on pairs of points."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import PicardNetwork

ONE_SENTENCE = r"^expected [^\n]+, got [^\n]+; try [^\n]+$"
Pair = tuple[Tensor, Tensor]
POINTS, CHANNELS, WIDE = 4, 2, 3


class Recycled(nn.Module):
    """Linear, with both fields in both answers: points get means over pairs, pairs get sums of two points."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(CHANNELS, WIDE, bias=False), nn.Linear(WIDE, CHANNELS, bias=False)

    def forward(self, y: Pair, times: Tensor | None = None) -> Pair:
        f, g = y
        points = 0.6 * f + self.down(g.mean(3).mT).mT
        lifted = self.up(f.mT).mT
        pairs = 0.3 * g.mT + lifted[..., None] + lifted[:, :, None]
        if times is not None:
            points = times[:, None, None] * points
        return 0.5 * points, 0.5 * pairs


def pair(samples: int = 3) -> Pair:
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(samples, CHANNELS, POINTS, dtype=torch.float64, generator=generator)
    g = torch.randn(samples, WIDE, POINTS, POINTS, dtype=torch.float64, generator=generator)
    scale = torch.logspace(0, 4, samples, dtype=torch.float64)
    return f * scale[:, None, None], g * scale[:, None, None, None]


def network(**options: Any) -> PicardNetwork:
    torch.manual_seed(0)
    return PicardNetwork(Recycled().double(), **{"inject": True, "smoothing": 0.25, **options})


def size(y: Pair) -> Tensor:
    """The root mean square of the two norms, for each sample."""
    return torch.stack([field.square().flatten(1).mean(1) for field in y]).mean(0).sqrt()


def flat(y: Pair) -> Tensor:
    return torch.cat([field.flatten(1) for field in y], 1)


def close(a: Pair, b: Pair, atol: float = 1e-11) -> None:
    assert isinstance(a, tuple)
    for mine, theirs in zip(a, b, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=atol)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("injected", [True, False])
def test_it_is_the_formula_in_both_fields(training: bool, injected: bool) -> None:
    model, y = network(steps=3, weight=0.7, inject=injected).train(training), pair()
    h = y
    for _ in range(3):
        image = model.block(h)
        h = tuple(
            0.25 * old + 0.75 * (0.7 * new + (free if injected else 0))
            for old, new, free in zip(h, image, y, strict=True)
        )
    close(model(y), h)


def test_the_fixed_point_solves_the_linear_system_of_both() -> None:
    model, y = network(), pair(1)
    shapes = [field.shape for field in y]
    sizes = [field.numel() for field in y]

    def together(u: Tensor) -> Tensor:
        parts = zip(u.split(sizes), shapes, strict=True)
        return flat(model.block(tuple(part.reshape(shape) for part, shape in parts)))[0]

    matrix = torch.autograd.functional.jacobian(together, flat(y)[0])
    assert torch.linalg.eigvals(matrix).abs().max() < 1
    exact = torch.linalg.solve(torch.eye(len(matrix), dtype=torch.float64) - matrix, flat(y)[0])
    solution = model.eval().solve(y, rtol=1e-13, max_steps=600)
    assert solution.good.all()
    torch.testing.assert_close(flat(solution.value)[0], exact, rtol=1e-9, atol=1e-9)


def test_each_sample_stops_on_its_own_in_the_norm_of_the_tuple() -> None:
    model, y, times = network(steps=300, atol=1e-6).eval(), pair(), torch.tensor([1.0, 0.1, 0.5]).double()
    solution = model.solve(y, times)
    assert solution.good.all()
    assert len(set(solution.steps.tolist())) > 1
    close(model(y, times=times), solution.value)
    for i, steps in enumerate(solution.steps.tolist()):
        mine = tuple(field[i : i + 1] for field in y)
        alone = model.solve(mine, times[i : i + 1])
        assert alone.steps.tolist() == [steps]
        close(alone.value, tuple(field[i : i + 1] for field in solution.value))
        ends = [model.solve(mine, times[i : i + 1], steps=n).value for n in (steps - 1, steps)]
        moved = size(tuple(b - a for a, b in zip(*ends, strict=True)))
        torch.testing.assert_close(moved, solution.residuals[i][-1:], rtol=1e-6, atol=1e-12)
        assert moved < 1e-6


@pytest.mark.parametrize("solver", ["anderson", "broyden", "aitken"])
def test_every_solver_finds_the_same_pair(solver: str) -> None:
    model, y = network().eval(), pair()
    exact, found = (
        model.solve(y, rtol=1e-13, max_steps=600),
        model.solve(y, solver=solver, rtol=1e-12, max_steps=600),
    )
    assert found.good.all()
    for mine, theirs in zip(found.value, exact.value, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("solver", ["picard", "anderson"])
def test_banachs_bounds_hold_in_the_norm_of_the_tuple(solver: str) -> None:
    class Halved(nn.Module):
        def forward(self, y: Pair) -> Pair:
            return 0.5 * y[0], -0.5 * y[1]

    y = pair()
    model = PicardNetwork(Halved(), smoothing=0.0, inject=True).eval()
    for steps in (1, 4):
        solution = model.solve(y, solver=solver, steps=steps, lipschitz=0.5)
        error = size((solution.value[0] - 2 * y[0], solution.value[1] - y[1] / 1.5))
        assert (error <= solution.a_posteriori * (1 + 1e-9) + 1e-9).all()


@pytest.mark.parametrize("gradient", ["unrolled", "checkpointed", "implicit", "one_step"])
def test_every_parameter_learns(gradient: str) -> None:
    model = network(steps=40, gradient=gradient, inject=Recycled().double()).train()
    answer = model(pair())
    sum(field.square().mean() for field in answer).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_trajectory_is_supervised_by_a_tuple() -> None:
    model, y = network(steps=3).train(), pair()
    trajectory = model.trajectory(y)
    assert len(trajectory.iterates) == 3
    close(trajectory.as_answer(trajectory.last), model(y))
    loss = trajectory.domain.norm(trajectory.last - trajectory.as_field(y)).square()
    torch.testing.assert_close(loss, size(tuple(a - b for a, b in zip(model(y), y, strict=True))).square())


class Answers(nn.Module):
    def __init__(self, function: Callable[[Pair], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, y: Pair) -> Any:
        return self.function(y)


F, G = pair()
MISTAKES: dict[str, Callable[[], Any]] = {
    "a tuple of fields (B, C, *S) with equally many samples": lambda: network()((F, G[:2])),
    "got [(4,), (3, 3, 4, 4)]": lambda: network()((F[0, 0], G)),
    "got []": lambda: network()(()),
    "x[1] to be finite": lambda: network()((F, G * torch.nan)),
    "of shapes [(3, 2, 4), (3, 3, 4, 4)], got [(3, 2, 4)]": lambda: PicardNetwork(Answers(lambda y: y[:1]))(
        (F, G)
    ),
    "got (3, 2, 4); try": lambda: PicardNetwork(Answers(lambda y: y[0]))((F, G)),
    "got [(3, 3, 4, 4), (3, 2, 4)]": lambda: PicardNetwork(Answers(lambda y: y[::-1]))((F, G)),
    "a tuple of fields on grids, got a graph": lambda: network()(
        (F, G), batch=torch.zeros(3, dtype=torch.long)
    ),
}


@pytest.mark.parametrize("message", list(MISTAKES))
def test_mistakes_are_answered_in_one_sentence(message: str) -> None:
    with pytest.raises(ValueError, match=ONE_SENTENCE) as caught:
        MISTAKES[message]()
    assert re.search(re.escape(message), str(caught.value))
