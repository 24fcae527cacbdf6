"""Band energies by polynomials: they converge to the eigenbasis's, and know what they cannot resolve."""

import copy
import itertools
import math

import pytest
import torch
from meshes import periodic_grid, square

from neuralop_irno.spectrum.chebyshev import ChebyshevBands, product
from neuralop_irno.spectrum.eigenbasis import LaplacianEigenbasis
from neuralop_irno.spectrum.eigenpairs import eigenpairs
from neuralop_irno.spectrum.laplacian import Laplacian, graph_laplacian, mesh_laplacian
from neuralop_irno.spectrum.spectrum import InBands

MESH = mesh_laplacian(*square(14))
GRID = graph_laplacian(periodic_grid((12, 12)), 144)
TORCHS_OWN = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # in forward-mode AD
EVEN = [0.0, 0.2, 0.4, 0.6, 0.8]
DYADIC = [0.0, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64]


@pytest.mark.parametrize("laplacian", [MESH, GRID], ids=["mesh", "grid"])
def test_energies_converge_to_the_eigenbasis(laplacian: Laplacian) -> None:
    field = torch.randn(laplacian.nodes, 3, dtype=torch.float64)
    exact = InBands(LaplacianEigenbasis([eigenpairs(laplacian)]), torch.tensor(EVEN)).energies(field)
    errors = []
    for order in (16, 32, 64, 128):
        found = ChebyshevBands([laplacian], EVEN, order).energies(field)
        torch.testing.assert_close(found.sum(-1), exact.sum(-1), rtol=1e-6, atol=0)  # Parseval, always
        assert (found >= 0).all()
        errors.append(((found - exact).abs().max() / exact.max()).item())
    assert errors[0] < 0.02
    assert errors[-1] < 1e-6
    assert all(finer < 0.1 * coarser for coarser, finer in itertools.pairwise(errors))


def test_what_the_order_cannot_resolve_is_refused_or_handed_to_the_eigenbasis() -> None:
    with pytest.raises(ValueError, match=r"^expected bands that order 32 resolves.*; try order=\d+.*below="):
        ChebyshevBands([GRID], DYADIC, order=32)
    field = torch.randn(144, 2, dtype=torch.float64)
    exact = InBands(LaplacianEigenbasis([eigenpairs(GRID)]), torch.tensor(DYADIC)).energies(field)
    low = eigenpairs(GRID, 40)
    found = ChebyshevBands([GRID], DYADIC, order=32, below=[low]).energies(field)
    assert ((found - exact).abs().max() / exact.max()).item() < 2e-3
    torch.testing.assert_close(found.sum(-1), exact.sum(-1), rtol=1e-6, atol=0)
    torch.testing.assert_close(found[..., :4], exact[..., :4], rtol=1e-5, atol=1e-12)


def test_the_lowest_frequency_is_the_one_of_the_formula() -> None:
    bands = ChebyshevBands([GRID], EVEN, order=24)
    share = (bands.resolved[0] * math.pi) ** 2 / 8  # of the spectrum, whose top is 8
    assert share == pytest.approx((math.pi / 24) ** 2 / 4, rel=0.01)
    ChebyshevBands([GRID], [0.0, bands.resolved[0] * 1.001, 0.5], order=24)
    with pytest.raises(ValueError, match="order 24 resolves"):
        ChebyshevBands([GRID], [0.0, bands.resolved[0] * 0.99, 0.5], order=24)


def test_the_order_that_is_proposed_is_enough() -> None:
    with pytest.raises(ValueError, match="order=") as caught:
        ChebyshevBands([GRID], DYADIC, order=32)
    order = int(str(caught.value).split("order=")[1].split(",")[0])
    ChebyshevBands([GRID], DYADIC, order)


@TORCHS_OWN
def test_gradients() -> None:
    laplacians = [GRID, mesh_laplacian(*square(3))]
    bands = ChebyshevBands(laplacians, EVEN, order=16, below=[eigenpairs(each, 5) for each in laplacians])
    field = torch.randn(144 + 9, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bands.energies, field)
    small = ChebyshevBands([laplacians[1]], [0.0, 0.5, 1.0], order=8)
    field = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(small.energies, field, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(small.energies, field)


def test_a_batch_is_a_loop_and_the_order_of_nodes_does_not_matter() -> None:
    batch = torch.arange(2).repeat_interleave(torch.tensor([196, 144]))
    field = torch.randn(340, 2, dtype=torch.float64)
    together = ChebyshevBands([MESH, GRID], EVEN, 32, batch=batch).energies(field)
    alone = [
        ChebyshevBands([each], EVEN, 32).energies(part)
        for each, part in zip((MESH, GRID), field.split([196, 144]), strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone))
    mixed = torch.stack([torch.arange(144), torch.arange(196, 340)], 1).flatten()  # interleaved
    mixed = torch.cat([mixed, torch.arange(144, 196)])
    found = ChebyshevBands([MESH, GRID], EVEN, 32, batch=batch[mixed]).energies(field[mixed])
    torch.testing.assert_close(found, together)
    names = torch.randperm(144)
    renamed = graph_laplacian(names[periodic_grid((12, 12))], 144)
    other = ChebyshevBands([renamed], EVEN, 32).energies(field[196:][names.argsort()])
    torch.testing.assert_close(other, alone[1])


@TORCHS_OWN
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo looks at it
def test_copies_vmap_and_the_compiler() -> None:
    bands = ChebyshevBands([GRID], EVEN, 16)
    fields = torch.randn(3, 144, 2)
    one_by_one = torch.stack([bands.energies(field) for field in fields])
    torch.testing.assert_close(copy.deepcopy(bands).energies(fields[0]), one_by_one[0])
    torch.testing.assert_close(torch.func.vmap(bands.energies)(fields), one_by_one)
    gradient = torch.func.vmap(torch.func.grad(lambda field: bands.energies(field)[0, 0, 1]))(fields)
    x = fields[0].requires_grad_()
    compiled = torch.compile(lambda field: 2 * bands.energies(field).sum(1), backend="eager")
    compiled(x)[0, 1].backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[:, 0], 2 * gradient[0, :, 0])


def test_low_precision_is_computed_in_float32() -> None:
    bands = ChebyshevBands([GRID], EVEN, 32)
    field = torch.randn(144, 2)
    double = bands.energies(field.double())
    torch.testing.assert_close(bands.energies(field).double(), double, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        inside = bands.energies(field.bfloat16())
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, bands.energies(field.bfloat16().float()))


@TORCHS_OWN
def test_the_product_and_its_derivatives() -> None:
    matrix = MESH.symmetric
    parts = [torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data)]
    x = torch.randn(196, 2, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(product(x, *parts), torch.from_numpy(matrix.toarray()) @ x)
    assert torch.autograd.gradcheck(lambda x: product(x[:, :1], *parts), x, check_forward_ad=True)


@pytest.mark.parametrize("nodes", [0, 1, 3, 40])
def test_graphs_without_edges(nodes: int) -> None:
    bands = ChebyshevBands([graph_laplacian(torch.zeros(2, 0).long(), nodes)], EVEN, 8)
    field = torch.randn(nodes, 2, dtype=torch.float64)
    energies = bands.energies(field)
    torch.testing.assert_close(energies[0, :, 0], field.square().sum(0) / max(nodes, 1))
    assert energies[..., 1:].abs().max() < 1e-9


def test_an_empty_batch_and_one_band() -> None:
    assert ChebyshevBands([], EVEN, 8).energies(torch.zeros(0, 3)).shape == (0, 3, 5)
    field = torch.randn(144, 2)
    whole = ChebyshevBands([GRID], [0.0], 8).energies(field)
    torch.testing.assert_close(whole[0, :, 0], field.square().mean(0))


def test_mistakes_are_answered() -> None:
    mistakes = {
        "order >= 1, got 0": lambda: ChebyshevBands([GRID], EVEN, 0),
        "centres of bands that ascend from 0": lambda: ChebyshevBands([GRID], [0.5, 0.2], 8),
        "a field (144, C), got (143, 1)": lambda: ChebyshevBands([GRID], EVEN).energies(torch.zeros(143, 1)),
        "modes of 1 graphs, got 0": lambda: ChebyshevBands([GRID], EVEN, below=[]),
    }
    for words, mistake in mistakes.items():
        with pytest.raises(ValueError, match=r"^expected .*, got .*; try .*$") as caught:
            mistake()
        assert words in str(caught.value)
