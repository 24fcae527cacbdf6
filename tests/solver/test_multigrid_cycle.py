"""Multigrid as a preconditioner: symmetric, fast at every size, the classical cycle where Phi is zero."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, LinearEquation, Resolution
from neuralop_irno.domain.cell_transfers import averaged, prolonged, restricted
from neuralop_irno.domain.ends import ENDS as EVERY_END
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.registry import EQUATIONS
from neuralop_irno.solver.fcg import FCG
from neuralop_irno.solver.multigrid import Multigrid
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

ENDS = ["periodic", "dirichlet"]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def system(n: int, boundary: str, contrast: float = 1.0, samples: int = 1, dim: int = 2) -> System:
    """Screened Darcy, with a that jumps on a fixed pattern, and a rough f."""
    places = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    waves = torch.sin(2 * torch.pi * 2 * places)
    pattern = math.prod(torch.meshgrid(*[waves] * dim, indexing="ij"))
    a = torch.where(pattern > 0, contrast, 1.0).expand(samples, 1, *[n] * dim)
    x = torch.cat([a, drawn(samples, 1, *[n] * dim)], 1)
    equation = EQUATIONS.build("darcy", screen=1.0, boundary=boundary)
    return System(equation.bind(x, GridDomain.of(x)))


@pytest.mark.parametrize("ends", EVERY_END)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_restriction_is_the_transpose_of_prolongation(ends: str, dim: int) -> None:
    fine, coarse = drawn(2, 3, *[8, 4, 6][:dim]), drawn(2, 3, *[4, 2, 3][:dim], seed=1)
    left = (prolonged(coarse, [ends] * dim) * fine).sum() / 2**dim
    assert (left - (restricted(fine, [ends] * dim) * coarse).sum()).abs() < 1e-12


@pytest.mark.parametrize("ends", ["periodic", "neumann"])
def test_constants_stay_constant(ends: str) -> None:
    ones = torch.ones(1, 1, 4, 6)
    for carried in (prolonged(ones, [ends] * 2), restricted(ones, [ends] * 2), averaged(ones)):
        assert torch.equal(carried, torch.ones_like(carried))


@pytest.mark.parametrize("boundary", ENDS)
@pytest.mark.parametrize("smoothing", [1, 2])
def test_the_classical_cycle_is_linear_symmetric_and_positive_definite(boundary: str, smoothing: int) -> None:
    made = system(16, boundary, contrast=10.0)
    multigrid = Multigrid(phi=False, smoothing=smoothing)
    units = torch.eye(256, dtype=torch.float64).reshape(256, 1, 1, 16, 16)
    matrix = torch.stack([multigrid.of(made, unit, unit).flatten() for unit in units])
    assert (matrix - matrix.mT).abs().max() < 1e-12 * matrix.abs().max()
    assert torch.linalg.eigvalsh(matrix).min() > 0
    r = drawn(1, 1, 16, 16)
    assert (multigrid.of(made, r, r).flatten() - r.flatten() @ matrix).abs().max() < 1e-12


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("boundary", ENDS)
@pytest.mark.parametrize("n", [32, 64, 128])
def test_a_cycle_contracts_below_one_half_at_every_size(n: int, boundary: str, dim: int) -> None:
    made, multigrid = system(n, boundary, dim=dim), Multigrid(phi=False)
    error = drawn(1, 1, *[n] * dim)
    for _ in range(12):  # the power method
        size = error.norm()
        error = error - multigrid.of(made, error, made.physics.apply(error))
        rate = error.norm() / size
    assert rate < 0.5


def steps(made: System, multigrid: Multigrid) -> int:
    h = torch.zeros(made.domain.samples, 1, *made.domain.shape, dtype=torch.float64)  # type: ignore[attr-defined]
    limits = Limits(rtol=1e-8, max_steps=100)
    return int(solve_equation(made, FCG(multigrid), h, 4, limits, lambda h: h).steps.max())


@pytest.mark.parametrize("boundary", ENDS)
def test_the_steps_of_fcg_do_not_grow_with_the_grid(boundary: str) -> None:
    needed = [steps(system(n, boundary, contrast=10.0), Multigrid(phi=False)) for n in (32, 128)]
    assert needed[1] <= 1.5 * needed[0]


class Proposed(nn.Module):
    """A function of D^-1 r for all levels, in place of Phi."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function
        self.sizes: list[int] = []

    def __call__(self, h: Tensor, r: Tensor) -> Tensor:
        self.sizes.append(r.shape[-1])
        answer: Tensor = self.function(r)  # type: ignore[operator]
        return answer

    def select(self, keep: Tensor) -> Proposed:
        return self

    def on(self, equation: object, carry: object) -> Proposed:
        return self


FUNCTIONS = {
    "zero": torch.zeros_like,
    "not a number": lambda r: torch.full_like(r, torch.nan),
    "infinite": lambda r: torch.full_like(r, torch.inf),
}


@pytest.mark.parametrize("proposals", [1, 2])
@pytest.mark.parametrize("how", FUNCTIONS)
def test_a_proposal_that_is_no_help_leaves_the_classical_cycle(how: str, proposals: int) -> None:
    made = system(32, "dirichlet", contrast=10.0)
    phi = Proposed(FUNCTIONS[how])
    other = System(made.physics, phi)
    r = drawn(1, 1, 32, 32)
    expected = Multigrid(phi=False).of(made, r, r)
    found = Multigrid(proposals=proposals).of(other, r, r)
    assert (found - expected).abs().max() < 1e-12 * expected.abs().max()
    assert phi.sizes == ([32, 16] if proposals == 1 else [32, 16, 16, 32])  # 8 x 8 is solved exactly


def test_each_proposal_brings_the_cycle_nearer_to_the_solution() -> None:
    made, error = system(32, "dirichlet", contrast=10.0), drawn(1, 1, 32, 32)
    r = made.physics.apply(error)
    phi = Proposed(lambda r: r - 0.25 * (r.roll(1, 2) + r.roll(-1, 2)))
    ways = [Multigrid(phi=False), *(Multigrid(proposals=number) for number in (1, 2))]
    left = [error - way.of(System(made.physics, phi), r, r) for way in ways]
    energies = [float((each * made.physics.apply(each)).sum()) for each in left]
    assert energies[2] < energies[1] < energies[0]


def test_proposals_of_any_size_are_scaled_to_the_best_multiple() -> None:
    made, r = system(32, "dirichlet"), drawn(1, 1, 32, 32)
    one, other = (
        Multigrid().of(System(made.physics, Proposed(lambda r, s=s: s * r)), r, r) for s in (1, -1e3)
    )
    assert (one - other).abs().max() < 1e-12 * one.abs().max()


def model() -> IterativeRefiner:
    torch.manual_seed(0)
    words = {"name": "unet", "width": 4, "depth": 1, "norm": "none", "padding": "zero"}
    built = IterativeRefiner(
        nn.Conv2d(2, 1, 1), words, equation="darcy", in_channels=2, out_channels=1,
        solver={"name": "fcg", "preconditioner": "multigrid"},
    )  # fmt: skip
    for parameter in built.correction.parameters():
        nn.init.normal_(parameter, std=0.1)
    return built.eval()


def test_phi_is_evaluated_on_every_grid_as_it_is() -> None:
    refiner = model()
    seen: list[tuple[int, ...]] = []
    for part in refiner.correction.modules():
        if type(part).__name__ == "UNet":
            part.register_forward_hook(lambda _, args, out: seen.append(tuple(out.shape[2:])))
    refiner.resolution = Resolution([32, 32], extent="fixed")
    x = torch.cat([1 + torch.rand(2, 1, 64, 64), torch.randn(2, 1, 64, 64)], 1)
    solution = refiner.solve(x, rtol=1e-10, max_steps=50)
    assert {outcome.name for outcome in solution.outcomes} == {"CONVERGED"}
    assert {*seen} == {(64, 64), (32, 32), (16, 16)}
    assert solution.steps.max() < 30


def test_every_weight_of_phi_gets_a_gradient_from_the_cycle() -> None:
    refiner = model()
    x = torch.cat([1 + torch.rand(1, 1, 32, 32), torch.randn(1, 1, 32, 32)], 1)
    made, call = refiner.system((x,), {})
    with torch.enable_grad():
        Multigrid().of(made, call.start, call.x[:, 1:]).square().sum().backward()
    for name, parameter in refiner.correction.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.norm() > 0, name


def test_a_batch_is_its_samples() -> None:
    whole = system(32, "dirichlet", contrast=10.0, samples=3)
    r = drawn(3, 1, 32, 32)
    all_of = Multigrid(phi=False).of(whole, r, r)
    for i in range(3):
        keep = torch.tensor([i])
        alone = Multigrid(phi=False).of(whole.select(keep), r[keep], r[keep])
        assert (alone - all_of[keep]).abs().max() < 1e-12


def test_equations_without_a_diagonal_and_models_without_phi_are_refused() -> None:
    bare = LinearEquation(lambda x, v: v, lambda x: x)
    x = drawn(1, 1, 32, 32)
    made = System(bare.bind(x, GridDomain.of(x)))
    with pytest.raises(ValueError, match="expected an equation with the diagonal of A"):
        Multigrid(phi=False).of(made, x, x)
    with pytest.raises(ValueError, match="expected a correction of x, h and r as the preconditioner"):
        Multigrid().of(made, x, x)
    with pytest.raises(ValueError, match="expected damping"):
        Multigrid(damping=0.0)
    with pytest.raises(ValueError, match="expected proposals of 1 or 2"):
        Multigrid(proposals=3)
