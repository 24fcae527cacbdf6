"""Observations correct a rollout as linear estimation says they must."""

import numpy as np
import pytest
import torch
from cases import SIZES, graph, graphs, point_model
from torch import Tensor
from torch_geometric.data import Data

from neuralop_irno import rollout
from neuralop_irno.assimilation import Interpolation, Nudging, Observations
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain

SHAPE = (5, 6)
FRAMES = (1, 3)
START = torch.randn(3, 2, *SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
SEEN = torch.randn(3, len(FRAMES), 2, *SHAPE, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
MASK = torch.rand(3, 2, *SHAPE, generator=torch.Generator().manual_seed(7)) < 0.3


def nudging(observations: Observations) -> Nudging:
    return Nudging(observations, gain=0.7)


def interpolation(observations: Observations) -> Interpolation:
    return Interpolation(observations, reach=0.3, noise=0.2, sides=(1.0, 1.2), periodic=(True, False))


METHODS = pytest.mark.parametrize("method", [nudging, interpolation])


def run(amend: object, start: Tensor = START) -> Tensor:
    return rollout(point_model(2, 2), start, steps=5, amend=amend).frames


def test_a_full_observation_with_gain_one_replaces_the_frame() -> None:
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    frames = run(Nudging(Observations(everywhere, SEEN, FRAMES)))
    assert torch.equal(frames[:, list(FRAMES)], SEEN)
    assert torch.equal(frames[:, 2], run((), SEEN[:, 0])[:, 0])  # and the model goes on from there


def test_a_full_observation_with_hardly_any_noise_replaces_the_frame() -> None:
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    frames = run(Interpolation(Observations(everywhere, SEEN, FRAMES), reach=0.1, noise=1e-6))
    torch.testing.assert_close(frames[:, list(FRAMES)], SEEN, rtol=0, atol=1e-10)


@METHODS
def test_where_nothing_is_observed_nothing_changes(method: object) -> None:
    nowhere = torch.zeros(SHAPE, dtype=torch.bool)
    holes = torch.full_like(SEEN, torch.nan)  # what is off the mask is not read
    assert torch.equal(run(method(Observations(nowhere, holes, FRAMES))), run(()))
    assert torch.equal(run(method(Observations(~nowhere, SEEN, ()))), run(()))
    assert torch.equal(run(method(Observations(~nowhere, SEEN, (7, 9)))), run(()))


@METHODS
def test_an_observation_of_what_is_there_already_changes_nothing(method: object) -> None:
    free = run(())
    corrected = run(method(Observations(MASK, free[:, list(FRAMES)], FRAMES)))
    torch.testing.assert_close(corrected, free, rtol=0, atol=1e-14)


@METHODS
def test_a_batch_equals_its_members_and_a_function_the_values_that_it_gives(method: object) -> None:
    together = run(method(Observations(MASK, SEEN, FRAMES)))
    for i in range(3):
        rows = slice(i, i + 1)
        alone = run(method(Observations(MASK[rows], SEEN[rows], FRAMES)), START[rows])
        torch.testing.assert_close(together[rows], alone, rtol=0, atol=1e-13)
    asked: list[int] = []

    def values(frame: int) -> Tensor:
        asked.append(frame)
        return SEEN[:, FRAMES.index(frame)]

    assert torch.equal(run(method(Observations(MASK, values, FRAMES))), together)
    assert asked == list(FRAMES)


def renumbered(data: Data, order: Tensor) -> Data:
    places = torch.argsort(order)
    return Data(x=data.x[order], pos=data.pos[order], edge_index=places[data.edge_index])


@METHODS
def test_on_graphs_neither_company_nor_the_order_of_nodes_matters(method: object) -> None:
    def corrected(start: Data, mask: Tensor, seen: Tensor) -> Tensor:
        amend = method(Observations(mask, seen, frames=[0, 2]))
        return rollout(lambda data: torch.tanh(1.3 * data.x), start, steps=3, amend=amend).frames

    singles = [graph(n, 2) for n in SIZES]
    masks = [torch.rand(n, 2) < 0.4 for n in SIZES]
    seen = [torch.randn(n, 2, 2).double() for n in SIZES]
    together = corrected(graphs(2), torch.cat(masks), torch.cat(seen)).split(SIZES)
    for one, mask, values, frames in zip(singles, masks, seen, together, strict=True):
        torch.testing.assert_close(corrected(one, mask, values), frames, rtol=0, atol=1e-12)
        order = torch.randperm(len(one.x))
        shuffled = corrected(renumbered(one, order), mask[order], values[order])
        torch.testing.assert_close(shuffled, frames[order], rtol=0, atol=1e-12)


def kalman(forecast: Tensor, covariance: np.ndarray, mask: Tensor, seen: Tensor, noise: float) -> np.ndarray:
    """The analysis of one field by the textbook's formula, with H and R written out."""
    x, y = forecast.flatten().numpy(), seen.flatten().numpy()
    h = np.eye(len(x))[mask.flatten().numpy()]
    r = noise**2 * np.eye(len(h))
    gain = covariance @ h.T @ np.linalg.inv(h @ covariance @ h.T + r)
    return x + gain @ (h @ y - h @ x)


def test_the_analysis_is_kalmans_update() -> None:
    """With numbers of its own for the forecast's and the observation's error: their ratio is what counts."""
    reach, forecast_error, noise = 0.31, 2.5, 0.7
    frame, values = torch.randn(2, 1, 2, *SHAPE, dtype=torch.float64)
    mask = MASK[:1]
    amend = Interpolation(
        Observations(mask, values[:, None], [0]), reach, noise / forecast_error, (1.0, 1.2), (True, False)
    )
    analysis = amend.bind(frame, GridDomain.of(frame), 1)(0, frame)
    covariance = np.empty((30, 30))
    for i in range(30):
        for j in range(30):
            chord = np.sin(np.pi * (i // 6 - j // 6) / 5) / np.pi
            across = 1.2 * (i % 6 - j % 6) / 5
            covariance[i, j] = forecast_error**2 * np.exp(-(chord**2 + across**2) / (2 * reach**2))
    for field in range(2):
        by_hand = kalman(frame[0, field], covariance, mask[0, field], values[0, field], noise)
        np.testing.assert_allclose(analysis[0, field].flatten().numpy(), by_hand, rtol=0, atol=1e-10)


def test_a_grid_and_the_same_points_as_a_graph_agree() -> None:
    ticks = [torch.arange(5).double() / 5, torch.linspace(0, 1.2, 6, dtype=torch.float64)]
    pos = torch.cartesian_prod(*ticks)
    as_nodes = START[0].flatten(1).T
    amend = interpolation(Observations(MASK[:1], SEEN[:1], FRAMES))
    on_grid = amend.bind(START[:1], GridDomain(1, SHAPE), 5)(1, START[:1])
    seen = SEEN[0].flatten(2).permute(2, 0, 1)
    amend = interpolation(Observations(MASK[0].flatten(1).T, seen, FRAMES))
    domain = GraphDomain.of(as_nodes, {"pos": pos})
    on_graph = amend.bind(as_nodes, domain, 5)(1, as_nodes)
    torch.testing.assert_close(on_graph, on_grid[0].flatten(1).T, rtol=0, atol=1e-12)


def test_on_a_torus_a_shift_of_everything_shifts_the_analysis() -> None:
    def analysis(frame: Tensor, mask: Tensor, values: Tensor) -> Tensor:
        amend = Interpolation(Observations(mask, values[:, None], [0]), 0.2, 0.1, periodic=True)
        return amend.bind(frame, GridDomain.of(frame), 1)(0, frame)

    shifted = analysis(*(field.roll((2, 3), (2, 3)) for field in (START, MASK, SEEN[:, 0])))
    back = shifted.roll((-2, -3), (2, 3))
    torch.testing.assert_close(back, analysis(START, MASK, SEEN[:, 0]), rtol=0, atol=1e-12)


def test_observations_bring_a_chaotic_rollout_back_to_the_truth() -> None:
    """Coupled logistic maps, a third of the points observed."""

    def model(u: Tensor) -> Tensor:
        local = 3.9 * u * (1 - u)
        return 0.4 * local + 0.3 * (local.roll(1, -1) + local.roll(-1, -1))

    truth = rollout(model, torch.rand(4, 1, 24, dtype=torch.float64), steps=80).frames
    start = truth[:, 0] + 0.01 * torch.randn(4, 1, 24).double()
    mask = torch.arange(24) % 3 == 0
    frames = range(79)
    observations = Observations(mask, truth[:, 1:], frames)
    amend = Interpolation(observations, reach=1.5, noise=0.01, sides=24.0, periodic=True)
    free, corrected = (rollout(model, start, steps=79, amend=way).frames for way in ((), amend))
    free_error, error = ((run - truth[:, 1:])[:, 40:].square().mean().sqrt() for run in (free, corrected))
    assert error < 0.5 * free_error


def test_gradients_cross_a_correction() -> None:
    start = START.clone().requires_grad_()
    amend = interpolation(Observations(MASK, torch.where(MASK[:, None], SEEN, torch.nan), FRAMES))
    rollout(point_model(2, 2), start, steps=3, grad=True, amend=amend).frames.sum().backward()
    assert start.grad.isfinite().all()
    assert start.grad.abs().sum() > 0


WIDE = torch.ones(SHAPE, dtype=torch.bool)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Observations(WIDE, SEEN, [1, 1]), r"frames as different whole numbers >= 0, got \[1, 1\]"),
        (lambda: Observations(WIDE, SEEN, [-1]), r"frames as different whole numbers >= 0, got \[-1\]"),
        (lambda: Nudging(Observations(WIDE, SEEN, FRAMES), 1.5), "0 < gain <= 1, got 1.5"),
        (lambda: Interpolation(Observations(WIDE, SEEN, FRAMES), 0.0, 0.1), "reach > 0, got 0.0"),
        (lambda: Interpolation(Observations(WIDE, SEEN, FRAMES), 0.1, 0.0), "noise >= 1e-6, got 0.0"),
        (lambda: run(Nudging(Observations(WIDE[1:], SEEN, FRAMES))), "a mask on the mesh of the frames"),
        (
            lambda: run(Nudging(Observations(WIDE, SEEN[:, :1], FRAMES))),
            "observed values for 2 frames, got 1",
        ),
        (
            lambda: run(Nudging(Observations(WIDE, SEEN[:, :, [0, 0, 0]], FRAMES))),
            "observed values of 2 channels, got 3",
        ),
        (
            lambda: run(Nudging(Observations(WIDE, SEEN / 0, FRAMES))),
            "finite observed values at frame 1, got 180 NaN or inf",
        ),
        (
            lambda: run(Interpolation(Observations(WIDE, SEEN, FRAMES), 0.1, 0.1, sides=[1.0] * 3)),
            r"sides of 2 axes, got \[1.0, 1.0, 1.0\]",
        ),
        (
            lambda: rollout(
                torch.tanh, torch.zeros(4, 1), 1, amend=interpolation(Observations(WIDE[0, :4], START, [0]))
            ),
            "observed values of shape",
        ),
        (
            lambda: rollout(
                torch.tanh,
                torch.zeros(4, 1),
                1,
                amend=interpolation(Observations(WIDE[0, :4], torch.zeros(4, 1, 1), [0])),
            ),
            "nodes with coordinates, got none; try pos=..., or Nudging",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^expected {words}"):
        make()


def test_too_many_points_for_a_dense_solve() -> None:
    field, mask = torch.zeros(1, 1, 5000), torch.ones(5000, dtype=torch.bool)
    amend = Interpolation(Observations(mask, field[:, None], [0]), 0.1, 0.1)
    with pytest.raises(ValueError, match=r"^expected at most 4096 observed points a sample, got 5000"):
        amend.bind(field, GridDomain.of(field), 1)
