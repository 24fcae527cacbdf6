"""Shortcuts on a CPU apply to plain tensors only, not under transforms, tracers and fake tensors."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from neuralop_irno import FunctionCorrection, IterativeRefiner
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.eager import eager_on_cpu, only_evaluated

FIELD = torch.randn(2, 1, 8)
DOMAIN = GridDomain.of(FIELD)


def test_they_apply_to_plain_tensors_and_parameters() -> None:
    with torch.no_grad():
        assert only_evaluated(FIELD)
        assert only_evaluated(torch.nn.Parameter(FIELD))
    assert not only_evaluated(FIELD)


def test_they_do_not_apply_to_meta_fake_mapped_and_traced_tensors() -> None:
    seen: list[bool] = []

    def norm(field: Tensor) -> Tensor:
        seen.append(eager_on_cpu(field))
        return DOMAIN.norm(field)

    traced = make_fx(norm)(FIELD)
    torch.testing.assert_close(traced(1e30 * FIELD), DOMAIN.norm(1e30 * FIELD))
    torch.testing.assert_close(torch.vmap(norm)(FIELD[None])[0], DOMAIN.norm(FIELD))
    with FakeTensorMode():
        assert norm(torch.empty(2, 1, 8)).shape == (2,)
    assert norm(FIELD.to("meta")).shape == (2,)
    assert seen == [False] * 4


def test_inner_products_with_a_field_that_is_not_mapped() -> None:
    mapped = torch.vmap(lambda field: DOMAIN.gram([FIELD, field]))(torch.stack([FIELD, 2 * FIELD]))
    torch.testing.assert_close(mapped[1], DOMAIN.gram([FIELD, 2 * FIELD]))


@pytest.mark.parametrize("shape", [(3, 1024, 1024), (1, 2**21)])
def test_norms_of_many_values_are_those_of_double_precision(shape: tuple[int, ...]) -> None:
    field = torch.full((1, *shape), 0.7)
    torch.testing.assert_close(GridDomain.of(field).norm(field), torch.tensor([0.7]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("solver", ["picard", "anderson", "broyden", "aitken", "best_so_far"])
@pytest.mark.parametrize("slope", [3.0, 0.0])
def test_the_best_iterate_is_not_the_memory_of_the_start(solver: str, slope: float) -> None:
    """The start has the smallest residual of a solve that grows, and of one whose update is zero."""
    model = IterativeRefiner(torch.zeros_like, FunctionCorrection(lambda x, h: slope * h), solver=solver)
    start = torch.ones(1, 1, 5)
    model.eval().solve(torch.ones(1, 1, 5), start=start, rtol=1e-3, max_steps=3).best.zero_()
    assert torch.equal(start, torch.ones(1, 1, 5))
