"""Norms are those of the operators, written out as matrices: never below them, and little above."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno.lipschitz.graph import adjacency_norm
from neuralop_irno.lipschitz.norms import kernel_norm, matrix_norm, operator_norm_of


def written_out(layer: Any, shape: tuple[int, ...]) -> Tensor:
    """The matrix of a layer on fields of a shape, column by column."""
    size = layer.in_channels * torch.Size(shape).numel()
    units = torch.eye(size, dtype=torch.float64).reshape(size, layer.in_channels, *shape)
    with torch.no_grad():
        columns = layer(units) - layer(0 * units[:1])
    return columns.reshape(size, -1).T


def largest(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2))


@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (70, 3), (40, 40)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_matrix_is_overestimated_by_less_than_a_hundredth(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    matrix = torch.randn(shape, dtype=dtype)
    assert 1 - 1e-12 <= matrix_norm(matrix).item() / largest(matrix) < 1.01


def test_the_worst_case_is_a_matrix_that_stretches_all_directions_alike() -> None:
    assert 1 <= matrix_norm(torch.eye(512, dtype=torch.float64)).item() < 1.007


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_scale_is_nothing_to_it(scale: float) -> None:
    matrix = torch.randn(20, 20)
    assert matrix_norm(scale * matrix).item() == pytest.approx(scale * matrix_norm(matrix).item(), rel=1e-5)


def test_zero_has_the_norm_zero_and_no_slope() -> None:
    zero = torch.zeros(3, 4, requires_grad=True)
    norm = matrix_norm(zero)
    assert norm.item() < 1e-30
    assert torch.autograd.grad(norm, zero)[0].abs().max() == 0


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 3), (2, 2, 3, 2)])
def test_the_gradient_is_what_finite_differences_say(shape: tuple[int, ...]) -> None:
    assert torch.autograd.gradcheck(kernel_norm, torch.randn(shape, dtype=torch.float64, requires_grad=True))


EXACT = {  # options, and the grids on which the largest wave is nearly met
    "periodic line": (nn.Conv1d, {"kernel_size": 5, "padding": 2, "padding_mode": "circular"}, (64,)),
    "periodic, even kernel": (
        nn.Conv1d, {"kernel_size": 4, "padding": "same", "padding_mode": "circular"}, (64,),
    ),
    "periodic, dilated": (
        nn.Conv1d, {"kernel_size": 3, "padding": 2, "dilation": 2, "padding_mode": "circular"}, (64,),
    ),
    "periodic plane": (nn.Conv2d, {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, (12, 10)),
    "zeros": (nn.Conv1d, {"kernel_size": 3, "padding": 1}, (64,)),
    "no padding, groups": (nn.Conv1d, {"kernel_size": 3, "groups": 2}, (64,)),
    "a point": (nn.Conv3d, {"kernel_size": 1}, (2, 2, 2)),
}  # fmt: skip
ABOVE = {
    "replicated ends": (nn.Conv1d, {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"}, (2,)),
    "reflected ends": (nn.Conv1d, {"kernel_size": 5, "padding": 2, "padding_mode": "reflect"}, (3,)),
    "a periodic axis made longer": (
        nn.Conv1d, {"kernel_size": 3, "padding": 3, "padding_mode": "circular"}, (4,),
    ),
    "same, replicated": (nn.Conv1d, {"kernel_size": 4, "padding": "same", "padding_mode": "replicate"}, (1,)),
    "every second cell": (nn.Conv2d, {"kernel_size": 3, "stride": 2, "padding": 1}, (9, 8)),
    "transposed": (nn.ConvTranspose2d, {"kernel_size": 4, "stride": 2, "padding": 1}, (5, 4)),
    "transposed, groups": (nn.ConvTranspose1d, {"kernel_size": 3, "groups": 2}, (8,)),
    "a grid smaller than the kernel": (
        nn.Conv1d, {"kernel_size": 5, "padding": 2, "padding_mode": "circular"}, (2,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", [*EXACT, *ABOVE])
def test_a_convolution_is_the_operator_and_not_the_kernel(case: str) -> None:
    kind, options, shape = {**EXACT, **ABOVE}[case]
    layer = kind(4, 6, **options).double()
    norm = operator_norm_of(layer)
    assert norm is not None
    ratio = norm.of(layer).item() / largest(written_out(layer, shape))
    assert ratio >= 1 - 1e-12
    if case in EXACT:
        assert ratio < 1.08


def test_no_grid_escapes_the_bound() -> None:
    layer = nn.Conv1d(2, 2, 4, padding="same", padding_mode="circular", bias=False).double()
    norm = operator_norm_of(layer)
    assert norm is not None
    bound = norm.of(layer).item()
    each = [largest(written_out(layer, (n,))) for n in range(4, 40)]
    assert max(each) <= bound < 1.03 * max(each)


def random_graph(nodes: int, edges: int, seed: int = 0) -> Tensor:
    return torch.randint(nodes, (2, edges), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("edges", [0, 12, 60, 400])
def test_an_adjacency_matrix_is_never_underestimated(seed: int, edges: int) -> None:
    source, target = random_graph(30, edges, seed)
    weights = torch.rand(edges, dtype=torch.float64)
    matrix = torch.zeros(30, 30, dtype=torch.float64).index_put((target, source), weights, accumulate=True)
    true, bound = largest(matrix), adjacency_norm(source, target, weights, 30)
    assert true - 1e-12 <= bound <= 1.05 * true + 1e-12
