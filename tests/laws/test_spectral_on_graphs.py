"""The same spectral loss on grids and graphs: the domain decides which spectrum it is."""

import ast
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GraphSAGE

import neuralop_irno.losses
from neuralop_irno import (
    FixedPointLoss,
    IterativeRefiner,
    RefinementLoss,
    SpatialLoss,
    SpectralLoss,
    Trajectory,
)
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.recently_used import RecentlyUsed
from neuralop_irno.spectrum import graph_spectrum
from neuralop_irno.spectrum.chebyshev import ChebyshevBands

sys.path.append(str(Path(__file__).parents[1] / "spectrum"))
from meshes import cube, grid_eigenvalues, periodic_grid, square

SIZES = (9, 1, 14)
KINDS = ("edges", "points", "weighted points", "mesh", "tetrahedra")


def small(with_pos: bool = True) -> GraphDomain:
    generator = torch.Generator().manual_seed(0)
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))
    pos = torch.rand(sum(SIZES), 2, generator=generator, dtype=torch.float64)
    node = torch.arange(sum(SIZES) - 1)
    along = torch.stack([node, node + 1])[:, batch[node] == batch[node + 1]]
    return GraphDomain(batch, 3, pos if with_pos else None, None, Edges(along))


def domain(kind: str) -> GraphDomain:
    if kind in ("mesh", "tetrahedra"):
        pos, cells = square(7) if kind == "mesh" else cube(3)
        other = pos * 2, cells + len(pos)  # two meshes, one twice as large
        batch = torch.arange(2).repeat_interleave(len(pos))
        return GraphDomain(batch, 2, torch.cat([pos, other[0]]), cells=torch.cat([cells, other[1]], 1))
    where = small(kind != "edges")
    if kind == "weighted points":
        weights = torch.rand(sum(SIZES), dtype=torch.float64) + 0.1
        return GraphDomain(where.batch, 3, where.pos, weights, where.edges)
    return where


def trajectory(h: Tensor, where: Domain, progress: float = 1.0) -> Trajectory:
    return Trajectory((h,), (torch.full((where.samples,), progress),), where)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("large", [False, True])
def test_equal_weights_make_it_the_spatial_loss(
    kind: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:  # as if these were too large for all their modes
        monkeypatch.setattr(graph_spectrum, "ALL_MODES", 5)
        graph_spectrum._known.clear()
    where = domain(kind)
    h, y = torch.randn(2, len(where.batch), 2, dtype=torch.float64)
    flat = SpectralLoss(compare="complex", lambda_start=0.0, lambda_end=0.0)
    measured = flat.per_sample(trajectory(h, where), y)
    torch.testing.assert_close(measured, SpatialLoss().per_sample(trajectory(h, where), y))
    assert ("bands" in flat.spectrum_used) == large


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compare", ["complex", "amplitude", "bands"])
def test_numbering_does_not_matter_a_batch_is_a_loop_and_there_is_a_gradient(kind: str, compare: str) -> None:
    where = domain(kind)
    count = len(where.batch)
    h, y = torch.randn(2, count, 1, dtype=torch.float64)
    loss = SpectralLoss(compare=compare, spectrum={"bands": 6})
    found = loss.per_sample(trajectory(h, where), y)
    order = torch.randperm(count)
    names = order.argsort()
    moved = GraphDomain(
        where.batch[order],
        where.samples,
        None if where.pos is None else where.pos[order],
        None if where.measure is None else where.measure[order],
        None if where._edges is None else Edges(names[where.edges.index]),
        None if where.cells is None else names[where.cells],
    )
    torch.testing.assert_close(loss.per_sample(trajectory(h[order], moved), y[order]), found)
    for place in range(where.samples):
        rows = where.batch == place
        alone = trajectory(h[rows], where.select(torch.tensor([place])))
        torch.testing.assert_close(loss.per_sample(alone, y[rows])[0], found[place])
    assert torch.autograd.gradcheck(
        lambda field: loss.per_sample(trajectory(field, where), y), h.clone().requires_grad_()
    )


@pytest.mark.parametrize("shape", [(9,), (8, 6), (5, 4, 3)])
@pytest.mark.parametrize("sharpness", [1.0, 1.7])
def test_law_5_a_periodic_grid_as_a_graph_has_the_grids_loss(
    shape: tuple[int, ...], sharpness: float
) -> None:
    """Its waves, with the same weights as functions of the same Laplacian's eigenvalues."""
    nodes = math.prod(shape)
    h, y = torch.randn(2, 2, *shape, dtype=torch.float64)  # two channels
    axes = tuple(range(1, h.dim()))
    difference = torch.fft.fftn(h - y, dim=axes, norm="ortho").abs().square().flatten(1)
    rho = 1 + (grid_eigenvalues(shape).flatten().sqrt() / math.pi) ** sharpness
    on_grid = (rho * difference.mean(0)).sum() / rho.sum()
    where = GraphDomain(torch.zeros(nodes).long(), 1, edges=Edges(periodic_grid(shape)))
    loss = SpectralLoss(lambda_start=sharpness, lambda_end=sharpness)
    on_graph = loss.per_sample(trajectory(h.flatten(1).T, where), y.flatten(1).T)
    torch.testing.assert_close(on_graph[0], on_grid, rtol=1e-5, atol=0)


def test_bands_by_polynomials_come_near_to_all_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    pos, cells = square(16)
    where = GraphDomain(torch.zeros(256).long(), 1, pos, cells=cells)
    y = torch.stack([torch.sin(6 * pos[:, 0] + 4 * pos[:, 1])], 1)
    h = y + 0.1 * torch.randn(256, 1, dtype=torch.float64)
    losses = []
    for most in (600, 5):
        monkeypatch.setattr(graph_spectrum, "ALL_MODES", most)
        graph_spectrum._known.clear()
        loss = SpectralLoss(lambda_start=2.0, lambda_end=2.0)
        losses.append(loss.per_sample(trajectory(h, where), y).item())
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)


def pair(side: int) -> tuple[GraphDomain, Tensor, Tensor]:
    """A mesh, a smooth truth and a smooth guess on it."""
    pos, cells = square(side)
    x, y = pos.T
    truth = torch.stack([torch.cos(3 * x) * y + x, torch.sin(5 * x + 2 * y)], 1)
    guess = truth + torch.stack([0.2 * torch.cos(7 * x + y), 0.1 * torch.sin(9 * y)], 1)
    return GraphDomain(torch.zeros(len(pos)).long(), 1, pos, cells=cells), guess, truth


@pytest.mark.parametrize(
    ("compare", "sides"),
    [("complex", (17, 21, 24, 33, 49)), ("amplitude", (41, 49, 65)), ("bands", (41, 49, 65))],
)
def test_law_6_a_finer_mesh_does_not_change_the_losses_of_smooth_fields(
    compare: str, sides: tuple[int, ...]
) -> None:
    values = []
    for side in sides:  # up to 24 with all modes, then by bands
        where, guess, truth = pair(side)
        spectral = SpectralLoss(compare=compare, spectrum={"nyquist": 20 * math.pi})
        rest = Trajectory((guess,), (torch.ones(1),), where, phi=lambda y: 0.3 * y.square())
        values.append(
            [
                spectral.per_sample(rest, truth).item(),
                FixedPointLoss().per_sample(rest, truth).item(),
                where.norm(truth).item(),
            ]
        )
    assert (torch.tensor(values) / torch.tensor(values[-1]) - 1).abs().max() < 0.02


@pytest.mark.parametrize("compare", ["complex", "bands"])
def test_gradients_through_polynomials(compare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_spectrum, "ALL_MODES", 5)
    graph_spectrum._known.clear()
    where, guess, truth = pair(5)
    loss = SpectralLoss(compare=compare, spectrum={"bands": 4})
    assert torch.autograd.gradcheck(
        lambda field: loss.per_sample(trajectory(field, where), truth), guess.clone().requires_grad_()
    )
    assert "bands of the mesh" in loss.spectrum_used


def test_narrow_bands_hand_the_low_end_over_to_eigenvectors() -> None:
    where, _, _ = pair(30)
    y = torch.randn(900, 1, dtype=torch.float64)
    loss = SpectralLoss(spectrum={"modes": 100, "bands": 64})
    assert loss.per_sample(trajectory(0.5 * y, where), y).isfinite().all()
    assert "modes, and" in loss.spectrum_used


@pytest.mark.parametrize("side", [20, 30])  # all modes, and bands
@pytest.mark.parametrize("name", ["mesh", "robust", "knn"])
@pytest.mark.parametrize("compare", ["complex", "bands"])
def test_law_6_slivers_change_the_losses_by_less_than_5_percent(side: int, name: str, compare: str) -> None:
    if name == "robust":
        pytest.importorskip("robust_laplacian")
    pos, cells = square(side)
    middle = side * side // 2 + side // 2
    moved = pos.clone()
    for place, gap in ((middle, 1e-6), (middle - 3 * side, 1e-5), (middle + 5, 1e-4)):
        moved[place] = pos[place + 1] * (1 - gap) + pos[place] * gap  # a node next to its neighbour
    values = []
    for points in (pos, moved):
        where = GraphDomain(torch.zeros(len(pos)).long(), 1, points, cells=cells)
        x = math.pi * points[:, :1]
        truth = torch.cos(2 * x)
        guesses = [truth + 0.3 * torch.cos(share * side * x) for share in (0.1, 0.6, 0.75, 0.9)]
        loss = SpectralLoss(compare, 1.0, 2.0, {"laplacian": name})
        values.append([loss.per_sample(trajectory(guess, where), truth).item() for guess in guesses])
        assert ("bands" in loss.spectrum_used) == (side == 30)
    whole, with_slivers = torch.tensor(values)
    assert (with_slivers / whole - 1).abs().max() < 0.05


def test_the_choice_is_the_users() -> None:
    where, guess, truth = pair(8)
    for name in ("mesh", "knn"):
        loss = SpectralLoss(spectrum={"laplacian": name})
        loss.per_sample(trajectory(guess, where), truth)
        assert loss.spectrum_used == f"all modes of the {name} Laplacian"
    grid = SpectralLoss()
    grid(torch.ones(1, 1, 8), torch.ones(1, 1, 8))
    assert grid.spectrum_used == "the Fourier modes of the grid"


def test_eigenvectors_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, guess, truth = pair(8)
    loss = SpectralLoss(spectrum={"cache": str(tmp_path)})
    first = loss.per_sample(trajectory(guess, where), truth)
    assert len(list(tmp_path.iterdir())) == 1
    graph_spectrum._known.clear()
    assert (loss.per_sample(trajectory(guess, where), truth) == first).all()
    assert len(list(tmp_path.iterdir())) == 1


def test_spectra_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_spectrum, "_known", RecentlyUsed(300_000))
    for side in range(4, 12):
        where, guess, truth = pair(side)
        SpectralLoss().per_sample(trajectory(guess, where), truth)
    kept = graph_spectrum._known.values()
    assert 1 < len(kept) < 8
    assert sum(each.size for each in kept) <= 300_000


def test_a_refiner_on_graphs_trains_with_it_and_its_answers_are_scored_with_it() -> None:
    where = small()
    graphs = []
    for place in range(3):
        own = where.select(torch.tensor([place]))
        n = len(own.batch)
        graphs.append(
            Data(x=torch.randn(n, 3), y=torch.randn(n, 1), pos=own.pos.float(), edge_index=own.edges.index)
        )
    batch = Batch.from_data_list(graphs)
    model = IterativeRefiner(GraphSAGE(3, 8, 1, 1), "meshgraph", steps=3, gradient="unrolled").train()
    for compare in ("complex", "amplitude", "bands"):
        loss = RefinementLoss(spectral=1.0, compare=compare)
        loss(model(batch, y=batch.y), batch.y).backward()
        assert set(loss.parts) == {"spatial", "spectral"}
        assert loss.spectrum_used == "all modes of the knn Laplacian"
        assert model.correction.last.weight.grad.abs().sum() > 0
        model.zero_grad()
    plain = model.eval()(batch)
    assert loss(plain, **batch.to_dict()).isfinite()


def test_mistakes_are_answered() -> None:
    where, guess, truth = pair(4)
    bare = GraphDomain(where.batch, 1, edges=Edges(torch.zeros(2, 0).long()))
    points = GraphDomain(where.batch, 1, where.pos)
    mistakes = {
        "a Laplacian, got 'cotan'": lambda: SpectralLoss(spectrum={"laplacian": "cotan"}),
        "laplacian": lambda: SpectralLoss(spectrum={"laplcian": "mesh"}),
        "bands >= 2": lambda: SpectralLoss(spectrum={"bands": 1}),
        "coordinates for laplacian='knn', got none": lambda: SpectralLoss(
            spectrum={"laplacian": "knn"}
        ).per_sample(trajectory(guess, bare), truth),
        "cells for laplacian='mesh', got none": lambda: SpectralLoss(
            spectrum={"laplacian": "mesh"}
        ).per_sample(trajectory(guess, points), truth),
        "coordinates for a given nyquist, got edges only": lambda: SpectralLoss(
            spectrum={"nyquist": 3.0}
        ).per_sample(trajectory(guess, bare), truth),
        "nyquist=None on a grid": lambda: SpectralLoss(spectrum={"nyquist": 3.0})(
            torch.ones(1, 1, 8), torch.ones(1, 1, 8)
        ),
    }
    for words, mistake in mistakes.items():
        with pytest.raises((ValueError, TypeError), match=r"^expected .*, got .*; try .*$") as caught:
            mistake()
        assert words in str(caught.value)


def test_nothing_in_the_losses_mentions_a_graph() -> None:
    folder = Path(neuralop_irno.losses.__file__).parent
    names = {
        node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else node.arg
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.Name, ast.Attribute, ast.arg))
    }
    words = ("graph", "mesh", "laplacian", "node", "edge")
    assert [n for n in names if any(word in n.lower() for word in words)] == []


def test_large_graphs_need_no_eigenvectors(monkeypatch: pytest.MonkeyPatch) -> None:
    where, guess, truth = pair(40)
    monkeypatch.setattr(graph_spectrum, "eigenpairs", None)  # not called
    loss = SpectralLoss()
    loss.per_sample(trajectory(guess, where), truth)
    (known,) = [each for each in graph_spectrum._known.values() if each.description == loss.spectrum_used]
    assert isinstance(known.spectrum, ChebyshevBands)
