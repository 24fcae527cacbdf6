"""Eigenvalues against known ones, Parseval, laws 5 and 6, and graphs of every odd kind."""

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import cube, grid_eigenvalues, periodic_grid, square
from scipy.spatial import Delaunay
from torch import Tensor

from neuralop_irno.spectrum import eigenpairs as solver
from neuralop_irno.spectrum.eigenbasis import LaplacianEigenbasis
from neuralop_irno.spectrum.eigenpairs import Eigenpairs, eigenpairs, highest
from neuralop_irno.spectrum.laplacian import Laplacian, graph_laplacian, knn_laplacian, mesh_laplacian
from neuralop_irno.spectrum.spectrum import InBands

CENTRES = torch.tensor([0.0, 0.1, 0.2, 0.4, 0.8])


def ring(n: int) -> Laplacian:
    return graph_laplacian(periodic_grid((n,)), n)


def check(laplacian: Laplacian, pairs: Eigenpairs) -> None:
    gram = pairs.vectors.T * pairs.mass @ pairs.vectors
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-9)
    left = laplacian.stiffness @ pairs.vectors
    right = pairs.mass[:, None] * pairs.vectors * pairs.values
    scale = pairs.mass[:, None] ** 0.5 * (highest(laplacian.symmetric) or 1.0)
    assert abs((left - right) / scale).max(initial=0) < 1e-7


@pytest.mark.parametrize("shape", [(7,), (6, 5), (4, 3, 5), (32, 32)])
def test_all_modes_of_a_periodic_grid(shape: tuple[int, ...]) -> None:
    laplacian = graph_laplacian(periodic_grid(shape), math.prod(shape))
    pairs = eigenpairs(laplacian)
    check(laplacian, pairs)
    known = grid_eigenvalues(shape).flatten().sort().values
    np.testing.assert_allclose(pairs.values, known, atol=1e-7)


def test_both_ends_of_a_periodic_grid_in_whole_eigenspaces() -> None:
    laplacian = graph_laplacian(periodic_grid((40, 40)), 1600)
    known = grid_eigenvalues((40, 40)).flatten().sort().values.numpy()
    pairs = eigenpairs(laplacian, low=60, high=30)
    check(laplacian, pairs)
    high = len(pairs.values) - pairs.low
    assert (pairs.low, high) == (57, 29)  # 60 and 30 would cut an eigenspace of four or eight
    np.testing.assert_allclose(pairs.values[: pairs.low], known[: pairs.low], atol=1e-8)
    np.testing.assert_allclose(pairs.values[pairs.low :], known[-high:], atol=1e-8)


def test_no_copy_of_a_wide_eigenspace_is_passed_over() -> None:
    shape = (12, 12, 12)  # eigenspaces of up to 60 dimensions, far wider than a block
    known = grid_eigenvalues(shape).flatten().sort().values.numpy()
    pairs = eigenpairs(graph_laplacian(periodic_grid(shape), 12**3), low=200)
    assert pairs.low == 171
    np.testing.assert_allclose(pairs.values, known[:171], atol=1e-8)


def test_iteration_and_dense_solver_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    laplacian = mesh_laplacian(*square(24))
    iterated = eigenpairs(laplacian, low=20, high=5)
    monkeypatch.setattr(solver, "DENSE", 10_000)
    dense = eigenpairs(laplacian, low=20, high=5)
    check(laplacian, iterated)
    np.testing.assert_allclose(iterated.values, dense.values, rtol=1e-8, atol=1e-6)
    assert iterated.rest == pytest.approx(dense.rest)


@pytest.mark.parametrize("side", [3, 7, 20])
def test_the_bound_of_the_largest_eigenvalue_is_one(side: int) -> None:
    for laplacian in (mesh_laplacian(*square(side)), knn_laplacian(torch.rand(side**2, 3)), ring(side**2)):
        largest = np.linalg.eigvalsh(laplacian.symmetric.toarray())[-1]
        assert largest <= highest(laplacian.symmetric) * (1 + 1e-12)
        assert highest(laplacian.symmetric) < 2.2 * largest


def test_eigenvalues_of_a_rectangle_converge_at_second_order() -> None:
    waves = [(math.pi * i / 2) ** 2 + (math.pi * j) ** 2 for i in range(9) for j in range(9)]
    known = np.sort(waves)[1:10]
    errors = []
    for side in (11, 21, 41):
        pairs = eigenpairs(mesh_laplacian(*square(side, shake=0.15, width=2.0)), low=10)
        found = pairs.values[1:10]
        errors.append(float(abs(found / known[: len(found)] - 1).max()))
    assert errors[-1] < 0.01
    assert errors[0] / errors[1] > 3
    assert errors[1] / errors[2] > 3


def test_low_frequencies_of_a_grid_are_those_of_its_fourier_spectrum() -> None:
    pairs = eigenpairs(ring(64))
    basis = LaplacianEigenbasis([pairs])
    np.testing.assert_allclose(basis.frequency[0, 1:4], [2 / 64, 4 / 64, 6 / 64], rtol=0.01)


@pytest.mark.parametrize("low", [None, 0, 1, 10, 40])
def test_parseval_for_any_number_of_modes(low: int | None) -> None:
    laplacian = mesh_laplacian(*square(8))
    basis = LaplacianEigenbasis([eigenpairs(laplacian, low)])
    field = torch.randn(64, 3, dtype=torch.float64)
    coefficients = basis.analyse(field)
    mass = torch.from_numpy(laplacian.mass)
    mean = (mass[:, None] * field.square()).sum(0) / mass.sum()
    if low is None:
        torch.testing.assert_close(coefficients.square().mean(-1)[0], mean, rtol=1e-6, atol=0)
    assert basis.multiplicity.sum().item() == pytest.approx(64, rel=1e-5)
    torch.testing.assert_close(basis.energies(field).sum(-1)[0], mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(InBands(basis, CENTRES).energies(field).sum(-1)[0], mean, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(9,), (8, 6), (5, 4, 3)])
def test_law_5_space_by_space_the_modes_hold_what_the_grids_waves_hold(shape: tuple[int, ...]) -> None:
    nodes = math.prod(shape)
    field = torch.randn(*shape, dtype=torch.float64)
    values = grid_eigenvalues(shape).flatten()
    waves = torch.fft.fftn(field).flatten().abs().square() / nodes**2
    basis = LaplacianEigenbasis([eigenpairs(graph_laplacian(periodic_grid(shape), nodes))])
    energies = basis.energies(field.reshape(-1, 1))[0, 0]
    for frequency, energy in zip(basis.frequency[0].double(), energies, strict=True):
        there = ((frequency * math.pi).square() - values).abs() < 1e-5
        torch.testing.assert_close(energy, waves[there].sum(), rtol=1e-5, atol=1e-12)


def smooth(pos: Tensor) -> Tensor:
    x, y = pos.T
    return torch.stack([torch.cos(3 * x) * y + x, torch.sin(5 * x + 2 * y)], 1)


def test_law_6_refining_a_mesh_does_not_change_the_energies_of_a_smooth_field() -> None:
    energies = []
    for side in (21, 41):
        pos, cells = square(side)
        laplacian = dataclasses.replace(mesh_laplacian(pos, cells), nyquist=20 * math.pi)
        basis = LaplacianEigenbasis([eigenpairs(laplacian, low=60)])
        energies.append(InBands(basis, CENTRES).energies(smooth(pos))[0])
    coarse, fine = energies
    assert ((coarse - fine).abs() < 0.02 * fine.sum(-1, keepdim=True)).all()
    large = fine > 0.01 * fine.sum(-1, keepdim=True)
    assert ((coarse / fine - 1).abs()[large] < 0.02).all()


def test_law_6_turning_an_eigenspace_changes_nothing_but_single_coefficients() -> None:
    pairs = eigenpairs(graph_laplacian(periodic_grid((6, 6)), 36))
    start, end = np.searchsorted(pairs.values, [0.9, 1.1])
    assert end - start == 4
    turned = pairs.vectors.copy()
    turned[:, start:end] = (
        turned[:, start:end] @ np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    )
    plain = LaplacianEigenbasis([pairs])
    other = LaplacianEigenbasis([dataclasses.replace(pairs, vectors=turned)])
    h = torch.randn(36, 2, dtype=torch.float64)
    assert (plain.analyse(h).abs() - other.analyse(h).abs()).abs().max() > 0.1
    torch.testing.assert_close(plain.energies(h), other.energies(h))
    torch.testing.assert_close(InBands(plain, CENTRES).energies(h), InBands(other, CENTRES).energies(h))


def test_a_batch_is_a_loop_and_the_order_of_nodes_does_not_matter() -> None:
    laplacians = [mesh_laplacian(*square(5)), ring(7), mesh_laplacian(*cube(3))]
    pairs = [eigenpairs(laplacian, low) for laplacian, low in zip(laplacians, (9, None, 4), strict=True)]
    fields = [torch.randn(laplacian.nodes, 2, dtype=torch.float64) for laplacian in laplacians]
    alone = [
        InBands(LaplacianEigenbasis([p]), CENTRES).energies(f)[0] for p, f in zip(pairs, fields, strict=True)
    ]
    batch = torch.arange(3).repeat_interleave(torch.tensor([25, 7, 27]))
    together = InBands(LaplacianEigenbasis(pairs, batch), CENTRES).energies(torch.cat(fields))
    torch.testing.assert_close(together, torch.stack(alone))
    # Samples shuffled among each other, each with its nodes in their order.
    places = batch[torch.randperm(59)]
    shuffled = torch.empty(59, dtype=torch.long)
    for sample in range(3):
        shuffled[places == sample] = (batch == sample).nonzero()[:, 0]
    found = InBands(LaplacianEigenbasis(pairs, batch[shuffled]), CENTRES).energies(
        torch.cat(fields)[shuffled]
    )
    torch.testing.assert_close(found, together)
    # Other names for the nodes of a mesh.
    pos, cells = square(5)
    names = torch.randperm(25)
    renamed = mesh_laplacian(pos[names.argsort()], names[cells])
    basis = LaplacianEigenbasis([eigenpairs(renamed, 9)])
    torch.testing.assert_close(InBands(basis, CENTRES).energies(fields[0][names.argsort()])[0], together[0])


def test_gradients() -> None:
    basis = LaplacianEigenbasis([eigenpairs(ring(6)), eigenpairs(mesh_laplacian(*square(3)), 4)])
    field = torch.randn(15, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: InBands(basis, CENTRES).energies(f), field)
    assert torch.autograd.gradcheck(basis.energies, field)


def test_copies_vmap_and_the_compiler() -> None:
    basis = LaplacianEigenbasis([eigenpairs(ring(6)), eigenpairs(mesh_laplacian(*square(3)), 4)])
    fields = torch.randn(3, 15, 2)
    one_by_one = torch.stack([InBands(basis, CENTRES).energies(field) for field in fields])
    torch.testing.assert_close(
        torch.func.vmap(lambda f: InBands(basis, CENTRES).energies(f))(fields), one_by_one
    )
    torch.testing.assert_close(InBands(copy.deepcopy(basis), CENTRES).energies(fields[0]), one_by_one[0])
    compiled = torch.compile(lambda f: InBands(basis, CENTRES).energies(f), backend="eager")
    torch.testing.assert_close(compiled(fields[0]), one_by_one[0])


def test_results_are_kept_on_disk_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laplacian = mesh_laplacian(*square(8))
    first = eigenpairs(laplacian, 9, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    with monkeypatch.context() as patched:
        patched.setattr(solver, "_solve", None)  # not called again
        again = eigenpairs(mesh_laplacian(*square(8)), 9, cache=tmp_path)
    assert (again.vectors == first.vectors).all()
    assert (again.values == first.values).all()
    assert (again.rest, again.low, again.nyquist) == (first.rest, first.low, first.nyquist)
    eigenpairs(laplacian, 8, cache=tmp_path)
    eigenpairs(mesh_laplacian(*square(8, shake=0.1)), 9, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:100])  # cut short: solved anew and written whole
    assert (eigenpairs(laplacian, 9, cache=tmp_path).values == first.values).all()
    assert (eigenpairs(laplacian, 9, cache=tmp_path).values == first.values).all()


ODD = {
    "one node": graph_laplacian(torch.zeros(2, 0).long(), 1),
    "no node": graph_laplacian(torch.zeros(2, 0).long(), 0),
    "isolated nodes": graph_laplacian(torch.tensor([[0, 1], [1, 2]]), 6),
    "only isolated nodes": graph_laplacian(torch.zeros(2, 0).long(), 700),
    "components": graph_laplacian(torch.cat([periodic_grid((30, 30)), periodic_grid((900,)) + 900], 1), 1800),
    "a star": graph_laplacian(torch.stack([torch.zeros(799).long(), torch.arange(1, 800)]), 800),
    "points in space": knn_laplacian(torch.rand(40, 3)),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("low", [0, 5, 20])
def test_graphs_of_odd_kinds(name: str, low: int) -> None:
    laplacian = ODD[name]
    pairs = eigenpairs(laplacian, low)
    check(laplacian, pairs)
    basis = LaplacianEigenbasis([pairs])
    field = torch.randn(laplacian.nodes, 2, dtype=torch.float64)
    share = torch.from_numpy(laplacian.mass / max(laplacian.mass.sum(), 1e-300))
    mean = (share[:, None] * field.square()).sum(0)
    torch.testing.assert_close(
        InBands(basis, CENTRES).energies(field).sum(-1)[0], mean, rtol=1e-5, atol=1e-12
    )


def test_every_component_has_its_constant() -> None:
    pairs = eigenpairs(ODD["components"], 12)
    assert (pairs.values < 1e-9).sum() == 2


def test_an_empty_batch() -> None:
    basis = LaplacianEigenbasis([])
    assert basis.analyse(torch.zeros(0, 3)).shape == (0, 3, 0)
    assert InBands(basis, CENTRES).energies(torch.zeros(0, 3)).shape == (0, 3, 5)


def test_mistakes_are_answered() -> None:
    pairs = eigenpairs(ring(5))
    mistakes = {
        "a field (5, C), got (4, 1)": lambda: LaplacianEigenbasis([pairs]).analyse(torch.zeros(4, 1)),
        "graphs of [5] nodes in the batch, got [3, 2]": lambda: LaplacianEigenbasis(
            [pairs], torch.tensor([0, 0, 0, 1, 1])
        ),
        "low >= 0 and high >= 0, got low=-1, high=0": lambda: eigenpairs(ring(5), -1),
        "at most 6000 nodes for all modes, got 6001 nodes": lambda: eigenpairs(ring(6001)),
    }
    for words, mistake in mistakes.items():
        with pytest.raises(ValueError, match=r"^expected .*, got .*; try .*$") as caught:
            mistake()
        assert words in str(caught.value)


def test_slivers_do_not_spoil_the_low_modes() -> None:
    pos = torch.from_numpy(np.random.default_rng(0).random((1500, 2)))
    laplacian = mesh_laplacian(pos, torch.from_numpy(Delaunay(pos.numpy()).simplices.T))
    assert highest(laplacian.symmetric) > 100 * np.median(laplacian.symmetric.diagonal())
    pairs = eigenpairs(laplacian, low=20)
    check(laplacian, pairs)
    known = np.linalg.eigvalsh(laplacian.symmetric.toarray())[: len(pairs.values)]
    np.testing.assert_allclose(pairs.values, known, rtol=1e-6, atol=1e-4)
