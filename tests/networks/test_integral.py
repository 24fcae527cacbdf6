"""Attention as quadrature, and the integral equation over space and time: what a finer grid may change."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from neuralop_irno._neuralop import build_model
from neuralop_irno.networks.attention import AttentionIntegral
from neuralop_irno.networks.tokens import Nodes, patch_nodes, to_patches
from neuralop_irno.networks.transformer import ANIE

DOUBLE = torch.zeros(1, dtype=torch.float64)


def integral(width: int = 8, heads: int = 2) -> AttentionIntegral:
    """One whose kernel is far from flat."""
    found = AttentionIntegral(width, heads).double()
    with torch.no_grad():
        found.project.weight *= 1.5
    return found


def smooth(nodes: Nodes, width: int = 8) -> Tensor:
    """A smooth function of the place, the same on every grid, ``(1, N, width)``."""
    phase = torch.arange(1.0, width + 1, dtype=torch.float64)
    turns = [2 * math.pi if closed else 2.0 for closed in nodes.closed]
    parts = [torch.sin(turn * nodes.positions[:, [i]] + phase / (i + 1)) for i, turn in enumerate(turns)]
    return torch.stack(parts).prod(0)[None]


def anie(**options: object) -> ANIE:
    torch.manual_seed(0)
    words = {"patch": 1, "width": 8, "heads": 2, "steps": 3, **options}
    return build_model({"model_arch": "anie", **words}, 2, 2 * int(str(words["frames"]))).double().eval()


def waves(points: int) -> Tensor:
    """Two smooth fields on a torus, sampled."""
    place = 2 * math.pi * torch.arange(points, dtype=torch.float64) / points
    along, across = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([along.sin() + (2 * across).cos(), (along + across).cos()])[None]


def test_the_integral_is_its_formula() -> None:
    operator = integral()
    nodes = patch_nodes([4, 3], [1, 1], [False, True], like=DOUBLE)
    assert nodes.measure is not None
    torch.testing.assert_close(nodes.measure.sum(), DOUBLE[0] + 1)
    u = torch.randn(2, 12, 8, dtype=torch.float64)
    query, key, value = (u @ part.T for part in operator.project.weight.chunk(3))
    angles = nodes.angles(2)
    expected = torch.zeros_like(u)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        # A pair of channels as a complex number: a turn is a factor, and the product of pairs a real part.
        q, k = (torch.complex(v[..., part][..., :2], v[..., part][..., 2:]) for v in (query, key))
        turns = torch.polar(torch.ones_like(angles), angles)
        kappa = torch.einsum("bnp,bmp->bnm", q * turns, (k * turns).conj()).real / math.sqrt(4)
        weights = kappa.exp() * nodes.measure
        expected[..., part] = weights / weights.sum(-1, keepdim=True) @ value[..., part]
    torch.testing.assert_close(operator(u, nodes), operator.join(expected))


def test_a_kernel_sees_distances_and_on_a_torus_those_around_it() -> None:
    operator = integral()
    nodes = patch_nodes([6, 4], [1, 1], [True, True], like=DOUBLE)
    u = torch.randn(2, 6, 4, 8, dtype=torch.float64)
    moved = operator(u.roll((2, 3), (1, 2)).flatten(1, 2), nodes)
    answer = operator(u.flatten(1, 2), nodes).unflatten(1, (6, 4))
    torch.testing.assert_close(moved.unflatten(1, (6, 4)), answer.roll((2, 3), (1, 2)))


@pytest.mark.parametrize(("closed", "order"), [([False], 2.0), ([False, True], 2.0), ([True], None)])
def test_a_finer_grid_changes_the_integral_by_the_error_of_its_quadrature(
    closed: list[bool], order: float | None
) -> None:
    """The trapezoidal rule: of second order along an open axis, and on a circle of every order."""
    operator = integral()
    answers = []
    for cells in (16, 32, 64):
        sizes = [cells if around else cells + 1 for around in closed]
        nodes = patch_nodes(sizes, [1] * len(sizes), closed, like=DOUBLE)
        field = operator(smooth(nodes), nodes).unflatten(1, sizes)
        answers.append(field[(slice(None), *[slice(None, None, cells // 16) for _ in closed])])
    changes = [(fine - coarse).abs().max().item() for coarse, fine in pairwise(answers)]
    if order is None:
        assert changes[0] < 1e-6
        assert changes[1] < 1e-12
    else:
        assert changes[0] < 0.02 * answers[-1].abs().max()
        assert abs(math.log2(changes[0] / changes[1]) - order) < 0.2


def test_without_the_measure_the_order_is_lost() -> None:
    operator = integral()
    changes = []
    for cells in (16, 32, 64):
        nodes = patch_nodes([cells + 1], [1], [False], like=DOUBLE)
        flat = Nodes(nodes.positions, None, nodes.closed)
        changes.append((operator(smooth(nodes), nodes) - operator(smooth(nodes), flat)).abs().max().item())
    assert all(0.8 < math.log2(coarse / fine) < 1.2 for coarse, fine in pairwise(changes))


def test_a_function_that_is_constant_is_its_own_mean() -> None:
    operator = integral()
    u = torch.randn(1, 1, 8, dtype=torch.float64)
    answers = [
        operator(u.expand(1, len(nodes.positions), 8), nodes)[:, :1]
        for nodes in (patch_nodes([n], [1], [False], like=DOUBLE) for n in (1, 2, 9))
    ]
    torch.testing.assert_close(answers[0], answers[1])
    torch.testing.assert_close(answers[0], answers[2])


def test_the_picard_steps_are_those_of_a_naive_loop() -> None:
    model = anie(frames=3, patch=2, layers=2, steps=4, smoothing=0.3)
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    known = model.embed(to_patches(x, (2, 2))) + model.places(
        patch_nodes((4, 6), (2, 2), (True, True), like=x)
    )
    times = model.times(patch_nodes([4], [1], [False], like=x))
    free = torch.stack([known + time for time in times], 1).flatten(1, 2)
    nodes = patch_nodes((4, 4, 6), (1, 2, 2), (False, True, True), like=x)
    u = free
    for _ in range(4):
        deep = u
        for layer in model.network.block.layers:
            deep = layer(deep, nodes)
        u = 0.3 * u + 0.7 * (deep - u + free)
    frames = model.unembed(u).reshape(2, 4, 2, 3, 2, 2, 2)[:, 1:]  # (B, frame, rows, columns, field, *patch)
    answer = frames.permute(0, 1, 4, 2, 5, 3, 6).reshape(2, 6, 4, 6)
    torch.testing.assert_close(model(x), answer)


@pytest.mark.parametrize("refine", ["time", "space"])
def test_a_finer_space_time_grid_changes_the_solution_by_the_error_of_its_quadrature(refine: str) -> None:
    answers = []
    for times in (1, 2, 4):
        frames, points = (12 * times, 4) if refine == "time" else (2, 12 * times)
        answer = anie(frames=frames, steps=6)(waves(points)).unflatten(1, (frames, 2)).detach()
        later, apart = frames // (12 if refine == "time" else 2), points // (4 if refine == "time" else 12)
        answers.append(answer[:, later - 1 :: later, :, ::apart, ::apart])
    changes = [((fine - coarse).norm() / fine.norm()).item() for coarse, fine in pairwise(answers)]
    assert changes[0] < 0.01
    if refine == "time":
        assert 3.5 < changes[0] / changes[1] < 4.5  # of second order
    else:
        assert changes[1] < changes[0] / 32  # of every order


def test_frames_and_steps_change_no_weights() -> None:
    few, many = anie(frames=2, steps=1), anie(frames=6, steps=8)
    many.load_state_dict(few.state_dict())


def test_every_frame_depends_on_the_time_and_fields_stay_together() -> None:
    model = anie(frames=3)
    answer = model(waves(6)).unflatten(1, (3, 2))
    assert all((first - second).abs().max() > 1e-3 for first, second in pairwise(answer.unbind(1)))
    with torch.no_grad():
        model.unembed.weight[0], model.unembed.bias[0] = 0, 7
    changed = model(waves(6)).unflatten(1, (3, 2))
    assert (changed[:, :, 0] == 7).all()
    torch.testing.assert_close(changed[:, :, 1], answer[:, :, 1])


MISTAKES: dict[str, Callable[[], object]] = {
    "as many out_channels in every frame, got 3 in 2 frames": lambda: ANIE(1, 3, frames=2),
    "as many out_channels in every frame, got 3 in 0 frames": lambda: ANIE(1, 3, frames=0),
    "a grid whose sides are multiples of the patch": lambda: ANIE(1, 1)(torch.zeros(1, 1, 8, 6)),
}


@pytest.mark.parametrize("words", list(MISTAKES))
def test_mistakes_are_told(words: str) -> None:
    with pytest.raises(ValueError, match=r"^expected [^\n]+, got [^\n]+; try [^\n]+$") as caught:
        MISTAKES[words]()
    assert words in str(caught.value)
