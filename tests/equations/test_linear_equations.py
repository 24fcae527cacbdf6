"""Laws of the linear equations by name, in one to three dimensions and with every boundary."""

from __future__ import annotations

import pytest
import torch
from grid_cases import CASES, LENGTHS, OPTIONS, SAMPLES, SHAPES, Case, dense
from torch import Tensor

from neuralop_irno.domain.grid import GridDomain, axis_points
from neuralop_irno.equations.equation import equation_from
from neuralop_irno.registry import EQUATIONS, SOLVERS
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.system import System
from neuralop_irno.solver.to_equation import solve_equation

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def fields(case: Case, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, SAMPLES, 1, *SHAPES[case.dim])
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@every_case
def test_the_residual_is_affine_with_minus_apply_as_its_linear_part(case: Case) -> None:
    bound, (v, w) = case.bound, fields(case, 2)
    combined = bound.apply(2 * v - 3 * w)
    assert torch.allclose(combined, 2 * bound.apply(v) - 3 * bound.apply(w), rtol=0, atol=1e-10)
    assert torch.allclose(bound(v) - bound(w), -bound.apply(v - w), rtol=0, atol=1e-10)


@every_case
def test_symmetry_and_definiteness_are_as_stated_and_the_diagonal_is_exact(case: Case) -> None:
    equation, bound, shape = case.equation, case.bound, SHAPES[case.dim]
    matrix = dense(bound, shape)
    assert equation.symmetric is True
    assert torch.allclose(matrix, matrix.mT, rtol=0, atol=1e-11)
    values = torch.linalg.eigvalsh(matrix)
    if equation.definite:
        nullity = int(bound.project(torch.ones(1, 1, *shape, dtype=torch.float64)).abs().max() < 1e-12)
        assert (values[:, nullity] > 1e-3).all()
        assert (values[:, :nullity].abs() < 1e-10).all()
    else:
        assert (values[:, 0] < 0).all()
        assert (values[:, -1] > 0).all()
    assert bound.diagonal is not None
    of_h = bound.diagonal.expand(SAMPLES, 1, *shape).flatten(1)
    assert torch.allclose(of_h, matrix.diagonal(dim1=1, dim2=2), rtol=1e-13, atol=0)


@every_case
def test_a_solve_equals_that_of_the_dense_matrix(case: Case) -> None:
    bound, shape = case.bound, SHAPES[case.dim]
    start = fields(case, 1)[0]
    solver = SOLVERS.build("fcg" if case.equation.definite else "fgmres", preconditioner="jacobi")
    limits = Limits(rtol=1e-12, max_steps=200)
    solution = solve_equation(System(bound), solver, start, 4, limits, lambda h: h)
    assert set(solution.outcomes) == {Outcome.CONVERGED}
    residual = bound(start)
    change = (torch.linalg.pinv(dense(bound, shape)) @ residual.flatten(1)[..., None])[..., 0]
    exact = start + change.reshape(start.shape)
    assert (solution.value - exact).abs().max() < 1e-9 * exact.abs().max()


@every_case
def test_samples_selected_are_those_of_the_batch(case: Case) -> None:
    bound, v = case.bound, fields(case, 1)[0]
    for sample in range(SAMPLES):
        keep = torch.tensor([sample])
        alone = bound.select(keep)
        assert torch.allclose(alone(v[keep]), bound(v)[keep], rtol=0, atol=1e-11)
        assert torch.allclose(alone.apply(v[keep]), bound.apply(v)[keep], rtol=0, atol=1e-11)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
@pytest.mark.parametrize("name", ["poisson", "darcy", "helmholtz"])
def test_the_error_of_a_known_solution_falls_with_the_square_of_the_spacing(
    name: str, boundary: str, dim: int
) -> None:
    """h = prod sin(2 pi s / L), zero on walls; for Darcy's equation a = exp(sum cos(2 pi s / L) / 2)."""
    errors = []
    for n in (6, 12) if dim == 3 else (12, 24):
        axes = [side * (axis_points(n, True, torch.zeros(1).double()) + 0.5 / n) for side in LENGTHS[:dim]]
        s = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        rates = [2 * torch.pi / side for side in LENGTHS[:dim]]
        phase = torch.stack([rate * part for rate, part in zip(rates, s, strict=True)])
        h = phase.sin().prod(0)
        slopes = [rate * phase.cos()[i] * h / phase.sin()[i] for i, rate in enumerate(rates)]
        minus_laplacian = sum(rate**2 for rate in rates) * h
        options = OPTIONS[name][-1] if name != "darcy" else {"screen": 2.0}
        c = options.get("screen", 0.0) - options.get("wavenumber", 0.0) ** 2
        if name == "darcy":
            a = (phase.cos().sum(0) / 2).exp()
            along = sum(-rate * phase.sin()[i] / 2 * slopes[i] for i, rate in enumerate(rates))
            x = torch.stack([a, a * (minus_laplacian - along) + c * h])[None]
        else:
            x = (minus_laplacian + c * h)[None, None]
        domain = GridDomain.of(x, LENGTHS[:dim])
        bound = equation_from({"name": name, "boundary": boundary, **options}).bind(x, domain)
        solver = SOLVERS.build({"name": "fgmres", "restart": 300}, preconditioner="jacobi")
        limits = Limits(rtol=1e-10, max_steps=600)
        solved = solve_equation(System(bound), solver, torch.zeros_like(x[:, :1]), 4, limits, lambda h: h)
        assert solved.outcomes == (Outcome.CONVERGED,)
        errors.append(float((solved.value[0, 0] - h).norm() / h.norm()))
    assert 1.7 < torch.tensor(errors[0] / errors[1]).log2() < 2.6, errors


def test_a_flux_through_a_jump_is_that_of_two_layers_in_series() -> None:
    """a jumps from 1 to 9 at a face: h is linear in each layer, to the last digit."""
    n = 8
    a = torch.ones(n, dtype=torch.float64)
    a[n // 2 :] = 9.0
    points = (torch.arange(n).double() + 0.5) / n
    slopes = torch.tensor([1.0, 1 / 9], dtype=torch.float64)  # of a flux of 1
    h = torch.where(points < 0.5, points * slopes[0], 0.5 * slopes[0] + (points - 0.5) * slopes[1])
    bound = equation_from({"name": "darcy", "source": 0.0}).bind(a[None, None], GridDomain(1, (n,)))
    inside = bound(h[None, None])[0, 0, 1:-1]
    assert inside.abs().max() < 1e-12


def test_without_walls_or_a_screen_the_mean_of_h_stays_and_that_of_f_is_left_out() -> None:
    x = torch.randn(1, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3.0
    bound = equation_from({"name": "poisson", "boundary": "periodic"}).bind(x, GridDomain.of(x))
    start = torch.full_like(x, 5.0)
    assert torch.allclose(bound(start), x - x.mean())
    limits = Limits(rtol=1e-10, max_steps=50)
    solved = solve_equation(
        System(bound), SOLVERS.build("fcg", preconditioner="jacobi"), start, 4, limits, lambda h: h
    )
    assert solved.outcomes == (Outcome.CONVERGED,)
    assert solved.value.mean().item() == pytest.approx(5.0, abs=1e-12)


REFUSED = [
    ({"name": "poisson", "boundary": "wall"}, "a boundary, got 'wall'; try"),
    ({"name": "poisson", "screen": -1.0}, "screen >= 0, got -1.0; try"),
    ({"name": "poisson", "scren": 1.0}, "an option of equation 'poisson', got 'scren'; try 'screen'"),
    ({"name": "helmholtz"}, "the option 'wavenumber' of equation 'helmholtz'"),
    ({"name": "poison"}, "the name of an equation, got 'poison'; try 'poisson'"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_wrong_options_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        equation_from(config)


def test_wrong_inputs_are_refused() -> None:
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    domain = GridDomain.of(x)
    with pytest.raises(ValueError, match="f in channel 1 of x, got 1 channels; try"):
        equation_from("darcy").bind(x, domain)
    with pytest.raises(
        ValueError, match=r"the permeability a, channel 0 of x, > 0, got values from 0\.0; try"
    ):
        equation_from({"name": "darcy", "source": 1.0}).bind(0 * x, domain)
    with pytest.raises(ValueError, match="one boundary for each of 2 axes, got"):
        equation_from({"name": "poisson", "boundary": ["periodic"]}).bind(x, domain)
    with pytest.raises(ValueError, match="two or more points along each axis, got"):
        equation_from("poisson").bind(x[..., :1], GridDomain.of(x[..., :1]))
    mask = torch.arange(4).expand(1, 1, 4, 4) > 0
    with pytest.raises(ValueError, match="a unique solution beside a mask"):
        equation_from({"name": "poisson", "boundary": "periodic"}).bind(x, domain, mask)


def test_every_linear_equation_on_grids_is_in_these_tests() -> None:
    from neuralop_irno.equations.diffusion import DiffusionEquation

    named = {name for name in EQUATIONS.names() if issubclass(EQUATIONS.lookup(name), DiffusionEquation)}  # type: ignore[arg-type]
    assert named == set(OPTIONS)
