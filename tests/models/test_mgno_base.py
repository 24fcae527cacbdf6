"""MgNO as a base: with the textbook's stencils it is the textbook's V-cycle, done naively with matrices."""

import numpy as np
import pytest
import torch
from textbook import textbook
from torch import nn

from neuralop_irno.domain.padding import MODES
from neuralop_irno.models import MgNO

Array = np.ndarray


def along_each(one: Array, dim: int) -> Array:
    """The Kronecker product of a matrix with itself."""
    whole = one
    for _ in range(dim - 1):
        whole = np.kron(whole, one)
    return whole


def poisson(count: int, dim: int, closed: bool) -> Array:
    """-Laplace with spacing one, between walls with u = 0, or on a torus."""
    one = 2 * np.eye(count) - np.eye(count, k=1) - np.eye(count, k=-1)
    if closed:
        one[0, -1] -= 1
        one[-1, 0] -= 1
    unit = np.eye(count)
    parts = [[one if a == axis else unit for a in range(dim)] for axis in range(dim)]
    return sum(np.kron(*pair) if dim == 2 else pair[0] for pair in parts)


def restriction(count: int, closed: bool) -> Array:
    """Full weighting to every second point, the first of them inside of the walls."""
    kept = range(0, count, 2) if closed else range(1, count, 2)
    rows = np.zeros((len(kept), count))
    for row, middle in enumerate(kept):
        for beside, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            rows[row, (middle + beside) % count] += weight
    return rows


def v_cycle(f: Array, count: int, dim: int, closed: bool, levels: int, scale: float = 1.0) -> Array:
    """One cycle from u = 0 with a damped Jacobi step before and after; on one point between walls exact."""
    matrix = scale * poisson(count, dim, closed)
    relaxed = 0.8 / np.diag(matrix)
    if not levels:
        return np.linalg.solve(matrix, f) if count == 1 else relaxed * f
    down = along_each(restriction(count, closed), dim)
    up = 2**dim * down.T
    u = relaxed * f
    coarse = round(len(down) ** (1 / dim))
    u = u + up @ v_cycle(down @ (f - matrix @ u), coarse, dim, closed, levels - 1, scale / 4)
    return u + relaxed * (f - matrix @ u)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize(
    ("padding", "count", "levels"), [("zero", 15, 3), ("zero", 15, 2), ("circular", 16, 2)]
)
def test_one_linear_layer_is_exactly_one_textbook_cycle(
    dim: int, padding: str, count: int, levels: int
) -> None:
    net = MgNO(1, 1, dim, width=1, layers=1, levels=levels, padding=padding).double()
    for part in (net.lift, net.project):
        nn.init.ones_(part.weight)
    for part in (net.maps[0].weight, net.maps[0].bias, net.lift.bias, net.project.bias):
        nn.init.zeros_(part)
    cycle = net.cycles[0] = textbook(dim, [padding] * dim, levels)
    if count == 15 and levels == 3:  # its coarsest grid has one point, where a step without damping is exact
        while cycle.coarse is not None:
            cycle = cycle.coarse
        cycle.smooth.weight.data /= 0.8
    f = np.random.default_rng(0).standard_normal(count**dim)
    answer = net(torch.from_numpy(f).reshape(1, 1, *[count] * dim)).flatten().detach().numpy()
    naive = v_cycle(f, count, dim, padding == "circular", levels)
    assert np.abs(answer - naive).max() < 1e-13 * np.abs(naive).max() * count


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("shape", [(1,), (9,), (7, 5), (3, 5, 4)])
def test_every_size_and_padding_and_a_batch_equals_its_samples(shape: tuple[int, ...], padding: str) -> None:
    net = MgNO(2, 1, len(shape), width=4, layers=2, levels=2, padding=padding).double()
    x = torch.randn(3, 2, *shape).double()
    answer = net(x)
    assert answer.shape == (3, 1, *shape)
    torch.testing.assert_close(answer, torch.cat([net(one[None]) for one in x]))


@pytest.mark.parametrize("cycle", ["V", "W"])
def test_on_a_torus_it_commutes_with_shifts_by_two_to_the_levels(cycle: str) -> None:
    net = MgNO(2, 1, width=4, layers=2, levels=2, cycle=cycle).double()
    x = torch.randn(1, 2, 8, 12).double()
    for shift in ((4, 0), (0, 4), (4, 8)):
        torch.testing.assert_close(net(x.roll(shift, (2, 3))), net(x).roll(shift, (2, 3)))


def test_every_weight_learns() -> None:
    net = MgNO(2, 1, width=4, layers=2, levels=2).double()
    net(torch.randn(2, 2, 8, 8).double()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_options_that_do_not_fit_teach() -> None:
    cases = {
        r"^expected dim to be 1, 2 or 3, got 4; try dim=2": lambda: MgNO(1, 1, dim=4),
        r"^expected layers >= 1, got 0; try layers=4": lambda: MgNO(1, 1, layers=0),
        r"^expected a cycle, got 'F'; try": lambda: MgNO(1, 1, cycle="F"),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
