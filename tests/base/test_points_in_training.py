"""Networks on points in training, besides those of `test_operators_of_today`; padding does not count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from point_networks import (
    FAMILIES,
    MESHGRAPH,
    RIGNO,
    SIZES,
    D,
    Masked,
    N,
    data,
    refiner,
)

from neuralop_irno import IterativeRefiner, PointOperator, Recipe, Trainer
from neuralop_irno._neuralop import build_model
from neuralop_irno.metrics import vrmse
from neuralop_irno.model_config import base_part, built_base, channels_of
from neuralop_irno.training.evaluation import scores_of_solutions, scores_per_step


@pytest.mark.parametrize("family", ["GeoTransolver", "with a mask"])
def test_each_family_is_trained_scored_saved_and_read_back(family: str, tmp_path: Path) -> None:
    kind, names, _ = FAMILIES[family]
    net, samples = kind(3 + D), data(family)
    model = IterativeRefiner(PointOperator(net, **names), RIGNO, steps=2, **SIZES)
    frozen = {name: weight.clone() for name, weight in net.state_dict().items()}
    recipe = Recipe(epochs=1, batch_size=2, precision="float32")
    history = Trainer(model, recipe, show=False).fit(samples, samples)
    assert history[-1]["update"] == 2
    assert all(torch.equal(weight, frozen[name]) for name, weight in net.state_dict().items())
    assert model.correction.state_dict()
    path = model.save(tmp_path / "model.safetensors")
    json.dumps(model.config)
    with pytest.raises(ValueError, match=rf"with a {type(net).__name__} that was given as an object"):
        IterativeRefiner.from_checkpoint(path)
    again = IterativeRefiner.from_checkpoint(path, base=PointOperator(net, **names))
    assert torch.equal(scores_per_step(again, samples), scores_per_step(model, samples))
    assert scores_per_step(model, samples).mean(1).tolist() == pytest.approx(history[-1]["valid"])


def test_scores_are_those_of_the_points_that_are_not_padding() -> None:
    model, samples = refiner("with a mask").float(), data("with a mask")
    sample = {name: part[None] for name, part in samples[1].items()}
    y, inside = sample.pop("y"), sample["mask"][0]
    short = {name: part[:, inside] for name, part in sample.items() if name != "mask"}
    by_hand = vrmse(model(**short)[0].T[None], y[0, inside].T[None]).mean()
    torch.testing.assert_close(scores_per_step(model, samples)[-1, 1], by_hand.detach())
    solved = scores_of_solutions(model, samples)
    torch.testing.assert_close(solved.scores[1], by_hand.detach())


def test_a_base_alone_is_trained_and_scored_by_points_too() -> None:
    net, samples = Masked(3 + D), data("with a mask")
    base = PointOperator(net, **FAMILIES["with a mask"][1], frozen=False)
    before = net.own.weight.clone()
    Trainer(base, Recipe(epochs=1, batch_size=2, precision="float32"), show=False).fit(samples, samples)
    assert not torch.equal(net.own.weight, before)
    trainer = Trainer(IterativeRefiner(base, MESHGRAPH, **SIZES), Recipe(resolutions=[1, 2]), show=False)
    with pytest.raises(ValueError, match=r"one grid for resolutions, got sets of points; try resolutions="):
        trainer.fit(samples)


def test_a_config_counts_the_channels_of_the_fields_and_loads_weights_into_the_network(
    tmp_path: Path,
) -> None:
    sample = {"x": torch.rand(N, D), "fx": torch.randn(N, 3), "y": torch.randn(N, 2)}
    assert channels_of(sample, {"base": {"model_arch": "points", "fields": ["fx", "x"]}}) == (3 + D, 2)
    net = {"model_arch": "gnn_stack", "width": 4, "layers": 1}
    trained = build_model(net, 3, 2)
    torch.save(trained.state_dict(), tmp_path / "net.pt")
    config = {"model_arch": "graphs", "net": net, "weights": str(tmp_path / "net.pt")}
    base = built_base(config, base_part(config), (3, 2), trusted=False, given=None)
    assert torch.equal(base.module.encoder.weight, trained.encoder.weight)
