"""The dual norm of the residual is the energy norm of the error, or equivalent to it with the bounds of a."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from neuralop_irno import IterativeRefiner, LinearEquation, ResidualLoss, residual_norm
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.elliptic import Darcy, Poisson
from neuralop_irno.solution import Trajectory
from neuralop_irno.spectrum.homogeneous import HomogeneousNorm

SHAPES = {1: (9,), 2: (6, 7), 3: (4, 5, 6)}
SIDES = {1: (2.0,), 2: (1.0, 3.0), 3: (1.0, 0.5, 2.0)}
BOUNDARIES = ("periodic", "dirichlet")


def fields(dim: int, channels: int = 1) -> Tensor:
    return torch.randn(3, channels, *SHAPES[dim], dtype=torch.float64)


def gradient_norm(e: Tensor, sides: tuple[float, ...], boundary: str) -> Tensor:
    """The root mean square of the differences across faces, on walls of those from zero."""
    total = torch.zeros(len(e), dtype=e.dtype)
    for axis, side in enumerate(sides, start=2):
        n = e.shape[axis]
        first, last = e.narrow(axis, 0, 1), e.narrow(axis, n - 1, 1)
        inner = e.diff(dim=axis).square().flatten(1).sum(1)
        # Half a cell from a wall to the first point: the square of 2 e / delta, on half a cell.
        ends = first - last if boundary == "periodic" else math.sqrt(2) * torch.cat([first, last], axis)
        total = total + (inner + ends.square().flatten(1).sum(1)) * (n / side) ** 2
    return (total / e[0].numel()).sqrt()


@pytest.mark.parametrize("screen", [0.0, 3.0])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_on_poissons_equation_it_is_the_energy_norm_of_the_error(
    dim: int, boundary: str, screen: float
) -> None:
    truth, h = fields(dim), fields(dim)
    sides, equation = SIDES[dim], Poisson(screen, boundary)
    f = equation.bind(h, GridDomain.of(h, sides)).apply(truth)
    found = residual_norm(equation, f, h, screen=screen, boundary=boundary, lengths=sides)
    e = truth - h
    energy = gradient_norm(e, sides, boundary).square() + screen * e.square().flatten(1).mean(1)
    torch.testing.assert_close(found, energy.sqrt(), rtol=1e-10, atol=0)
    norm = HomogeneousNorm(1, screen, boundary=boundary)
    torch.testing.assert_close(norm(e, GridDomain.of(e, sides)), found, rtol=1e-10, atol=0)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_with_the_symbol_of_waves_it_is_exact_for_derivatives_of_waves(dim: int) -> None:
    sides, norm = SIDES[dim], HomogeneousNorm(1, symbol="fourier")
    axes = list(range(2, dim + 2))

    def minus_laplacian(x: Tensor, v: Tensor) -> Tensor:
        total = torch.zeros(())
        for n, side in zip(v.shape[2:], sides, strict=True):
            total = total[..., None] + (2 * torch.pi * torch.fft.fftfreq(n, 1 / n).double() / side).square()
        return torch.fft.ifftn(total * torch.fft.fftn(v, dim=axes), dim=axes).real

    truth, h = fields(dim), fields(dim)
    equation = LinearEquation(minus_laplacian, lambda x: x)
    found = residual_norm(equation, minus_laplacian(h, truth), h, symbol="fourier", lengths=sides)
    torch.testing.assert_close(found, norm(truth - h, GridDomain.of(h, sides)), rtol=1e-10, atol=0)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_on_darcys_equation_it_is_between_the_bounds_of_a_times_the_error(dim: int) -> None:
    a, truth, h = fields(dim).exp(), fields(dim), fields(dim)
    equation = Darcy(boundary="periodic")
    f = equation.bind(torch.cat([a, truth], 1), GridDomain.of(h)).apply(truth)
    found = residual_norm(equation, torch.cat([a, f], 1), h)
    error = gradient_norm(truth - h, (1.0,) * dim, "periodic")
    assert (found >= a.flatten(1).amin(1) * error * (1 - 1e-10)).all()
    assert (found <= a.flatten(1).amax(1) * error * (1 + 1e-10)).all()
    for constant in (0.2, 5.0):  # both bounds are reached
        x = torch.cat([torch.full_like(a, constant), f], 1)
        x[:, 1:] = equation.bind(x, GridDomain.of(h)).apply(truth)
        torch.testing.assert_close(residual_norm(equation, x, h), constant * error, rtol=1e-10, atol=0)


@pytest.mark.parametrize("order", [-1.0, 0.0])
def test_the_loss_is_the_relative_norm_alone_and_on_a_trajectory(order: int) -> None:
    equation, h, f = Poisson(2.0, "periodic"), fields(2), fields(2)
    options: dict[str, Any] = {"screen": 2.0, "reduction": "mean"}
    wanted = residual_norm(equation, f, h, order, screen=2.0) / residual_norm(
        equation, f, 0 * h, order, screen=2.0
    )
    alone = ResidualLoss(order, equation, **options)(h, h, x=f)
    torch.testing.assert_close(alone, wanted.square().mean())
    bound = equation.bind(f, GridDomain.of(h))
    progress = torch.zeros(3)
    path = Trajectory((h, 0 * h), (progress, progress), bound.domain, physics=bound)
    torch.testing.assert_close(ResidualLoss(order, **options)(path, h), (alone + 1) / 2)


def test_a_refiner_learns_by_it_and_the_truth_is_not_read() -> None:
    model = IterativeRefiner(
        torch.nn.Identity(), {"name": "unet", "width": 4, "depth": 0, "dim": 1},
        in_channels=1, out_channels=1, equation=Poisson(2.0, "periodic"),
    ).train()  # fmt: skip
    f, loss = fields(1).float(), ResidualLoss(screen=2.0)
    first = loss(model(f, y=f), f)
    assert torch.equal(first, loss(model(f, y=f + 1), f + 1))
    first.backward()
    assert sum(p.grad.square().sum() for p in model.correction.parameters() if p.grad is not None) > 0


def test_a_constant_residual_has_no_dual_norm_without_a_screen() -> None:
    ones = torch.ones(1, 1, 8, dtype=torch.float64)
    assert HomogeneousNorm(-1)(ones, GridDomain.of(ones)) == 0
    assert HomogeneousNorm(-1, screen=4.0)(ones, GridDomain.of(ones)) == pytest.approx(0.5)


def test_what_is_refused() -> None:
    h = fields(2)
    with pytest.raises(ValueError, match="expected one boundary for each of 2 axes"):
        residual_norm(Poisson(1.0), h, h, boundary=["periodic"])
    with pytest.raises(ValueError, match="symbol"):
        HomogeneousNorm(symbol="exact")
    with pytest.raises(ValueError, match="expected a flat uniform grid for this norm"):
        HomogeneousNorm()(h, GraphDomain(torch.zeros(3, dtype=torch.long), 1))
    with pytest.raises(ValueError, match="expected a trajectory with an equation"):
        ResidualLoss()(h, h)
    with pytest.raises(ValueError, match="expected x beside y"):
        ResidualLoss(equation=Poisson(1.0))(h, h)
