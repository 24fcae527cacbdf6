"""Linear equations with an assembled sparse matrix, on meshes and grids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.equations.equation import Functions, LinearEquation, check_stated
from neuralop_irno.errors import expected


class SparseMatrix:
    """A square sparse matrix of real numbers, by its entries; those at the same place are added.

    Args:
        rows: of the entries, ``(entries,)``.
        columns: of the entries.
        values: of the entries, real.
        size: rows of the matrix, N.

    Example:
        >>> matrix = SparseMatrix.of(sp.eye_array(2) * 3.0)
        >>> matrix @ torch.ones(2, 1), matrix.diagonal
        (tensor([[3.],
                [3.]]), tensor([3., 3.], dtype=torch.float64))
    """

    def __init__(self, rows: Tensor, columns: Tensor, values: Tensor, size: int) -> None:
        self.rows, self.columns, self.values, self.size = rows, columns, values, size

    @classmethod
    def of(cls, matrix: Any) -> SparseMatrix:
        """A matrix of scipy.sparse, numpy or torch (dense, COO, CSR), in double precision."""
        if isinstance(matrix, Tensor):
            entries = matrix.detach().to_sparse_coo().coalesce()
            (rows, columns), values, shape = entries.indices(), entries.values(), tuple(matrix.shape)
        elif sp.issparse(matrix) or isinstance(matrix, np.ndarray):
            coo = sp.coo_array(matrix)
            shape = coo.shape
            rows, columns = (torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in coo.coords)
            values = torch.from_numpy(np.array(coo.data))
        else:
            wanted = "a matrix of scipy.sparse, numpy or torch"
            raise TypeError(expected(wanted, type(matrix).__name__, "scipy.sparse.csr_array(A)"))
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(expected("a square matrix", tuple(shape), "an equation for each value of h"))
        if values.is_complex():
            raise ValueError(
                expected("a matrix of real numbers", str(values.dtype), "real parts in channels")
            )
        return cls(rows, columns, values.double(), shape[0])

    def __matmul__(self, v: Tensor) -> Tensor:
        """The product with columns, ``(N, n)``, in their precision."""
        return torch.zeros_like(v).index_add(0, self.rows, self.values.to(v)[:, None] * v[self.columns])

    def to(self, device: torch.device) -> SparseMatrix:
        """The matrix on a device."""
        rows, columns, values = (part.to(device) for part in (self.rows, self.columns, self.values))
        return SparseMatrix(rows, columns, values, self.size)

    @property
    def diagonal(self) -> Tensor:
        """The diagonal, ``(N,)``."""
        own = self.rows == self.columns
        return self.values.new_zeros(self.size).index_add(0, self.rows[own], self.values[own])


class MatrixEquation(LinearEquation):
    r"""The equation A h = b with an assembled sparse matrix; see `LinearEquation.of_matrix`."""

    def __init__(
        self,
        matrix: Any,
        b: Any = None,
        *,
        fixed: Any = None,
        values: Any = None,
        symmetric: bool | None = None,
        definite: bool | None = None,
    ) -> None:
        if values is not None and fixed is None:
            raise ValueError(
                expected("fixed beside values", "values alone", "fixed=the numbers of the given values")
            )
        check_stated(symmetric=symmetric, definite=definite)
        self.matrix, self.b, self.fixed, self.values = matrix, b, fixed, values
        self.symmetric, self.definite = symmetric, definite
        self._assembled = None if callable(matrix) else SparseMatrix.of(matrix)

    def functions(self, x: Tensor, domain: Domain) -> Functions:
        like = x[:, :1]
        if self._assembled is None:
            # A solve selects no samples after its last one.
            assembled = self.matrix(x, domain) if domain.samples else sp.csr_array((0, 0))
            matrix, whole = SparseMatrix.of(assembled), True
            places = _numbers_in_batch(domain, like)
        else:
            matrix, whole = self._assembled, False
            places = domain.places(like)
        matrix = matrix.to(x.device)
        check_size(matrix, domain, like, whole)
        sample = domain.spread(torch.arange(domain.samples, device=x.device), like).expand_as(like)
        column = torch.zeros_like(sample) if whole else sample
        count = 1 if whole else domain.samples

        def apply(v: Tensor) -> Tensor:
            if v.shape != like.shape:
                raise ValueError(
                    expected(f"h with one channel, {tuple(like.shape)}", tuple(v.shape), "one field h")
                )
            columns = v.new_zeros(matrix.size, count).index_put((places, column), v)
            return (matrix @ columns)[places, column]

        def laid_out(given: Any) -> Tensor:
            """A function of x, or numbers in the order of the rows of A."""
            if callable(given):
                found: Tensor = given(x)
                return found
            numbers = torch.as_tensor(given, device=x.device)
            if numbers.numel() != matrix.size:
                wanted = f"{matrix.size} numbers, one for each row of A"
                raise ValueError(expected(wanted, tuple(numbers.shape), "a function of x"))
            return numbers.reshape(-1)[places]

        b = like if self.b is None else laid_out(self.b)
        diagonal = matrix.diagonal[places]
        functions = Functions(lambda h: b.to(h) - apply(h), apply, diagonal)
        if self.fixed is None:
            return functions
        fixed = laid_out(self.fixed if callable(self.fixed) else as_mask(self.fixed, matrix.size)).bool()
        given = x.new_zeros(()) if self.values is None else laid_out(self.values)
        return replace(
            functions,
            project=lambda v: torch.where(fixed, 0, v),
            lift=lambda h: torch.where(fixed, given.to(h), h),
        )


def check_size(matrix: SparseMatrix, domain: Domain, like: Tensor, whole: bool) -> None:
    """Raise ValueError unless the matrix is one of the values of each sample, or of all values."""
    if whole:
        if matrix.size != like.numel():
            wanted = f"a matrix of all {like.numel()} values of the batch"
            raise ValueError(
                expected(wanted, f"{matrix.size} rows", "scipy.sparse.block_diag of its samples")
            )
        return
    samples = domain.spread(torch.arange(domain.samples, device=like.device), like).expand_as(like)
    sizes = samples.flatten().bincount(minlength=domain.samples).tolist()
    if any(size != matrix.size for size in sizes):
        wanted = f"samples of {matrix.size} values, the rows of A"
        got = f"samples of {', '.join(map(str, sorted(set(sizes))))}"
        hint = "LinearEquation.of_matrix(lambda x, domain: ...), the matrix of the whole batch"
        raise ValueError(expected(wanted, got, hint))


def as_mask(fixed: Any, size: int) -> Tensor:
    """A mask of all rows, from a mask or from the numbers of rows."""
    given = torch.as_tensor(np.asarray(fixed) if not isinstance(fixed, Tensor) else fixed)
    if given.dtype is torch.bool:
        return given
    if given.is_floating_point() or (given.numel() and not 0 <= int(given.min()) <= int(given.max()) < size):
        got = f"{given.dtype}" if given.is_floating_point() else f"{int(given.min())} to {int(given.max())}"
        raise ValueError(
            expected(f"fixed as a mask, or as numbers of rows below {size}", got, "basis.get_dofs()")
        )
    return torch.zeros(size, dtype=torch.bool).index_fill(0, given.reshape(-1).long(), True)


def _numbers_in_batch(domain: Domain, like: Tensor) -> Tensor:
    """The number of each value in the batch, laid out like the field."""
    return torch.arange(like.numel(), device=like.device).reshape(like.shape)
