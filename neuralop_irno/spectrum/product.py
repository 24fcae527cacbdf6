"""The product of a sparse symmetric matrix with vectors, with its own derivatives."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


@lru_cache(maxsize=1)
def announce() -> None:
    """Trigger and suppress PyTorch's one-time warning that its sparse tensors are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.zeros(0).long(), torch.zeros(0), (1, 1))


class SymmetricProduct(Function):
    """A x for a symmetric A, whose gradient is the same product again.

    PyTorch would transpose the matrix at every backward pass, and its sparse tensors support neither vmap nor
    deepcopy. Here the matrix is stored as three dense tensors.
    """

    @staticmethod
    def forward(x: Tensor, starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
        announce()
        size = (len(starts) - 1, len(starts) - 1)
        matrix = torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)
        return matrix @ x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return product(grad, *ctx.saved_tensors), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        return product(tangent, *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, *matrix: Tensor) -> tuple[Tensor, int]:
        moved = x.movedim(in_dims[0], -1)
        return product(moved.flatten(1), *matrix).reshape(moved.shape), moved.dim() - 1


def product(x: Tensor, starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """A x for a symmetric A in compressed rows.

    Args:
        x: ``(N, C)``.
        starts: where each row starts, int32, ``(N + 1,)``.
        columns: int32, ``(entries,)``.
        values: the entries, in the dtype of x, ``(entries,)``.

    Example:
        >>> identity = (torch.tensor([0, 1, 2]).int(), torch.tensor([0, 1]).int(), torch.ones(2))
        >>> product(torch.tensor([[3.0], [4.0]]), *identity).flatten()
        tensor([3., 4.])
    """
    return SymmetricProduct.apply(x, starts, columns, values)
