"""Law 7: an untrained refiner returns the base's answer; no steps *is* the base."""

import pytest
import torch
from conftest import SmallNet
from neuralop.models import FNO

from neuralop_irno import IterativeRefiner


def base(dim: int = 2) -> FNO:
    return FNO(n_modes=(4,) * dim, in_channels=2, out_channels=3, hidden_channels=4, n_layers=1)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("correction", ["unet", "public_unet", "fno", "tfno"])
def test_untrained_corrections_change_nothing(dim: int, correction: str) -> None:
    options = {} if "unet" in correction else {"n_modes": [3] * dim, "hidden_channels": 4}
    operator = base(dim)
    model = IterativeRefiner(operator, {"name": correction, **options}, steps=3, alpha=0.5).eval()
    x = torch.randn(2, 2, *(7, 6, 5)[:dim])
    assert torch.equal(model(x), operator(x))


def test_no_steps_is_the_base_whatever_the_correction() -> None:
    operator = base()
    model = IterativeRefiner(operator, steps=0).eval()
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.normal_()
    x = torch.randn(2, 2, 8, 8)
    assert torch.equal(model(x), operator(x))
    assert torch.equal(model.solve(x, steps=0).value, operator(x))
    assert model.solve(x, steps=0).steps.tolist() == [0, 0]


def test_no_steps_in_training_supervises_the_base() -> None:
    model = IterativeRefiner(lambda x: x, SmallNet(), steps=0).train()
    x = torch.randn(2, 1, 8, dtype=torch.float64)
    trajectory = model(x, y=x)
    assert len(trajectory.iterates) == 1
    assert torch.equal(trajectory.last, x)
