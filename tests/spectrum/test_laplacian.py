"""Laplacians: symmetric, never negative, blind to constants, exact on linear functions, and at scale."""

import math
import sys

import numpy as np
import pytest
import torch
from meshes import cube, periodic_grid, square
from scipy.spatial import Delaunay

from neuralop_irno.spectrum.laplacian import (
    Laplacian,
    graph_laplacian,
    knn_laplacian,
    mesh_laplacian,
    robust_laplacian,
)

SEGMENTS = torch.linspace(0, 2, 9)[:, None] ** 2 / 2, torch.stack([torch.arange(8), torch.arange(1, 9)])
ALL = {
    "triangles": lambda: mesh_laplacian(*square(9)),
    "tetrahedra": lambda: mesh_laplacian(*cube(4)),
    "segments": lambda: mesh_laplacian(*SEGMENTS),
    "neighbours": lambda: knn_laplacian(square(9)[0]),
    "neighbours in space": lambda: knn_laplacian(torch.rand(50, 3)),
    "edges": lambda: graph_laplacian(periodic_grid((4, 5)), 20),
    "weighted edges": lambda: graph_laplacian(torch.randint(0, 9, (2, 30)), 12, torch.rand(30)),
}


@pytest.mark.parametrize("name", ALL)
def test_symmetric_semidefinite_and_zero_on_constants(name: str) -> None:
    laplacian = ALL[name]()
    full = laplacian.stiffness.toarray()
    assert full.dtype == np.float64
    assert (full == full.T).all()
    scale = abs(full).max()
    assert abs(full.sum(1)).max() < 1e-13 * scale
    assert np.linalg.eigvalsh(full).min() > -1e-13 * scale
    assert laplacian.mass.min() > 0
    assert laplacian.nyquist > 0


@pytest.mark.parametrize(("mesh", "volume"), [(square(9), 1.0), (cube(4), 1.0), (SEGMENTS, 2.0)])
def test_meshes_have_their_volume_and_the_energy_of_linear_functions(mesh: tuple, volume: float) -> None:
    pos, cells = mesh
    laplacian = mesh_laplacian(pos, cells)
    assert laplacian.mass.sum() == pytest.approx(volume, rel=1e-6)
    slope = np.arange(1.0, pos.shape[1] + 1)
    field = pos.double().numpy() @ slope + 3
    assert field @ laplacian.stiffness @ field == pytest.approx(volume * (slope**2).sum(), rel=1e-6)
    inside = ((pos > pos.amin(0) + 1e-6) & (pos < pos.amax(0) - 1e-6)).all(1).numpy()
    assert abs(laplacian.stiffness @ field)[inside].max() < 1e-5  # the Laplacian of a linear function


def test_the_cotangent_formula_on_one_triangle() -> None:
    pos = torch.tensor([[0.0, 0.0], [2.0, 0.3], [0.4, 1.1]], dtype=torch.float64)
    laplacian = mesh_laplacian(pos, torch.tensor([[0], [1], [2]]))
    a, b = (pos[0] - pos[2]).numpy(), (pos[1] - pos[2]).numpy()
    cotangent = a @ b / abs(a[0] * b[1] - a[1] * b[0])
    assert laplacian.stiffness[0, 1] == pytest.approx(-cotangent / 2)


def test_surfaces_in_space_are_as_good_as_flat_ones() -> None:
    pos, cells = square(6)
    turned = torch.nn.functional.pad(pos, (0, 1)) @ torch.linalg.qr(torch.randn(3, 3).double())[0]
    flat, tilted = mesh_laplacian(pos, cells), mesh_laplacian(turned, cells)
    np.testing.assert_allclose(tilted.stiffness.toarray(), flat.stiffness.toarray(), atol=1e-12)
    assert tilted.nyquist == pytest.approx(flat.nyquist)


def test_neighbours_on_a_periodic_grid_give_the_difference_quotient() -> None:
    n, h = 6, 0.5
    axis = torch.arange(n) * h
    pos = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    period = torch.full((2,), n * h)
    laplacian = knn_laplacian(pos, 4, torch.full((n * n,), h * h), period)
    expected = graph_laplacian(periodic_grid((n, n)), n * n).stiffness.toarray()
    np.testing.assert_allclose(laplacian.stiffness.toarray(), expected, atol=1e-12)
    assert laplacian.nyquist == pytest.approx(math.pi / h)


def test_edges_have_no_direction_and_count_once() -> None:
    once = graph_laplacian(torch.tensor([[0, 1], [1, 2]]), 4).stiffness.toarray()
    again = torch.tensor([[0, 1, 2, 1, 0, 3], [1, 0, 1, 2, 1, 3]])  # both ways, twice, a self loop
    assert (graph_laplacian(again, 4).stiffness.toarray() == once).all()
    assert (graph_laplacian(again[:, [1, 2]], 4).stiffness.toarray() == once).all()  # the other way only
    assert (once[3] == 0).all()  # an isolated node
    largest = graph_laplacian(torch.tensor([[0, 1, 0], [1, 0, 1]]), 2, torch.tensor([1.0, 3.0, 2.0]))
    assert largest.stiffness.toarray().tolist() == [[3, -3], [-3, 3]]


def test_graphs_of_one_node_and_of_none() -> None:
    for nodes in (0, 1):
        for laplacian in (
            graph_laplacian(torch.zeros(2, 0).long(), nodes),
            knn_laplacian(torch.zeros(nodes, 2)),
        ):
            assert laplacian.stiffness.shape == (nodes, nodes)
            assert laplacian.nodes == nodes
            assert abs(laplacian.stiffness).sum() == 0


def test_the_digest_tells_contents_apart() -> None:
    def ring(n: int) -> Laplacian:
        return graph_laplacian(periodic_grid((n,)), n)

    assert ring(5).digest == ring(5).digest
    assert ring(5).digest != ring(6).digest


FACE = torch.tensor([[0], [1], [2]])
MISTAKES = {
    "cells (corners, cells) with 2 to 3 corners": lambda: mesh_laplacian(torch.rand(5, 2), FACE.repeat(2, 1)),
    "cells between 0 and 1, got 0 to 2": lambda: mesh_laplacian(torch.rand(2, 2), FACE),
    "cells that have a volume, got 1 that are flat": lambda: mesh_laplacian(torch.ones(3, 2), FACE),
    "nodes that belong to a cell, got 1 in none": lambda: mesh_laplacian(torch.rand(4, 2), FACE),
    "finite coordinates": lambda: mesh_laplacian(torch.full((3, 2), math.nan), FACE),
    "edge_index (2, edges), got (3, 1)": lambda: graph_laplacian(FACE, 3),
    "edge_index between 0 and 1, got 0 to 2": lambda: graph_laplacian(torch.tensor([[0], [2]]), 2),
    "one weight >= 0 for each of 1 edges": lambda: graph_laplacian(FACE[:2], 3, -torch.ones(1)),
    "points that differ, got 3 that coincide": lambda: knn_laplacian(torch.zeros(3, 2)),
    "neighbours >= 1, got 0": lambda: knn_laplacian(torch.rand(3, 2), 0),
    "a measure > 0 for each of 3 nodes": lambda: knn_laplacian(torch.rand(3, 2), 1, torch.ones(2)),
    "1 of them not above 0, as outside of a mask": lambda: knn_laplacian(
        torch.rand(3, 2), 1, torch.tensor([1.0, 0.0, 1.0])
    ),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_answered(words: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .*, got .*; try .*$") as caught:
        MISTAKES[words]()
    assert words in str(caught.value)


def test_robust_laplacian_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "robust_laplacian", None)
    with pytest.raises(ImportError, match=r"pip install 'neuralop_irno\[robust\]'"):
        robust_laplacian(torch.rand(9, 2))


def test_robust_laplacian_of_a_flat_mesh_is_the_cotangent_one() -> None:
    pytest.importorskip("robust_laplacian")
    pos, cells = square(9)
    ours, theirs = mesh_laplacian(pos, cells), robust_laplacian(pos, cells)
    field = pos.numpy() @ [1.0, 2.0]
    assert field @ theirs.stiffness @ field == pytest.approx(5.0, rel=1e-4)
    assert theirs.mass.sum() == pytest.approx(ours.mass.sum(), rel=1e-4)
    cloud = robust_laplacian(pos)
    assert cloud.mass.sum() == pytest.approx(1, rel=0.2)
    assert field @ cloud.stiffness @ field == pytest.approx(5.0, rel=0.2)


def test_a_bounded_stiffness_is_still_that_of_a_laplacian() -> None:
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(200, 3, generator=generator, dtype=torch.float64)
    for dim in (2, 3):
        points = pos[:, :dim]
        cells = torch.from_numpy(Delaunay(points.numpy()).simplices.T)
        free, bounded = mesh_laplacian(points, cells), mesh_laplacian(points, cells, 2.0)
        top = np.linalg.eigvalsh(bounded.symmetric.toarray())
        assert top[0] > -1e-9 * top[-1]
        assert abs(bounded.stiffness.sum(1)).max() < 1e-9 * top[-1]
        assert top[-1] < 0.5 * np.linalg.eigvalsh(free.symmetric.toarray())[-1]
        linear = points[:, 0].numpy()
        assert linear @ bounded.stiffness @ linear == pytest.approx(linear @ free.stiffness @ linear, rel=0.1)
