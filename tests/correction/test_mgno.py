"""MgNO: linear cycles, the textbook's with the textbook's stencils; any size and boundary; zero at first."""

import itertools
import math

import pytest
import torch
from textbook import textbook
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.correction.equivariant import ShiftEquivariant
from neuralop_irno.correction.mgno import MgNO
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.padding import MODES
from neuralop_irno.models.multigrid import (
    MultigridCycle,
    Prolongation,
    SeparableProlongation,
    Stencil,
    separable_stencil,
)
from neuralop_irno.registry import CORRECTIONS
from neuralop_irno.training.described import described

SHAPES = [(1,), (2,), (17,), (1, 6), (13, 7), (16, 16), (3, 5, 4)]


def poisson(shape: tuple[int, ...]) -> Tensor:
    f = torch.randn(1, 1, *shape, dtype=torch.float64)
    return f - f.mean()  # on a torus only such an f has a solution


@pytest.mark.parametrize("cycle", ["V", "W"])
@pytest.mark.parametrize("shape", [(32,), (128,), (32, 32), (16, 16, 16)])
def test_with_the_textbooks_stencils_the_residual_falls_at_a_rate_that_no_size_changes(
    shape: tuple[int, ...], cycle: str
) -> None:
    levels = int(math.log2(min(shape))) - 1
    solve = textbook(len(shape), ["circular"] * len(shape), levels, cycle)
    f = poisson(shape)
    u = torch.zeros_like(f)
    sizes = []
    for _ in range(12):
        residual = f - solve.operator(u)
        sizes.append(residual.norm().item())
        u = u + solve(residual)
    rate = (sizes[-1] / sizes[3]) ** (1 / 8)
    assert rate < 0.5


WALLS = [("zero", (63,)), ("zero", (255,)), ("zero", (31, 63)), ("reflect", (65,)), ("reflect", (33, 65))]


@pytest.mark.parametrize(("mode", "shape"), WALLS)
def test_so_does_it_between_walls_which_every_level_sees_in_the_same_place(
    mode: str, shape: tuple[int, ...]
) -> None:
    solve = textbook(len(shape), [mode] * len(shape), 4)
    f = solve.operator(torch.randn(1, 1, *shape, dtype=torch.float64))
    u = torch.zeros_like(f)
    sizes = []
    for _ in range(12):
        residual = f - solve.operator(u)
        sizes.append(residual.norm().item())
        u = u + solve(residual)
    assert (sizes[-1] / sizes[3]) ** (1 / 8) < 0.5


def test_as_a_refiners_step_the_textbooks_cycle_solves_the_equation() -> None:
    solve = textbook(2, ["circular"] * 2, 3)

    class Cycle(nn.Module):
        def forward(self, joined: Tensor) -> Tensor:
            f, h = joined[:, :1], joined[:, 1:]
            return solve(f - solve.operator(h))

    model = IterativeRefiner(torch.zeros_like, Cycle(), alpha=1.0).eval()
    f = poisson((16, 16))
    solution = model.solve(f, rtol=1e-8, max_steps=60)
    assert solution.good.all()
    torch.testing.assert_close(solve.operator(solution.value), f, rtol=0, atol=1e-6)


CHEAPER = {"plain": (1.0, False), "wider below": (1.5, False), "narrower below, separable": (0.3, True)}


@pytest.mark.parametrize("cheaper", CHEAPER)
@pytest.mark.parametrize("cycle", ["V", "W"])
@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cycle_is_linear_and_keeps_the_grid(
    shape: tuple[int, ...], padding: str, cycle: str, cheaper: str
) -> None:
    solve = MultigridCycle(3, [padding] * len(shape), 3, cycle, *CHEAPER[cheaper]).double()
    f, g = torch.randn(2, 2, 3, *shape, dtype=torch.float64)
    assert solve(f).shape == f.shape
    torch.testing.assert_close(solve(2 * f - 3 * g), 2 * solve(f) - 3 * solve(g))
    assert solve(torch.zeros_like(f)).abs().max() == 0


@pytest.mark.parametrize("cycle", ["V", "W"])
@pytest.mark.parametrize("shape", [(16,), (8, 16), (8, 4, 4)])
def test_a_cycle_commutes_with_shifts_by_two_to_the_levels_and_not_with_others(
    shape: tuple[int, ...], cycle: str
) -> None:
    solve = MultigridCycle(2, ["circular"] * len(shape), levels=2, cycle=cycle).double()
    f = torch.randn(1, 2, *shape, dtype=torch.float64)
    axes = tuple(range(2, 2 + len(shape)))
    for shift in itertools.product((0, 4), repeat=len(shape)):
        torch.testing.assert_close(solve(f.roll(shift, axes)), solve(f).roll(shift, axes))
    assert not torch.allclose(solve(f.roll(1, -1)), solve(f).roll(1, -1), atol=1e-4)


# An odd torus has a seam on the coarse grid.
CLOSED_ALIKE = [("zero", (8,)), ("zero", (7, 5)), ("circular", (8,)), ("circular", (6, 4))]


@pytest.mark.parametrize(("mode", "shape"), CLOSED_ALIKE)
def test_spreading_is_the_transpose_of_restriction(mode: str, shape: tuple[int, ...]) -> None:
    """<R f, c> = <f, P c> wherever the coarse grid closes as the fine one does."""
    modes = [mode] * len(shape)
    down, up = Stencil(2, modes, stride=2).double(), Prolongation(2, modes).double()
    up.weight = down.weight
    f = torch.randn(1, 2, *shape, dtype=torch.float64)
    c = torch.randn_like(down(f))
    torch.testing.assert_close((down(f) * c).sum(), (f * up(c, shape)).sum())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", MODES)
def test_every_size_and_padding_keeps_the_shape_and_starts_at_zero(
    shape: tuple[int, ...], padding: str
) -> None:
    x, h = torch.randn(2, 2, *shape), torch.randn(2, 1, *shape)
    phi = MgNO(2, 1, len(shape), width=4, layers=2, padding=padding)
    assert torch.equal(phi(x, h), torch.zeros_like(h))
    nn.init.normal_(phi.last.weight)
    update = phi(x, h)
    assert update.shape == h.shape
    assert update.isfinite().all()
    update.sum().backward()
    # A single cell between zeros is seen by the middle of each stencil alone, and never by none.
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in phi.parameters())


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_separable_stencil_is_a_stencil_of_products(dim: int) -> None:
    """One weight for each channel and place, times one for each pair of channels."""
    modes, shape = ["circular"] * dim, (6, 4, 4)[:dim]
    f = torch.randn(2, 3, *shape, dtype=torch.float64)
    for stride in (1, 2):
        alone, mix = separable = separable_stencil(3, modes, to=5, stride=stride).double()
        whole = Stencil(3, modes, to=5, stride=stride).double()
        whole.weight.data = mix.weight * alone.weight.transpose(0, 1)
        torch.testing.assert_close(separable(f), whole(f))
    spread, whole = SeparableProlongation(3, modes, to=5).double(), Prolongation(3, modes, to=5).double()
    whole.weight.data = spread.mix.weight.transpose(0, 1) * spread.alone.weight.transpose(0, 1)
    fine = tuple(2 * size for size in shape)
    torch.testing.assert_close(spread(f, fine), whole(f, fine))


def test_channels_grow_with_each_level_and_separable_stencils_have_few_weights() -> None:
    grid, channels = MultigridCycle(8, ["zero"] * 2, 3, growth=1.5), []
    while grid is not None:
        channels.append(grid.smooth.weight.shape[0])
        grid = grid.coarse
    assert channels == [8, 12, 18, 27]
    sizes = [
        sum(weight.numel() for weight in MultigridCycle(16, ["zero"] * 2, 3, separable=each).parameters())
        for each in (False, True)
    ]
    assert sizes[0] / sizes[1] == (9 * 16 * 16) / (9 * 16 + 16 * 16)


def test_by_default_a_description_has_what_it_had_so_that_runs_of_before_go_on() -> None:
    whole, separable = (described(MultigridCycle(4, ["zero"], 2, separable=each)) for each in (False, True))
    assert "groups" not in str(whole)
    assert "modes" not in whole  # of the cycle, beside those of its stencils
    assert "groups" in str(separable)


@pytest.mark.parametrize("shape", [(9,), (7, 6), (3, 4, 2)])
def test_in_the_frame_of_x_it_commutes_with_every_shift_to_the_last_bit(shape: tuple[int, ...]) -> None:
    words = {"name": "mgno", "width": 4, "layers": 1, "levels": 2, "frame": True}
    phi = CORRECTIONS.build(words, in_channels=2, out_channels=1, dim=len(shape)).double()
    nn.init.normal_(phi.correction.last.weight)
    x, h = torch.randn(2, 2, *shape).double(), torch.randn(2, 1, *shape).double()
    axes = tuple(range(2, 2 + len(shape)))
    for shift in itertools.product(*(range(n) for n in shape)):
        assert torch.equal(phi(x.roll(shift, axes), h.roll(shift, axes)), phi(x, h).roll(shift, axes))


def test_with_mixed_padding_it_is_framed_along_the_periodic_axis_alone() -> None:
    words = {"name": "mgno", "width": 4, "layers": 1, "padding": ["circular", "replicate"], "frame": True}
    phi = CORRECTIONS.build(words, in_channels=1, out_channels=1, dim=2)
    assert isinstance(phi, ShiftEquivariant)
    assert phi.periodic == (True, False)
    plain = CORRECTIONS.build({**words, "padding": "zero"}, in_channels=1, out_channels=1, dim=2)
    assert isinstance(plain, MgNO)


def test_options_and_fields_that_do_not_fit_teach() -> None:
    phi, x = MgNO(2, 1, width=4, layers=1), torch.zeros(1, 2, 4, 4)
    cases = {
        r"^expected dim to be 1, 2 or 3, got 4; try": lambda: MgNO(1, 1, dim=4),
        r"^expected layers >= 1, got 0; try layers=4": lambda: MgNO(1, 1, layers=0),
        r"^expected levels >= 0, got -1; try levels=3": lambda: MgNO(1, 1, levels=-1),
        r"^expected a cycle, got 'F'; try .*V, W": lambda: MgNO(1, 1, cycle="F"),
        r"^expected growth > 0, got 0; try growth=1.5": lambda: MgNO(1, 1, growth=0),
        r"^expected x of shape \(B, 2, n, n\), on the grid of h, got \(2, 4, 4\); try": lambda: phi(x[0], x),
        r"^expected a field on a grid for MgNO, got one on points": lambda: phi.bind(
            x, GraphDomain(torch.zeros(4, dtype=torch.long), 1)
        ),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
