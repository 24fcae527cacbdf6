"""What tuples of fields are read from, and how each field is laid out, carried and conditioned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from tuple_cases import CASES, LINE, UNET, Case, fields

from neuralop_irno import (
    IterativeRefiner,
    Recipe,
    RefinementLoss,
    Trainer,
)
from neuralop_irno.domain.resampling import AxisMap, between
from neuralop_irno.solver.gradient import gradient_rule


class Pair(NamedTuple):
    pressure: Tensor
    velocity: Tensor


def test_the_truth_and_the_start_are_read_from_any_container() -> None:
    case = CASES["plane"]
    model, call = case.refiner(scale=0.3), case.call()
    velocity, pressure = (torch.randn_like(field) for field in fields(case, model(**call)))
    given = (
        (velocity, pressure), [velocity, pressure], {"pressure": pressure, "velocity": velocity},
        Pair(pressure, velocity), {**model(**call), "pressure": pressure, "velocity": velocity},
    )  # fmt: skip
    model.gradient = gradient_rule("unrolled")  # without random depths
    losses = [RefinementLoss()(model.train()(**call, y=y), y) for y in given]
    assert all(torch.equal(loss, losses[0]) for loss in losses)
    model.eval()
    first = model(**call, start=given[2])
    for start in given:
        answer = model(**call, start=start)
        assert type(answer) is type(start)
        read = [answer.velocity, answer.pressure] if isinstance(start, Pair) else None
        ordered = list(answer) if isinstance(start, (tuple, list)) else fields(case, answer)
        assert all(map(torch.equal, read or ordered, fields(case, first)))


def test_an_index_is_that_of_the_answer_of_the_base_if_it_can_be() -> None:
    def base(x):
        return x[:, :1, ::2], 3, x

    sizes = {"in_channels": 2, "out_channels": (2, 1), "gradient": "unrolled"}
    model = IterativeRefiner(base, LINE, output=(2, 0), **sizes).train()
    x = torch.randn(2, 2, 8)
    y = x + 1, x[:, :1, ::2] - 1
    as_answer = y[1], 3, y[0]
    assert torch.equal(*(RefinementLoss()(model(x, y=each), each) for each in (y, as_answer)))
    swapped = IterativeRefiner(base, LINE, output=(-1, 0), **sizes).train()
    with pytest.raises(ValueError, match="the field -1 like that of the base's answer"):
        swapped(x, y=y)


def test_layouts_are_those_of_each_field() -> None:
    """Levels are folded into channels, as of Aurora's fields on levels beside those at the surface."""

    def aurora(x):
        return {"surface": x[:, :2], "levels": x[:, :3].unflatten(1, (1, 3)).expand(-1, 2, -1, -1, -1)}

    layout = ("B C H W", "B C H W -> B C T H W")
    with pytest.raises(ValueError, match="expected"):
        IterativeRefiner(aurora, UNET, output=("surface", "levels"), layout=layout[:1])
    model = IterativeRefiner(
        aurora, UNET, output=("surface", "levels"), layout=layout, in_channels=4, out_channels=(2, 6)
    ).eval()
    x = torch.randn(2, 4, 8, 6)
    assert torch.equal(model(x)["levels"], aurora(x)["levels"])
    for correction in model.correction.each:
        nn.init.normal_(correction.last.weight, std=0.1)
    assert model(x)["levels"].shape == (2, 2, 3, 8, 6)
    y = model(x)
    data = [{"x": x[row], "y": {name: field[row] for name, field in y.items()}} for row in range(2)]
    Trainer(model, Recipe(epochs=1, batch_size=2), show=False).fit(data, data)


@dataclass
class Batch:
    """As Aurora's."""

    surf_vars: dict[str, Tensor]
    atmos_vars: dict[str, Tensor]
    metadata: str = "of the batch"


def test_functions_find_fields_at_any_depth_and_the_refined_ones_are_put_there() -> None:
    def aurora(x):
        return Batch({"2t": x[:, None, 0], "msl": x[:, None, 1]}, {"t": x[:, None, 1:]})

    output = (lambda batch: batch.surf_vars["2t"], lambda batch: batch.atmos_vars["t"])
    layout = ("B C H W", "B C H W -> B T C H W")
    sizes = {"in_channels": 3, "out_channels": (1, 2)}
    model = IterativeRefiner(aurora, UNET, output=output, layout=layout, **sizes).eval()
    for correction in model.correction.each:
        nn.init.normal_(correction.last.weight)
    x = torch.randn(2, 3, 8, 6)
    answer, plain = model(x), aurora(x)
    assert type(answer) is Batch
    assert torch.equal(answer.surf_vars["msl"], plain.surf_vars["msl"])
    for one, other in ((answer.surf_vars["2t"], x[:, None, 0]), (answer.atmos_vars["t"], x[:, None, 1:])):
        assert one.shape == other.shape
        assert not torch.equal(one, other)


def test_several_inputs_are_carried_to_the_grid_of_each_field() -> None:
    def base(u, p):
        return u + p.mean(), p + u.mean()

    model = IterativeRefiner(base, LINE, output=(0, 1), in_channels=3, out_channels=(2, 1)).eval()
    u, p = torch.randn(2, 2, 8), torch.randn(2, 1, 4)
    assert all(map(torch.equal, model(u, p), base(u, p)))
    for channels in (2, 4):
        wrong = IterativeRefiner(base, LINE, output=(0, 1), in_channels=channels, out_channels=(2, 1)).eval()
        with pytest.raises(ValueError, match="of all other fields for the correction of field 0"):
            wrong(u, p)


def test_scalars_are_conditions_of_every_field() -> None:
    def base(x, tau):
        return x * tau[:, None, None], x[:, :1, ::2]

    x, tau = torch.randn(2, 2, 8), torch.tensor([0.5, 2.0])
    sizes = {"in_channels": 2, "out_channels": (2, 1), "output": (0, 1)}
    for name in ("unet", "fno"):
        correction = LINE if name == "unet" else {"name": "fno", "n_modes": [4], "hidden_channels": 4}
        model = IterativeRefiner(base, correction, condition=("tau",), **sizes).eval()
        assert all(map(torch.equal, model(x, tau), base(x, tau)))


class BandLimited(nn.Module):
    """The values of x, and those of its last channel on about half as many points; the waves fit on both."""

    def forward(self, x):
        half = {9: 5, 18: 10, 6: 4}[x.shape[-1]]
        return {"loss": None, "velocity": x[:, :2], "pressure": between(x[:, 2:], [half], WAVES)}


WAVES = [AxisMap("waves", "periodic")]


def test_on_other_grids_every_field_is_at_the_resolution_of_its_training() -> None:
    sizes = {"fields": [{"cells": [9]}, {"cells": [5]}]}
    options = {
        "correction": LINE,
        "output": ("velocity", "pressure"),
        "in_channels": 3,
        "out_channels": (2, 1),
    }
    model = Case(BandLimited, options, {}, ("", ""), LINE).refiner(
        scale=0.3, resolution={"extent": "fixed", **sizes}
    )
    x = between(torch.randn(2, 3, 5), [9], WAVES)
    fine = between(x, [18], WAVES)
    coarse, answer = model(x), model(fine)
    assert not torch.allclose(coarse["velocity"], x[:, :2], atol=0.1)
    torch.testing.assert_close(
        between(answer["velocity"], [9], WAVES), coarse["velocity"], atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        between(answer["pressure"], [5], WAVES), coarse["pressure"], atol=1e-4, rtol=1e-4
    )
    assert model(between(x, [6], WAVES))["pressure"].shape == (2, 1, 4)
    config = {**model.config, "base": BandLimited(), "resolution": sizes}
    with pytest.raises(ValueError, match="expected x on 9 points, as in training, got 18"):
        IterativeRefiner(**config)(fine)
