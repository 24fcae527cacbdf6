"""The box of a call: given, from an entry of a sample, or that of training."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from neuralop_irno import IterativeRefiner, SpectralLoss
from neuralop_irno.domain.resolution import Resolution

UNET = {"name": "unet", "width": 4, "depth": 1}


def refiner(**options: object) -> IterativeRefiner:
    return IterativeRefiner(nn.Conv2d(1, 1, 3, padding=1), UNET, **options)


def lengths_of(model: IterativeRefiner, *args: Tensor, **kwargs: object) -> tuple[float, ...] | None:
    return model.problem(args, kwargs).domain.lengths


def test_a_call_tells_its_box_and_its_answer_does_not_depend_on_it() -> None:
    model, x = refiner().eval(), torch.randn(2, 1, 8, 4)
    assert lengths_of(model, x) is None
    assert lengths_of(model, x, lengths=(2.0, 1.0)) == (2.0, 1.0)
    assert torch.equal(model(x, lengths=(2.0, 1.0)), model(x))
    assert torch.equal(model.solve(x, lengths=(2.0, 1.0), measure=torch.rand(8, 1), steps=2).value, model(x))
    with pytest.raises(TypeError, match="try 'lengths'"):
        model(x, length=(2.0, 1.0))


@pytest.mark.parametrize("kind", [tuple, list, torch.tensor])
def test_a_sample_tells_its_box(kind: type) -> None:
    sample = {"x": torch.randn(1, 8, 4), "y": torch.randn(1, 8, 4), "lengths": kind([2.0, 1.0])}
    batch = default_collate([sample, sample])
    y = batch.pop("y")
    model = refiner()
    trajectory = model.train()(**batch, y=y)
    assert trajectory.domain.lengths == (2.0, 1.0)
    loss = SpectralLoss()
    assert loss(trajectory.last, y, lengths=batch["lengths"]) == loss(trajectory.last, y, lengths=(2.0, 1.0))
    other = default_collate([sample, {**sample, "lengths": kind([2.0, 3.0])}])
    with pytest.raises(ValueError, match="one box for all samples of a batch"):
        model(**other)


def test_a_base_that_takes_lengths_gets_them() -> None:
    seen = []

    def base(x: Tensor, lengths: object = None) -> Tensor:
        seen.append(lengths)
        return x

    model = IterativeRefiner(base, UNET, in_channels=1, out_channels=1)
    assert lengths_of(model, torch.zeros(1, 1, 8, 4), lengths=(2.0, 1.0)) == (2.0, 1.0)
    assert seen == [(2.0, 1.0)]


@pytest.mark.parametrize(
    ("known", "shape", "lengths"),
    [
        ({"extent": "fixed"}, (16, 8), (2.0, 1.0)),
        ({"extent": "fixed", "cells": [8, 4]}, (16, 8), (2.0, 1.0)),
        ({"extent": "grows", "cells": [8, 4]}, (16, 4), (4.0, 1.0)),
        ({"extent": "grows", "cells": [8, 4]}, (8, 4), (2.0, 1.0)),
        ({"extent": "grows", "cells": [[8, 4], [16, 8]]}, (8, 4), None),
        ({"cells": [8, 4]}, (8, 4), (2.0, 1.0)),
        ({"cells": [8, 4]}, (16, 8), None),
    ],
)
def test_by_default_the_box_is_that_of_training(
    known: dict[str, object], shape: tuple[int, int], lengths: tuple[float, float] | None
) -> None:
    model = refiner(resolution=Resolution(lengths=(2.0, 1.0), **known))
    x = torch.randn(1, 1, *shape)
    assert lengths_of(model, x) == lengths
    assert lengths_of(model, x, lengths=(5.0, 5.0)) == (5.0, 5.0)


def test_points_have_no_box() -> None:
    from torch_geometric.nn import GraphSAGE

    model = IterativeRefiner(GraphSAGE(1, 8, 2, 1), "meshgraph", in_channels=1, out_channels=1)
    with pytest.raises(TypeError, match="lengths"):
        model(torch.zeros(3, 1), torch.tensor([[0, 1], [1, 2]]), lengths=(1.0,))


def test_the_call_brought_up_keeps_its_box_and_its_measure() -> None:
    resolution = Resolution([8, 8], extent="fixed", lengths=(1.0, 1.0))
    model = refiner(resolution=resolution)
    x = torch.randn(1, 1, 4, 4)
    rows = torch.tensor([[1.0], [2.0], [2.0], [1.0]])
    domain = model.at_resolution(model.problem((x,), {"measure": rows})).domain
    assert (domain.shape, domain.lengths) == ((8, 8), (1.0, 1.0))
    assert domain.mean(torch.ones(1, 1, 8, 8)).item() == pytest.approx(1)
    assert model.eval()(x, measure=rows).shape == x.shape
