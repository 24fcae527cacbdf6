"""Evaluation mode ends with the block that asked for it, part by part, after an exception too."""

import pytest
from torch import nn

from neuralop_irno.modes import evaluating


@pytest.mark.parametrize("fails", [False, True])
def test_every_part_returns_to_its_own_mode(fails: bool) -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    before = [part.training for part in model.modules()]
    try:
        with evaluating(model):
            assert not any(part.training for part in model.modules())
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert [part.training for part in model.modules()] == before == [True, True, False]


def test_the_exception_passes() -> None:
    with pytest.raises(KeyError), evaluating(nn.Identity()):
        raise KeyError
