"""The statement of bands holds as often as it says, also on other meshes than those of the calibration.

Errors and changes of answers are random fields in space, drawn alike for each sample, at the nodes of a mesh.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neuralop_irno.bands import BandEvidence, Bands
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.points import PointDomain
from neuralop_irno.domain.sphere import SphereDomain, colatitudes

SHARE, COVERAGE, WAVES, CHANNELS = 0.8, 0.9, 24, 2
HELD_OUT, DRAWS, FRESH = 19, 40, 20


class Mesh:
    """One mesh for any number of samples.

    Args:
        z: where the random fields, which are those of a larger space, are sampled, ``(n, d)``.
        domain: from a number of samples.
        shape: of the axes of a grid; None on nodes.
    """

    def __init__(self, z: Tensor, domain: Callable[[int], Domain], shape: tuple[int, ...] | None) -> None:
        self.z, self.domain, self._shape = z, domain, shape

    def field(self, coefficients: Tensor) -> Tensor:
        """Random fields with ``(samples, CHANNELS, 2 WAVES)`` coefficients, laid out on the mesh."""
        generator = torch.Generator().manual_seed(0)
        waves = torch.randn(WAVES, 4, generator=generator, dtype=torch.float64)[:, : self.z.shape[1]]
        phase = self.z @ waves.T
        values = coefficients @ torch.cat([phase.cos(), phase.sin()], 1).T
        if self._shape is None:
            return values.movedim(2, 1).flatten(0, 1)
        return values.unflatten(2, self._shape)


def on_nodes(z: Tensor, measure: Tensor, period: Tensor | None = None) -> Mesh:
    def domain(samples: int) -> GraphDomain:
        batch = torch.arange(samples).repeat_interleave(len(z))
        box = None if period is None else period.expand(samples, -1)
        return GraphDomain(batch, samples, z.repeat(samples, 1), measure.repeat(samples), period=box)

    return Mesh(z, domain, None)


def clustered(count: int, power: float) -> Mesh:
    """Nodes in the unit square that are the denser near one corner, the larger the power."""
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    along, slope = u**power, power * u ** (power - 1)
    return on_nodes(3 * torch.cartesian_prod(along, along), torch.cartesian_prod(slope, slope).prod(1))


def scattered_on_torus(count: int, seed: int) -> Mesh:
    """Points in a periodic box, whose measure follows from their coordinates."""
    pos = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    period = torch.ones(1, 2, dtype=torch.float64)
    measure = PointDomain(torch.zeros(count, dtype=torch.long), 1, pos, period=period).measure
    angle = 2 * torch.pi * pos
    assert measure is not None
    return on_nodes(torch.cat([angle.cos(), angle.sin()], 1), measure, period)


def grid(*shape: int) -> Mesh:
    axes = [3 * (torch.arange(n, dtype=torch.float64) + 0.5) / n for n in shape]
    z = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
    return Mesh(z, lambda samples: GridDomain(samples, shape), shape)


def sphere(grid: str, rows: int) -> Mesh:
    shape = rows, 2 * rows
    theta, phi = torch.meshgrid(
        colatitudes(grid, rows),
        torch.arange(2 * rows, dtype=torch.float64) * torch.pi / rows,
        indexing="ij",
    )
    z = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1).flatten(0, 1)
    return Mesh(2 * z, lambda samples: SphereDomain(samples, shape, grid), shape)


def evidence(mesh: Mesh, samples: int, seed: int) -> BandEvidence:
    """Errors that resemble the changes of the answers in part, of very different sizes."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    size, ratio = normal(2, samples, 1, 1).exp()
    moved, rest = normal(2, samples, CHANNELS, 2 * WAVES)
    errors = size * ratio**0.5 * (0.6 * moved + 0.8 * rest)
    domain = mesh.domain(samples)
    return BandEvidence.of(mesh.field(errors), mesh.field(size * moved), domain, SHARE)


PAIRS = {
    "finer in one corner": lambda: (clustered(12, 1.0), clustered(14, 2.0)),
    "finer in another": lambda: (clustered(14, 2.0), clustered(10, 0.7)),
    "torus": lambda: (scattered_on_torus(150, 0), scattered_on_torus(220, 1)),
    "finer grid": lambda: (grid(12, 10), grid(15, 18)),
    "line": lambda: (grid(60), grid(90)),
    "other grid of a sphere": lambda: (sphere("equiangular", 12), sphere("legendre-gauss", 9)),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_fresh_samples_on_another_mesh_are_covered_as_often_as_is_stated(
    pair: Callable[[], tuple[Mesh, Mesh]],
) -> None:
    before, after = pair()
    known = evidence(before, HELD_OUT * DRAWS, 1)
    fresh = evidence(after, FRESH * DRAWS, 2)
    shares, predictors = [], set()
    for draw in range(DRAWS):
        bands = Bands.fit(known.take(slice(HELD_OUT * draw, HELD_OUT * (draw + 1))), COVERAGE)
        predictors.add(bands.predictor)
        shares.append(bands.observed(fresh.take(slice(FRESH * draw, FRESH * (draw + 1))))[0])
    measured = torch.tensor(shares)
    assert measured.mean() >= COVERAGE - 3 * measured.std() / DRAWS**0.5
    assert measured.mean() < 0.97  # and not by bands that are far too wide
    assert "local" in predictors


def test_nodes_that_are_split_change_nothing() -> None:
    """A node in two halves, each with half of its measure, is the same region."""
    generator = torch.Generator().manual_seed(0)
    errors, moved = torch.randn(2, 20, 3, generator=generator, dtype=torch.float64)
    measure = torch.rand(20, generator=generator, dtype=torch.float64)
    batch = torch.arange(2).repeat_interleave(10)
    whole = BandEvidence.of(errors, moved, GraphDomain(batch, 2, measure=measure), SHARE)
    twice = torch.arange(20).repeat_interleave(torch.arange(20) % 3 + 1)
    parts = measure[twice] / (twice % 3 + 1)
    split = BandEvidence.of(errors[twice], moved[twice], GraphDomain(batch[twice], 2, measure=parts), SHARE)
    for name in whole.scores:
        torch.testing.assert_close(split.scores[name], whole.scores[name])
        torch.testing.assert_close(split.widths[name], whole.widths[name])


def test_windows_of_one_trajectory_count_as_one() -> None:
    """Windows resemble each other; as if they were independent, bands cover fewer than is stated."""
    mesh, generator = grid(40), torch.Generator().manual_seed(0)
    by_trajectory, by_window = [], []
    for draw in range(DRAWS):
        flows = evidence(mesh, 2 * HELD_OUT, draw)
        sizes = torch.randint(1, 20, (2 * HELD_OUT,), generator=generator)
        owner = torch.arange(2 * HELD_OUT).repeat_interleave(sizes)
        windows = flows.take(owner)
        noise = torch.rand(len(owner), generator=generator, dtype=torch.float64) + 0.5
        windows = BandEvidence(SHARE, {n: s * noise for n, s in windows.scores.items()}, windows.widths)
        held_out = owner < HELD_OUT
        known = windows.take(held_out)
        for found, groups in ((by_trajectory, owner[held_out]), (by_window, None)):
            bands = Bands.fit(known, COVERAGE, groups)
            covered = (windows.scores[bands.predictor] <= bands.factor)[~held_out].double()
            of_flow = owner[~held_out] - HELD_OUT
            found.append((covered / sizes[HELD_OUT:][of_flow]).sum() / HELD_OUT)
    measured = torch.stack(by_trajectory)
    assert measured.mean() >= COVERAGE - 3 * measured.std() / DRAWS**0.5
    assert torch.stack(by_window).mean() < measured.mean()
