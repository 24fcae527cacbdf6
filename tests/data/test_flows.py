"""The generators against solutions that are known, in double precision."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from scipy.special import ive
from torch import Tensor

from neuralop_irno.data.solvers.burgers import Burgers
from neuralop_irno.data.solvers.flow import PeriodicFlow
from neuralop_irno.data.solvers.pseudo_spectral import PeriodicGrid, integrating_factor_rk4, random_field
from neuralop_irno.data.solvers.turbulence import Turbulence
from neuralop_irno.data.splits import load_splits

Kind = type[Turbulence] | type[Burgers]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def after(flow: PeriodicFlow, start: Tensor, time: float) -> Tensor:
    """The field some time after it was ``start``."""
    return flow.grid.values(flow.advance(flow.grid.transform(start), time))


def smooth(grid: PeriodicGrid, samples: int = 2) -> Tensor:
    """The modes of random fields without those that would alias."""
    field = random_field(grid, samples, 2.0, torch.Generator().manual_seed(1))
    return grid.transform(field) * grid.kept


VORTICES: dict[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "Taylor-Green": (2, lambda x, y: 2 * x.cos() * y.cos()),
    "one mode": (13, lambda x, y: torch.sin(2 * x + 3 * y)),
    "one shell": (25, lambda x, y: torch.cos(3 * x - 4 * y) + torch.sin(5 * x) - torch.cos(4 * x + 3 * y)),
}


@pytest.mark.parametrize("name", list(VORTICES))
def test_vorticity_on_one_shell_of_wavenumbers_decays_at_its_exact_rate(name: str) -> None:
    """There w is a multiple of psi, and nothing is advected."""
    squared, function = VORTICES[name]
    flow = Turbulence(resolution=20, viscosity=0.03, drag=0.2, forcing=0.0)
    start = function(*flow.grid.points())
    expected = start * math.exp(-(0.03 * squared + 0.2) * 0.5)
    torch.testing.assert_close(after(flow, start, 0.5), expected, rtol=0, atol=1e-11)


def test_advection_is_the_one_worked_out_by_hand() -> None:
    flow = Turbulence(resolution=16)
    x, y = flow.grid.points()
    vorticity = x.sin() + 4 * torch.cos(2 * y)  # psi = sin x + cos 2y
    advection = flow.grid.values(flow.advection(flow.grid.transform(vorticity)))
    torch.testing.assert_close(advection, -6 * x.cos() * torch.sin(2 * y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("resolution", [12, 15, 16])
def test_advection_conserves_vorticity_energy_and_enstrophy(resolution: int) -> None:
    flow = Turbulence(resolution)
    modes = smooth(flow.grid)
    vorticity, change = flow.grid.values(modes), flow.grid.values(flow.advection(modes))
    inverse = torch.where(flow.grid.squared > 0, 1 / flow.grid.squared.clamp(min=1), 0.0)
    streamfunction = flow.grid.values(modes * inverse)
    size = change.square().mean((1, 2)).sqrt()
    assert (size > 0.1).all()
    for conserved in (torch.ones_like(vorticity), streamfunction, vorticity):
        assert ((conserved * change).mean((1, 2)).abs() < 1e-13 * size).all()


def test_the_laminar_kolmogorov_flow_stands_still() -> None:
    flow = Turbulence(resolution=24, viscosity=0.1, drag=0.05, forcing=0.7, forcing_wavenumber=3)
    _, y = flow.grid.points()
    laminar = -3 * 0.7 * torch.cos(3 * y) / (0.1 * 9 + 0.05)
    torch.testing.assert_close(after(flow, laminar, 1.0), laminar, rtol=0, atol=1e-7)
    modes = flow.grid.transform(laminar)
    rest = flow.grid.values(flow.linear * modes + flow.nonlinear(modes))
    assert rest.abs().max() < 1e-12


def test_an_unforced_inviscid_flow_keeps_its_energy() -> None:
    flow = Turbulence(resolution=16, viscosity=0.0, drag=0.0, forcing=0.0, dt=0.01)
    start = flow.grid.values(smooth(flow.grid))
    end = after(flow, start, 1.0)
    assert not torch.allclose(start, end, atol=0.1)
    torch.testing.assert_close(end.square().mean((1, 2)), start.square().mean((1, 2)), rtol=1e-7, atol=0)


@pytest.mark.parametrize("kind", [Turbulence, Burgers])
def test_halving_the_time_step_divides_the_error_by_sixteen(kind: Kind) -> None:
    flow = kind(16, viscosity=0.05)
    start = flow.grid.values(3 * smooth(flow.grid))

    def end(steps: int) -> Tensor:
        flow.dt = 0.8 / steps
        return after(flow, start, 0.8)

    reference = end(400)
    errors = [(end(steps) - reference).norm().item() for steps in (20, 40, 80)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.15)


def test_the_linear_part_is_exact_at_any_step() -> None:
    rate = torch.tensor([-1e3, -1.0, 0.0])
    step = integrating_factor_rk4(rate, torch.zeros_like, dt=2.0)
    torch.testing.assert_close(step(torch.ones(3)), torch.exp(2 * rate))


def cole_hopf(x: Tensor, time: float, viscosity: float) -> Tensor:
    """The solution of u_t + u u_x = nu u_xx from u = sin x: -2 nu (log phi)_x, and phi obeys the heat
    equation from exp(cos x / 2 nu), whose Fourier coefficients are Bessel functions."""
    k = torch.arange(1, 80)
    weight = 2 * torch.as_tensor(ive(k.numpy(), 1 / (2 * viscosity))) * torch.exp(-viscosity * k**2 * time)
    phase = k * x[..., None]
    phi = ive(0, 1 / (2 * viscosity)) + (weight * phase.cos()).sum(-1)
    return 2 * viscosity * (weight * k * phase.sin()).sum(-1) / phi


@pytest.mark.parametrize(("dim", "size", "viscosity"), [(1, 256, 0.08), (2, 64, 0.2), (3, 32, 0.4)])
def test_burgers_follows_cole_and_hopf(dim: int, size: int, viscosity: float) -> None:
    """u = v(x_1 + .. + x_d) obeys the equation in one dimension for d v, with d times the viscosity."""
    time = 1.0
    flow = Burgers(size, dim, viscosity / dim, dt=0.01)
    phase = torch.stack(flow.grid.points()).sum(0)
    ours = dim * after(flow, phase.sin() / dim, time)
    exact = cole_hopf(phase, time, viscosity)
    assert (exact - phase.sin()).abs().max() > 0.2
    torch.testing.assert_close(ours, exact, rtol=0, atol=2e-6 if dim == 3 else 2e-7)


def test_burgers_keeps_its_mean_and_loses_energy() -> None:
    flow = Burgers(resolution=64, viscosity=0.05)
    start = flow.grid.values(smooth(flow.grid)) + 0.3
    end = after(flow, start, 0.5)
    torch.testing.assert_close(end.mean(1), start.mean(1))
    assert (end.square().mean(1) < start.square().mean(1)).all()


@pytest.mark.parametrize(("kind", "size"), [(Turbulence, 40), (Burgers, 96)])
def test_a_finer_solver_gives_the_same_flow(kind: Kind, size: int) -> None:
    coarse, fine = kind(size, viscosity=0.2), kind(2 * size, viscosity=0.2)
    start = coarse.grid.values(smooth(coarse.grid) * (coarse.grid.squared < 9))
    modes = fine.grid.transform(torch.stack([refine(field, 2 * size) for field in start]))
    torch.testing.assert_close(fine.grid.coarsen(modes, size), start)
    theirs = fine.grid.coarsen(fine.advance(modes, 0.3), size)
    torch.testing.assert_close(after(coarse, start, 0.3), theirs, rtol=0, atol=1e-5)


def refine(field: Tensor, size: int) -> Tensor:
    """The trigonometric interpolation of a field onto more points, axis by axis."""
    for axis, n in enumerate(field.shape):
        field = torch.fft.irfft(torch.fft.rfft(field, dim=axis), n=size, dim=axis) * (size / n)
    return field


@pytest.mark.parametrize("size", [5, 8, 9, 16])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_coarsening_reads_the_function_off_the_coarse_points_and_aliases_nothing(size: int, dim: int) -> None:
    def function(grid: PeriodicGrid) -> Tensor:
        points = grid.points()
        return 0.5 + sum((2 * p).cos() for p in points) + torch.sin(points[0] - 2 * points[-1])

    fine, coarse = PeriodicGrid(18, dim), PeriodicGrid(size, dim)
    too_fine = sum(torch.sin((size // 2 + (size % 2)) * p) for p in fine.points())
    read = fine.coarsen(fine.transform(function(fine) + too_fine), size)
    torch.testing.assert_close(read, function(coarse), rtol=0, atol=1e-12)


def test_the_points_and_wavenumbers_of_a_longer_box() -> None:
    grid = PeriodicGrid(8, 1, length=3.0)
    (x,) = grid.points()
    wave = torch.sin(2 * math.pi / 3 * x)
    slope = grid.values(1j * grid.wavenumbers[0] * grid.transform(wave))
    torch.testing.assert_close(slope, 2 * math.pi / 3 * torch.cos(2 * math.pi / 3 * x))


def test_random_starts_have_no_mean_unit_variance_and_their_peak() -> None:
    grid = PeriodicGrid(48, 2)
    fields = random_field(grid, 4, 6.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(fields.mean((1, 2)), torch.zeros(4), rtol=0, atol=1e-12)
    torch.testing.assert_close(fields.flatten(1).std(1), torch.ones(4))
    amplitude = grid.transform(fields).abs().mean(0).flatten()
    shell = grid.squared.sqrt().round().long().flatten()
    mean = torch.stack([amplitude[shell == k].mean() for k in range(20)])
    assert mean.argmax().item() in (5, 6, 7)


@pytest.mark.parametrize("kind", [Turbulence, Burgers])
def test_snapshots_are_one_frame_apart_whatever_the_warm_up(kind: Kind) -> None:
    flow = kind(16)
    frames = flow.run(samples=2, frames=4, frame=0.1, seed=5)
    assert frames.shape == (2, 4, *flow.grid.points()[0].shape)
    late = flow.run(samples=2, frames=2, frame=0.1, seed=5, warmup=0.2)
    torch.testing.assert_close(late, frames[:, 2:])
    torch.testing.assert_close(after(flow, frames[:, 0], 0.1), frames[:, 1])
    few = flow.run(samples=2, frames=4, frame=0.1, seed=5, size=8)
    torch.testing.assert_close(few[:, 1], flow.grid.coarsen(flow.grid.transform(frames[:, 1]), 8))


def test_the_seed_is_the_flow() -> None:
    flow = Burgers(resolution=32)
    once, again, other = (flow.run(samples=3, frames=2, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(once, again)
    everyone = torch.cat([once, other])[:, 0]
    assert (torch.corrcoef(everyone) - torch.eye(6)).abs().max() < 0.99


def test_burgers_of_every_size_are_the_same_flows_if_the_solver_is_the_same() -> None:
    options = {"name": "burgers", "trajectories": [1, 1, 2], "frames": 3, "resolution": 64}
    coarse, fine = (load_splits({**options, "size": size})["test"] for size in (16, 64))
    grid = PeriodicGrid(64, 1)
    for ours, whole in ((coarse.x, fine.x), (coarse.y, fine.y)):
        torch.testing.assert_close(ours, grid.coarsen(grid.transform(whole), 16), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"^expected at most 64 points .*, got size=65; try resolution=65"):
        load_splits({**options, "size": 65})


def test_the_splits_are_different_flows_and_so_are_those_of_the_next_seed() -> None:
    words = {"name": "turbulence", "trajectories": [1, 1, 1], "frames": 2, "warmup": 0.2, "outputs": 1}
    seeds = [load_splits({**words, "size": 8, "resolution": 16, "seed": seed}) for seed in (0, 1)]
    flows = [splits[name].x[0, 0].flatten() for splits in seeds for name in ("train", "valid", "test")]
    alike = torch.corrcoef(torch.stack(flows)) - torch.eye(6)
    assert alike.abs().max() < 0.9


def test_the_finest_wave_moves_as_far_in_a_step_on_every_fine_grid() -> None:
    moved = [flow.dt * flow.grid.size for flow in map(Turbulence, (64, 96, 128, 256))]
    assert moved == pytest.approx([1.28] * 4)
    assert Turbulence(32).dt == 0.02
    assert [Burgers(size).dt for size in (64, 256, 512)] == [0.01, 0.01, 0.005]
    assert Turbulence(128, dt=0.03).dt == 0.03


def test_a_run_that_blows_up_and_grids_that_cannot_be_teach() -> None:
    with pytest.raises(RuntimeError, match=r"^expected a stable Turbulence run, got values that are not fin"):
        Turbulence(16, dt=5.0).run(samples=1, frames=8, frame=5.0)
    with pytest.raises(
        ValueError, match=r"^expected a grid of at least 4 points per side, got 3; try size=64"
    ):
        PeriodicGrid(3, 1)
    with pytest.raises(ValueError, match=r"^expected a coarser grid than 16, got 32; try size=8"):
        Burgers(16).run(samples=1, frames=1, size=32)
