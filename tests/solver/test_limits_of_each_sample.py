"""A tolerance and a number of steps for each sample are what each sample alone would get."""

import pytest
import torch
from conftest import Contracting, identity

from neuralop_irno import IterativeRefiner

X = torch.randn(4, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
RTOL = torch.tensor([1e-2, 1e-8, 1e-4, 1e-8], dtype=torch.float64)
MOST = torch.tensor([50, 3, 50, 0])


@pytest.mark.parametrize("solver", ["picard", "anderson"])
def test_every_sample_has_limits_of_its_own(solver: str) -> None:
    model = IterativeRefiner(identity, Contracting(), alpha=0.7).eval()
    together = model.solve(X, solver=solver, rtol=RTOL, max_steps=MOST)
    for i in range(4):
        alone = model.solve(X[i : i + 1], solver=solver, rtol=RTOL[i].item(), max_steps=MOST[i].item())
        torch.testing.assert_close(together.value[i], alone.value[0], rtol=0, atol=1e-12)
        assert together.steps[i] == alone.steps[0]
        assert together.outcomes[i] == alone.outcomes[0]
    assert together.steps[1] == 3
    assert together.steps[3] == 0


def test_limits_that_are_none() -> None:
    model = IterativeRefiner(identity, Contracting()).eval()
    with pytest.raises(ValueError, match="expected rtol >= 0 and finite, got tensor"):
        model.solve(X, rtol=-RTOL)
    with pytest.raises(ValueError, match="expected max_steps >= 0, got tensor"):
        model.solve(X, rtol=0.1, max_steps=0.5 * MOST)
