"""All inner products of some fields at once, on every domain."""

import pytest
import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.sphere import SphereDomain
from neuralop_irno.domain.tuples import TupleDomain
from neuralop_irno.solver.anderson import fit

FIELDS: dict[str, tuple[int, ...]] = {
    "line": (3, 2, 7),
    "plane": (3, 2, 5, 4),
    "channels last": (3, 2, 5, 4),
    "weighted": (3, 2, 5, 4),
    "sphere": (3, 2, 6, 8),
    "graph": (9, 2),
    "measured graph": (9, 2),
    "tuple": (3, 1, 2 * 7 + 20),
}
OWNERS = torch.tensor([0, 0, 2, 1, 1, 1, 2, 2, 0])


def case(name: str, count: int = 4) -> tuple[Domain, list[Tensor]]:
    """A domain of three samples, and fields on it."""
    generator = torch.Generator().manual_seed(0)
    fields = list(torch.randn(count, *FIELDS[name], generator=generator, dtype=torch.float64))
    if name == "channels last":
        fields = [field.to(memory_format=torch.channels_last) for field in fields]
    if name == "weighted":
        return GridDomain.of(fields[0], measure=torch.arange(5.0)[:, None]), fields
    if name == "sphere":
        return SphereDomain(3, (6, 8)), fields
    if name == "graph":
        return GraphDomain(OWNERS, 3), fields
    if name == "measured graph":
        return GraphDomain(OWNERS, 3, measure=torch.arange(1.0, 10)), fields
    if name == "tuple":
        parts = [GridDomain.of(torch.zeros(3, 2, 7)), GridDomain.of(torch.zeros(3, 1, 5, 4))]
        return TupleDomain(parts, [2, 1]), fields
    return GridDomain.of(fields[0]), fields


@pytest.mark.parametrize("name", FIELDS)
def test_all_inner_products_at_once_are_those_of_pairs(name: str) -> None:
    domain, fields = case(name)
    pairs = torch.stack([torch.stack([domain.inner(a, b) for b in fields], -1) for a in fields], -2)
    torch.testing.assert_close(domain.gram(fields), pairs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", FIELDS)
def test_fitted_weights_leave_a_rest_that_is_orthogonal_to_the_columns_in_use(name: str) -> None:
    domain, (*columns, target) = case(name, 3)
    valid = torch.tensor([[True, True], [True, False], [False, False]])
    poisoned = [columns[0], torch.where(domain.spread(valid[:, 1], target), columns[1], torch.nan)]
    weights = fit(domain, poisoned, target, valid)
    assert bool((weights[~valid] == 0).all())
    spread = [domain.spread(weight, target) for weight in weights.unbind(1)]
    rest = target - sum(weight * column for weight, column in zip(spread, columns, strict=True))
    along = torch.stack([domain.inner(rest, column) for column in columns], 1)
    torch.testing.assert_close(torch.where(valid, along, 0), torch.zeros_like(along), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_column_that_adds_nothing_is_left_out(dtype: torch.dtype) -> None:
    domain, (a, b, *_) = case("plane")
    a, b = a.to(dtype), b.to(dtype)
    weights = fit(domain, [a, 2 * a, b], 3 * a - b, torch.ones(3, 3, dtype=torch.bool))
    torch.testing.assert_close(weights, weights.new_tensor([[3.0, 0.0, -1.0]]).expand(3, 3))


def test_the_weights_of_float32_fields_do_not_depend_on_their_units() -> None:
    domain, (*columns, target) = case("plane")
    for unit in (1e-30, 1e30):
        fields = [(unit * field).float() for field in (*columns, target)]
        weights = fit(domain, fields[:-1], fields[-1], torch.ones(3, 3, dtype=torch.bool))
        wanted = fit(domain, columns, target, torch.ones(3, 3, dtype=torch.bool))
        torch.testing.assert_close(weights, wanted.float(), rtol=1e-4, atol=1e-5)
