"""The laws of the Kuramoto-Sivashinsky equation, in double precision."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from neuralop_irno.data.solvers.kuramoto_sivashinsky import KuramotoSivashinsky
from neuralop_irno.data.solvers.pseudo_spectral import random_field
from neuralop_irno.data.splits import load_splits


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def start(flow: KuramotoSivashinsky, samples: int = 3) -> Tensor:
    """Random fields whose products do not alias."""
    field = random_field(flow.grid, samples, 1.0, torch.Generator().manual_seed(1))
    return flow.grid.values(flow.grid.transform(field) * flow.grid.kept)


def after(flow: KuramotoSivashinsky, field: Tensor, time: float) -> Tensor:
    return flow.grid.values(flow.advance(flow.grid.transform(field), time))


def test_energy_changes_by_what_slopes_feed_and_curvature_burns() -> None:
    r"""d/dt <u^2> / 2 = <u_x^2> - <u_xx^2>; the nonlinear term only moves it about."""
    flow = KuramotoSivashinsky(48)
    u = start(flow) + 0.2
    modes = flow.grid.transform(u)
    power = (u * flow.grid.values(flow.linear * modes + flow.nonlinear(modes))).mean(1)
    (k,) = flow.grid.wavenumbers
    slope, curvature = flow.grid.values(1j * k * modes), flow.grid.values(-k.square() * modes)
    torch.testing.assert_close(power, slope.square().mean(1) - curvature.square().mean(1))
    assert ((u * flow.grid.values(flow.nonlinear(modes))).mean(1).abs() < 1e-13).all()


def test_ripples_grow_or_decay_each_at_its_own_rate() -> None:
    flow = KuramotoSivashinsky(64, length=40.0)
    (x,) = flow.grid.points()
    for number in (2, 5, 9):
        k = 2 * math.pi * number / 40.0
        ripple = 1e-7 * torch.sin(k * x)
        expected = ripple * math.exp((k**2 - k**4) * 3.0)
        torch.testing.assert_close(after(flow, ripple, 3.0), expected, rtol=0, atol=1e-13)


def test_the_mean_stays_as_it_was() -> None:
    flow = KuramotoSivashinsky()
    u = start(flow) + torch.tensor([[0.3], [0.0], [-1.0]])
    torch.testing.assert_close(after(flow, u, 5.0).mean(1), u.mean(1), rtol=0, atol=1e-12)


def test_flows_are_moved_mirrored_and_carried_along() -> None:
    flow = KuramotoSivashinsky(resolution=64, length=32.0)
    u = start(flow)
    end = after(flow, u, 4.0)
    torch.testing.assert_close(after(flow, u.roll(5, -1), 4.0), end.roll(5, -1), rtol=0, atol=1e-10)
    mirrored = -u.flip(-1)
    torch.testing.assert_close(after(flow, mirrored, 4.0), -end.flip(-1), rtol=0, atol=1e-10)
    # In a frame that moves at speed 1/4 the flow is the same: in 4 units of time it gets two points ahead.
    carried = after(flow, u + 0.25, 4.0)
    torch.testing.assert_close(carried, end.roll(2, -1) + 0.25, rtol=0, atol=1e-4)


def test_halving_the_time_step_divides_the_error_by_sixteen() -> None:
    flow = KuramotoSivashinsky(32)
    u = start(flow)

    def end(steps: int) -> Tensor:
        flow.dt = 1.0 / steps
        return after(flow, u, 1.0)

    reference = end(3200)
    errors = [(end(steps) - reference).norm().item() for steps in (100, 200, 400)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.15)


def test_a_finer_line_and_finer_steps_give_the_same_flow() -> None:
    coarse, fine = KuramotoSivashinsky(64), KuramotoSivashinsky(128, dt=0.0025)
    u = after(coarse, start(coarse), 20.0)
    modes = torch.nn.functional.pad(2 * coarse.grid.transform(u) * coarse.grid.kept, (0, 32))
    theirs = fine.grid.coarsen(fine.advance(modes, 4.0), 64)
    assert (theirs - u).square().mean() > 0.1
    torch.testing.assert_close(after(coarse, u, 4.0), theirs, rtol=0, atol=1e-3)


def test_flows_neither_die_nor_blow_up_and_neighbours_move_apart() -> None:
    flow = KuramotoSivashinsky(dt=0.05)
    u = after(flow, start(flow), 100.0)
    neighbour = u + 1e-6 * torch.randn(u.shape, generator=torch.Generator().manual_seed(3))
    first, second = after(flow, u, 100.0), after(flow, neighbour, 100.0)
    assert ((first.std(1) > 0.9) & (first.std(1) < 1.8)).all()
    assert ((second - first).norm(dim=1) > 20 * (neighbour - u).norm(dim=1)).all()


def test_windows_go_on_from_frame_to_frame() -> None:
    words = {"name": "kuramoto_sivashinsky", "trajectories": [2, 1, 1], "frames": 4, "warmup": 5.0}
    data = load_splits({**words, "frame": 0.5, "size": 32, "length": 20.0})["train"]
    assert data.x.shape == data.y.shape == (6, 1, 32)
    assert torch.equal(data.y[0], data.x[1])
    flow = KuramotoSivashinsky(32, 20.0)
    torch.testing.assert_close(after(flow, data.x[0], 0.5), data.y[0])
