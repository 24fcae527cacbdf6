"""Losses where states and step counts are on different devices, and in training after inference mode."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import GraphSAGE

from neuralop_irno import IterativeRefiner, Trajectory
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.data.point_clouds import PointCloud
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.losses.contraction import ContractionLoss, FrechetLoss, JacobianLoss
from neuralop_irno.losses.loss import Loss
from neuralop_irno.losses.monotone import MonotoneLoss
from neuralop_irno.losses.pointwise import CrossEntropyLoss, DenoisingLoss, FixedPointLoss, SpatialLoss
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.losses.sobolev import SobolevLoss
from neuralop_irno.losses.spectral import SpectralLoss
from neuralop_irno.spectrum import graph_spectrum
from neuralop_irno.spectrum.fourier import fourier_spectrum

LOSSES: dict[str, Callable[[], Loss]] = {
    "spatial": SpatialLoss,
    "spectral, complex": SpectralLoss,
    "spectral, amplitude": lambda: SpectralLoss("amplitude"),
    "spectral, bands": lambda: SpectralLoss("bands"),
    "fixed point": FixedPointLoss,
    "contraction, power": ContractionLoss,
    "contraction, error": lambda: ContractionLoss(direction="error"),
    "jacobian": JacobianLoss,
    "monotone": MonotoneLoss,
    "frechet": FrechetLoss,
    "sobolev": SobolevLoss,
    "denoising": DenoisingLoss,
    "cross entropy": CrossEntropyLoss,
    "all": lambda: RefinementLoss(1.0, 1.0, 1.0, contraction=1.0, monotone=1.0, sobolev=1.0, warmup=3),
}


def trajectory(where: Domain, h: Tensor, scale: Tensor) -> Trajectory:
    """Two iterates of Phi(h) = scale (1 - h), from counts of steps on the CPU."""
    phi = FunctionCorrection(lambda x, h: scale * (1 - h)).bind(h, where)
    progress = (torch.zeros(where.samples), torch.ones(where.samples))
    alpha = torch.full((where.samples,), 0.5)
    return Trajectory((h, h + 0.5 * phi(h)), progress, where, phi, alpha)


DERIVATIVES = ("contraction, power", "contraction, error", "jacobian", "frechet", "monotone", "all")


@pytest.mark.parametrize("name", LOSSES)
def test_step_counts_on_the_cpu_meet_states_on_another_device(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device "meta" computes shapes only, and refuses tensors of the CPU as an accelerator does."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which "meta" does not have
    y, scale = torch.ones(2, 2, 8, device="meta"), torch.ones((), device="meta", requires_grad=True)
    value = LOSSES[name]()(trajectory(GridDomain.of(y), torch.zeros_like(y), scale), y)
    assert value.device == y.device
    value.backward()
    assert scale.grad is not None


def ring(points: int) -> Tensor:
    place = torch.arange(points)
    return torch.stack([place, (place + 1) % points])


def domains() -> dict[str, tuple[Domain, tuple[int, ...]]]:
    """New ones at each call: no cache may know them by their identity."""
    one = torch.zeros(9, dtype=torch.long)
    pos = torch.stack(torch.meshgrid(*[torch.arange(3.0)] * 2, indexing="ij"), -1).reshape(9, 2)
    corner = torch.tensor([0, 1, 3, 4])
    lower, upper = (0, 1, 3), (1, 4, 3)
    cells = torch.cat([torch.stack([corner + place for place in half]) for half in (lower, upper)], 1)
    return {
        "line": (GridDomain(2, (8,)), (2, 2, 8)),
        "square": (GridDomain(1, (6, 5)), (1, 2, 6, 5)),
        "edges": (GraphDomain(one, 1, edges=Edges(ring(9))), (9, 2)),
        "two graphs": (GraphDomain((torch.arange(9) > 3).long(), 2, pos), (9, 2)),
        "mesh": (GraphDomain(one, 1, pos, cells=cells), (9, 2)),
    }


OF_SPECTRA = ("spectral, complex", "spectral, amplitude", "spectral, bands", "sobolev", "all")


@pytest.mark.parametrize("kind", domains())
@pytest.mark.parametrize(
    ("name", "large"), [*((name, False) for name in LOSSES), *((name, True) for name in OF_SPECTRA)]
)
def test_what_was_evaluated_in_inference_mode_trains_afterwards(
    name: str, kind: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:  # as if these were too large for all their modes
        monkeypatch.setattr(graph_spectrum, "ALL_MODES", 2)
        monkeypatch.setattr(graph_spectrum, "ORDERS", (8, 32))
    graph_spectrum._known.clear()
    fourier_spectrum.cache_clear()
    where, shape = domains()[kind]
    h, y = torch.rand(2, *shape)
    scale = torch.full((), 0.7, requires_grad=True)
    loss = LOSSES[name]()
    with torch.inference_mode():
        if name not in DERIVATIVES:
            loss(trajectory(where, h, scale), y)
        else:
            SpectralLoss()(trajectory(where, h, scale), y)
    value = loss(trajectory(where, h, scale), y)
    value.backward()
    assert scale.grad is not None
    assert math.isfinite(scale.grad.item())


def test_inference_tensors_are_analysed_as_they_are_now() -> None:
    """They have no version, so that a batch is not recognised by the identity of its tensors."""
    y = torch.randn(9, 1)
    with torch.inference_mode():
        pos = torch.rand(9, 2)
        values = []
        for _ in range(2):
            where = GraphDomain(torch.zeros(9, dtype=torch.long), 1, pos)
            values.append(SpectralLoss().per_sample(trajectory(where, 0 * y, torch.ones(())), y).item())
            pos.copy_(torch.rand(9, 2) ** 3)
    assert values[0] != values[1]


def test_a_batch_is_hashed_once_and_again_after_it_was_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    digest = graph_spectrum._digest
    monkeypatch.setattr(graph_spectrum, "_digest", lambda *given: hashed.append(1) or digest(*given))
    batch, pos = torch.tensor([0] * 5 + [1] * 4), torch.rand(9, 2)
    y = torch.randn(9, 1)

    def value() -> float:
        where = GraphDomain(batch, 2, pos)  # a new domain of the same tensors, as in every call of a model
        return SpectralLoss().per_sample(trajectory(where, 0 * y, torch.ones(())), y).sum().item()

    first = value()
    assert value() == first
    assert len(hashed) == 2
    pos.mul_(torch.tensor([1.0, 3.0]))
    assert value() != first
    assert len(hashed) == 4


def test_threads_share_the_cache_while_it_evicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_spectrum._known, "most", 3000)  # two of these spectra

    def value(points: int) -> float:
        where = GraphDomain(torch.zeros(points, dtype=torch.long), 1, edges=Edges(ring(points)))
        h = torch.linspace(0, 1, points)[:, None]
        return SpectralLoss().per_sample(trajectory(where, h, torch.ones(())), 0 * h).item()

    sizes = [5 + place % 6 for place in range(40)]
    alone = {points: value(points) for points in set(sizes)}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(value, sizes)) == [alone[points] for points in sizes]


def test_points_on_a_torus_read_in_inference_mode_train_afterwards() -> None:
    cloud = PointCloud(torch.rand(20, 2), period=(1.0, 1.0))
    with torch.inference_mode():
        assert cloud.neighbourhood is not None
    edges, measure = cloud.neighbourhood
    assert not edges.is_inference()
    assert not measure.is_inference()


@pytest.mark.parametrize("correction", ["meshgraph", "rigno", "unet", "fno", "mgno"])
def test_refiners_called_in_inference_mode_train_afterwards(correction: str) -> None:
    torch.manual_seed(0)
    on_points = correction in ("meshgraph", "rigno")
    given = {"pos": torch.rand(20, 2), "edge_index": ring(20)} if on_points else {}
    x = torch.randn(20, 1) if on_points else torch.randn(1, 1, 16, 16)
    options = {
        "meshgraph": {"width": 4, "steps": 1}, "rigno": {"width": 4, "steps": 1},
        "unet": {"width": 4, "depth": 1}, "fno": {"n_modes": [4, 4], "hidden_channels": 4}, "mgno": {},
    }[correction]  # fmt: skip

    model = IterativeRefiner(
        GraphSAGE(1, 4, 1, 1) if on_points else torch.nn.Conv2d(1, 1, 1),
        {"name": correction, **options},
        steps=2,
        in_channels=1,
        out_channels=1,
    )
    with torch.inference_mode():
        model.eval()(x, **given)
    loss = RefinementLoss(spectral=1.0)
    loss(model.train()(x, y=0.5 * x, **given), 0.5 * x).backward()
    grads = [weight.grad for weight in model.correction.parameters() if weight.grad is not None]
    assert sum(grad.abs().sum() for grad in grads) > 0


def test_the_fixed_point_loss_of_a_plain_field_is_an_error() -> None:
    y = torch.ones(2, 1, 8)
    plain = Trajectory((y,), (torch.ones(2),), GridDomain.of(y))
    for prediction in (y, plain):
        with pytest.raises(TypeError, match="expected a training trajectory, got a plain field"):
            FixedPointLoss()(prediction, y)
    assert RefinementLoss(fixed_point=1.0)(y, 0 * y).item() == 2.0  # which leaves it out


def test_sobolevs_documented_limit_on_oblong_grids() -> None:
    x, y = (torch.arange(n) / n for n in (64, 16))
    along, across = torch.sin(6 * torch.pi * x)[:, None], torch.sin(6 * torch.pi * y)[None]
    for wave, counted in ((along, 1.5), (across, 6.0)):
        field = wave.expand(64, 16)[None, None]
        assert SobolevLoss(1.0)(field, 0 * field).item() == pytest.approx((1 + counted**2) / 2, rel=1e-4)
