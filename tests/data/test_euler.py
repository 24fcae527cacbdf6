"""The finite volumes of a gas: what they conserve, how fast they converge, and what they leave alone."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from neuralop_irno.data.solvers.euler import GAMMA, euler_trajectories, hllc, state_of

DOUBLE = torch.float64


def centres(n: int) -> Tensor:
    return (torch.arange(n, dtype=DOUBLE) + 0.5) / n


def smooth_gas(samples: int, n_x: int, n_y: int, seed: int = 0) -> Tensor:
    """Sines of random amplitude and phase, far from vacuum."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.meshgrid(centres(n_x), centres(n_y), indexing="ij")
    gas = torch.tensor([1.0, 0.2, -0.3, 1.0], dtype=DOUBLE).reshape(1, 4, 1, 1).expand(samples, 4, n_x, n_y)
    for k, m in ((1, 0), (0, 1), (1, 2), (2, -1)):
        amplitude, phase = torch.rand(2, samples, 4, 1, 1, generator=generator, dtype=DOUBLE)
        gas = gas + 0.1 * amplitude * torch.sin(2 * torch.pi * (k * x + m * y + phase))
    return gas


def turned(gas: Tensor) -> Tensor:
    """The same gas with x and y exchanged."""
    return gas.transpose(-1, -2)[..., [0, 2, 1, 3], :, :]


def test_mass_momentum_and_energy_are_conserved_to_rounding() -> None:
    start = smooth_gas(2, 24, 20)
    before = state_of(start).mean((2, 3))
    for frame in euler_trajectories(start, [0.1, 0.5]).unbind(1):
        torch.testing.assert_close(state_of(frame).mean((2, 3)), before, rtol=0, atol=1e-13)


def test_a_wind_stays_as_it_is() -> None:
    wind = torch.tensor([0.7, 0.5, -1.5, 2.0], dtype=DOUBLE).reshape(1, 4, 1, 1).expand(1, 4, 12, 16)
    (end,) = euler_trajectories(wind, [0.5]).unbind(1)
    torch.testing.assert_close(end, wind, rtol=0, atol=1e-13)


def test_exchanging_x_and_y_in_the_start_exchanges_them_in_the_answer() -> None:
    start = smooth_gas(2, 16, 24)
    assert torch.equal(euler_trajectories(turned(start), [0.3]), turned(euler_trajectories(start, [0.3])))


def test_a_mirrored_start_gives_the_mirrored_answer_and_a_shifted_one_the_shifted() -> None:
    start = smooth_gas(1, 20, 16)
    end = euler_trajectories(start, [0.3])
    torch.testing.assert_close(
        euler_trajectories(start.roll((3, -5), (-2, -1)), [0.3]), end.roll((3, -5), (-2, -1))
    )
    sign = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=DOUBLE).reshape(4, 1, 1)
    torch.testing.assert_close(euler_trajectories(start.flip(-2) * sign, [0.3]), end.flip(-2) * sign)


def test_a_sample_does_not_depend_on_its_batch_mates() -> None:
    start = torch.cat([smooth_gas(2, 16, 16), 2 * smooth_gas(1, 16, 16, seed=1)])
    together = euler_trajectories(start, [0.0, 0.2, 0.3])
    for number in range(3):
        assert torch.equal(
            euler_trajectories(start[number : number + 1], [0.0, 0.2, 0.3])[0], together[number]
        )
    torch.testing.assert_close(together[:, 0], start)


def test_frames_on_the_way_do_not_change_where_it_leads() -> None:
    start = smooth_gas(1, 32, 32)
    direct = euler_trajectories(start, [0.3])[:, -1]
    by_frames = euler_trajectories(start, [0.1, 0.2, 0.3])[:, -1]
    assert (direct - by_frames).abs().max() < 1e-3  # other time steps, within their error


def rates(errors: list[float]) -> list[float]:
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


def test_an_entropy_wave_is_carried_to_second_order() -> None:
    def wave(n: int, time: float) -> Tensor:
        x, y = torch.meshgrid(centres(n), centres(n), indexing="ij")
        gas = torch.ones(1, 4, n, n, dtype=DOUBLE)
        gas[:, 0] += 0.2 * torch.sin(2 * torch.pi * (x + y - 2 * time))
        return gas

    errors = [
        float((euler_trajectories(wave(n, 0), [0.2])[:, 0] - wave(n, 0.2)).abs().mean())
        for n in (32, 64, 128)
    ]
    assert min(rates(errors)) > 1.7, errors


def isentropic_vortex(n: int, time: float, strength: float = 0.5, radius: float = 0.08) -> Tensor:
    """A vortex that keeps its shape, carried by the wind (1, 0.5): its pressure holds the gas on circles."""
    place = [0.5 + time, 0.5 + 0.5 * time]
    x, y = torch.meshgrid(centres(n), centres(n), indexing="ij")
    x, y = ((x - place[0] + 0.5) % 1 - 0.5) / radius, ((y - place[1] + 0.5) % 1 - 0.5) / radius
    swirl = strength * torch.exp((1 - x * x - y * y) / 2)
    temperature = 1 - (GAMMA - 1) / (2 * GAMMA) * swirl * swirl
    density = temperature ** (1 / (GAMMA - 1))
    return torch.stack([density, 1 - swirl * y, 0.5 + swirl * x, density * temperature])[None]


def test_an_isentropic_vortex_is_carried_to_second_order() -> None:
    errors = [
        float(
            (euler_trajectories(isentropic_vortex(n, 0), [0.2])[:, 0] - isentropic_vortex(n, 0.2))
            .abs()
            .mean()
        )
        for n in (32, 64, 128)
    ]
    assert min(rates(errors)) > 1.7, errors


class SodTube:
    """The exact answer to two gases at rest, (1, 0, 1) on the left and (0.125, 0, 0.1) on the right."""

    def __init__(self) -> None:
        self.left, self.right = (1.0, 1.0), (0.125, 0.1)
        low, high = 1e-6, 1.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if self.surplus(middle) < 0 else (low, middle)
        self.pressure = low
        self.speed = self.wave(low, *self.right)

    @staticmethod
    def wave(pressure: float, density: float, outside: float) -> float:
        """The speed that a shock, or a fan, gives to gas at rest as it brings it to a pressure."""
        if pressure > outside:
            mass = 2 / ((GAMMA + 1) * density)
            return (pressure - outside) * math.sqrt(mass / (pressure + (GAMMA - 1) / (GAMMA + 1) * outside))
        sound = math.sqrt(GAMMA * outside / density)
        return 2 * sound / (GAMMA - 1) * ((pressure / outside) ** ((GAMMA - 1) / (2 * GAMMA)) - 1)

    def surplus(self, pressure: float) -> float:
        return self.wave(pressure, *self.left) + self.wave(pressure, *self.right)

    def density_and_pressure(self, speed: Tensor) -> tuple[Tensor, Tensor]:
        """At x / t = speed, x counted from the membrane."""
        (rho_l, p_l), (rho_r, p_r) = self.left, self.right
        p, u = self.pressure, self.speed
        sound, ratio = math.sqrt(GAMMA * p_l / rho_l), (GAMMA - 1) / (GAMMA + 1)
        behind_fan = rho_l * (p / p_l) ** (1 / GAMMA)
        behind_shock = rho_r * (p / p_r + ratio) / (ratio * p / p_r + 1)
        shock = u * behind_shock / (behind_shock - rho_r)
        tail = u - math.sqrt(GAMMA * p / behind_fan)
        in_fan = rho_l * (2 / (GAMMA + 1) - ratio / sound * speed.clamp(-sound, tail)) ** (2 / (GAMMA - 1))
        density = torch.where(speed < u, in_fan, torch.where(speed < shock, behind_shock, rho_r))
        pressure = torch.where(speed < u, p_l * (in_fan / rho_l) ** GAMMA, torch.where(speed < shock, p, p_r))
        return density, pressure


def test_the_exact_tube_is_the_one_in_the_books() -> None:
    tube = SodTube()
    assert (tube.pressure, tube.speed) == pytest.approx((0.30313, 0.92745), abs=1e-5)
    density, _ = tube.density_and_pressure(torch.tensor([0.5, 1.0], dtype=DOUBLE))
    assert density.tolist() == pytest.approx([0.42632, 0.26557], abs=1e-5)


@pytest.mark.parametrize("along", ["x", "y"])
def test_a_shock_tube_comes_closer_to_the_exact_answer_with_every_refinement(along: str) -> None:
    tube, time, errors = SodTube(), 0.1, {"density": [], "pressure": []}
    for n in (100, 200, 400, 800):
        x = centres(n)
        dense = (x > 0.25) & (x < 0.75)  # two tubes, back to back, that do not meet in this time
        gas = torch.tensor([[0.125, 0, 0, 0.1], [1, 0, 0, 1]], dtype=DOUBLE)[dense.long()]
        start = gas.T[None, :, :, None].expand(1, 4, n, 2)
        if along == "x":
            end = euler_trajectories(start, [time])[0, 0, :, :, 0]
        else:
            end = euler_trajectories(turned(start), [time])[0, 0, :, 0, :]
        exact = tube.density_and_pressure(((x - 0.5).abs() - 0.25) / time)
        for name, seen, true in zip(errors, (end[0], end[3]), exact, strict=True):
            errors[name].append(float((seen - true).abs().mean()))
    assert errors["density"][-1] < 0.002
    # Shocks are as sharp as the grid; the contact, which only the density has, spreads like h^(2/3).
    assert min(rates(errors["pressure"])) > 0.9, errors
    assert min(rates(errors["density"])) > 0.8, errors


def test_density_and_pressure_stay_positive_where_gas_is_torn_apart() -> None:
    x = centres(64)[:, None].expand(64, 4)
    start = torch.ones(1, 4, 64, 4, dtype=DOUBLE)
    start[:, 1] = (
        torch.where((x > 0.25) & (x < 0.75), torch.sign(x - 0.5), 0) * 3
    )  # a near vacuum, and two shocks
    start[:, 3] = torch.where((x - 0.5).abs() < 0.05, 1e-4, 0.4)
    frames = euler_trajectories(start, [0.02, 0.05, 0.1, 0.2])
    assert frames[:, :, [0, 3]].min() > 0
    assert frames[:, :, 0].min() < 0.05
    assert frames.isfinite().all()


def test_a_flux_that_leaves_one_gas_alone_is_its_own() -> None:
    """Where all waves run one way what is downwind does not matter; a contact at rest lets nothing by."""
    fast = torch.tensor([[1.0, 3.0, 0.7, 1.0]], dtype=DOUBLE)
    other = torch.tensor([[0.5, 2.5, -1.0, 0.4]], dtype=DOUBLE)
    torch.testing.assert_close(hllc(fast, other, 2), hllc(fast, fast, 2))
    still, dense = torch.tensor([[1.0, 0, 0.3, 2.0], [9.0, 0, -4.0, 2.0]], dtype=DOUBLE).split(1)
    torch.testing.assert_close(hllc(still, dense, 2), torch.tensor([[0.0, 2.0, 0.0, 0.0]], dtype=DOUBLE))


@pytest.mark.parametrize(
    ("start", "times", "message"),
    [
        (
            torch.ones(4, 8, 8),
            [0.1],
            r"a gas of shape \(B, 4, n_x, n_y\), got \(4, 8, 8\); try start\[None\]",
        ),
        (torch.ones(1, 3, 8, 8), [0.1], r"a gas of shape"),
        (-torch.ones(1, 4, 8, 8), [0.1], r"density and pressure > 0, got"),
        (torch.ones(1, 4, 8, 8), [], r"ascending times >= 0, got \[\]"),
        (torch.ones(1, 4, 8, 8), [0.2, 0.1], r"ascending times >= 0, got \[0.2, 0.1\]; try"),
        (torch.ones(1, 4, 8, 8), [-0.1], r"ascending times >= 0, got \[-0.1\]"),
    ],
)
def test_starts_and_times_that_are_none_teach(start: Tensor, times: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        euler_trajectories(start, times)
