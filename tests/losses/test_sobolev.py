"""The Sobolev loss is the norm that its formula names, on grids and on graphs."""

import itertools
import math

import pytest
import torch
from torch_geometric.data import Data

from neuralop_irno import IterativeRefiner, RefinementLoss, SobolevLoss, SpatialLoss, Trajectory
from neuralop_irno.data.solvers.mesh_fields import waves
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.registry import call_with_options

ORDERS = [-1.0, -0.5, 0.0, 1.0]
SHAPES = [(8,), (9,), (6, 6), (5, 5), (4, 4, 4)]


def naive(error: torch.Tensor, order: float) -> float:
    """The mean of (1 + |k|^2)^s |e^|^2 over all modes of the full complex transform, mode by mode."""
    modes = torch.fft.fftn(error, norm="ortho")
    numbers = [torch.fft.fftfreq(n, d=1 / n) for n in error.shape]
    total = 0.0
    for place in itertools.product(*[range(n) for n in error.shape]):
        squared = sum(float(k[i]) ** 2 for k, i in zip(numbers, place, strict=True))
        total += (1 + squared) ** order * float(modes[place].abs()) ** 2
    return total / error.numel()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_norm_of_the_weighted_transform(shape: tuple[int, ...], order: float) -> None:
    h, y = torch.randn(2, 3, 2, *shape, dtype=torch.float64)
    errors, truths = ([naive(f[b, c], order) for b in range(3) for c in range(2)] for f in (h - y, y))
    assert SobolevLoss(order)(h, y).item() == pytest.approx(sum(errors) / 2, rel=1e-6)
    pairs = [(sum(errors[i : i + 2]), sum(truths[i : i + 2])) for i in (0, 2, 4)]
    relative = sum(error / truth for error, truth in pairs)
    assert SobolevLoss(order, relative=True)(h, y).item() == pytest.approx(relative, rel=1e-6)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wave", [(0, 0), (1, 0), (3, 2), (0, 5)])
def test_a_single_wave_has_the_closed_form(wave: tuple[int, int], order: float) -> None:
    x = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    field = torch.cos(wave[0] * x[:, None] + wave[1] * x[None, :])[None, None]
    mean_square = 1.0 if wave == (0, 0) else 0.5
    closed = mean_square * (1 + wave[0] ** 2 + wave[1] ** 2) ** order
    assert SobolevLoss(order)(field, torch.zeros_like(field)).item() == pytest.approx(closed, rel=1e-6)
    shifted = field.roll((3, 7), (2, 3))  # a norm does not know where the square begins
    assert SobolevLoss(order)(shifted, torch.zeros_like(field)).item() == pytest.approx(closed, rel=1e-6)


def ring(nodes: int) -> GraphDomain:
    node = torch.arange(nodes)
    edges = torch.stack([torch.cat([node, node]), torch.cat([node.roll(-1), node.roll(1)])])
    return GraphDomain.of(torch.zeros(nodes, 1), {"edge_index": edges})


def on(domain: GraphDomain | GridDomain, field: torch.Tensor) -> Trajectory:
    return Trajectory((field,), (torch.ones(domain.samples),), domain)


@pytest.mark.parametrize("order", ORDERS)
def test_on_a_ring_it_is_the_norm_of_the_rings_own_laplacian(order: float) -> None:
    nodes, number = 64, 3
    wave = torch.sin(torch.arange(nodes) * (2 * math.pi * number / nodes))[:, None]
    # A second difference sees the wave number (n / pi) sin(pi k / n): the grid's k, less a part in (k / n)^2.
    seen = nodes / math.pi * math.sin(math.pi * number / nodes)
    found = SobolevLoss(order)(on(ring(nodes), wave), torch.zeros_like(wave)).item()
    assert found == pytest.approx(0.5 * (1 + seen**2) ** order, rel=1e-4)
    assert found == pytest.approx(0.5 * (1 + number**2) ** order, rel=1e-2)


def graph(data: Data) -> dict[str, torch.Tensor]:
    return {"pos": data.pos, "edge_index": data.edge_index, "face": data.face, "measure": data.measure}


def test_order_0_is_the_spatial_loss_on_meshes_and_grids() -> None:
    data = waves(samples=(1, 1, 1), spacing=0.12)["train"][0]
    h = data.y + torch.randn_like(data.y)
    sample = graph(data)
    torch.testing.assert_close(SobolevLoss(0)(h, data.y, **sample), SpatialLoss()(h, data.y, **sample))
    h, y = torch.randn(2, 2, 3, 9, 8)
    torch.testing.assert_close(SobolevLoss(0)(h, y), SpatialLoss()(h, y))


def test_refining_a_mesh_hardly_changes_it() -> None:
    losses = []
    for spacing in (0.08, 0.05):
        data = waves(samples=(1, 1, 1), spacing=spacing, holes=1)["train"][0]
        smooth = torch.cos(math.pi * data.pos[:, :1]) * torch.cos(math.pi * data.pos[:, 1:])
        losses.append(SobolevLoss(-1)(smooth, torch.zeros_like(smooth), **graph(data)).item())
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


def test_a_negative_order_forgives_fine_errors_and_a_positive_one_does_not() -> None:
    x = torch.arange(32) * (2 * math.pi / 32)
    coarse, fine = torch.sin(x)[None, None], torch.sin(12 * x)[None, None]
    zero = torch.zeros_like(coarse)
    assert SobolevLoss(-1)(fine, zero) < 0.02 * SobolevLoss(-1)(coarse, zero)
    assert SobolevLoss(1)(fine, zero) > 50 * SobolevLoss(1)(coarse, zero)


def test_its_gradient_is_the_weighted_error() -> None:
    h, y = torch.randn(2, 1, 1, 8, dtype=torch.float64)
    h.requires_grad_()
    SobolevLoss(-1)(h, y).backward()
    weight = 1 / (1 + torch.fft.fftfreq(8, d=1 / 8, dtype=torch.float64).square())
    expected = 2 / 8 * torch.fft.ifft(weight * torch.fft.fft((h - y).detach())).real
    torch.testing.assert_close(h.grad, expected, rtol=1e-6, atol=1e-12)


def test_it_is_a_part_of_the_training_loss_by_name() -> None:
    model = IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), {"name": "unet", "width": 4, "depth": 1})
    x, y = torch.randn(2, 3, 1, 8)
    trajectory = model.train()(x, y=y)
    config = {"spatial": 0.0, "sobolev": 2.0, "sobolev_order": -0.5}
    loss = call_with_options(RefinementLoss, config, "the loss")
    torch.testing.assert_close(loss(trajectory, y), 2 * SobolevLoss(-0.5)(trajectory, y))
    assert list(loss.parts) == ["sobolev"]
    torch.testing.assert_close(
        RefinementLoss(sobolev=1.0)(trajectory, y),
        SpatialLoss()(trajectory, y) + SobolevLoss()(trajectory, y),
    )
