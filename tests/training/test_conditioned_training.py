"""Conditions in training, scores, diagnostics, rollouts and configs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data

import neuralop_irno as irno
from neuralop_irno import IterativeRefiner, Recipe, RefinementLoss, Trainer
from neuralop_irno.config import experiment
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.registry import DATASETS
from neuralop_irno.schema import config_schema
from neuralop_irno.streaming import stream
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.run import read_run, train_experiment

KINDS = {"tau": "scalar", "kappa": 2, "mask": "mask"}
UNET = {"name": "unet", "width": 4, "depth": 1}


class Conditioned(FieldDataset):
    """Decay at a random rate, in samples that also hold it, two further fields, and a mask."""

    def __init__(self, n: int = 4, outside: float = math.nan) -> None:
        draw = torch.Generator().manual_seed(n)
        self.tau, self.kappa = torch.rand(n, generator=draw), torch.rand(n, 2, 8, 8, generator=draw)
        self.mask = torch.rand(n, 8, 8, generator=draw) < 0.7
        x = torch.randn(n, 1, 8, 8, generator=draw)
        y = x * (-self.tau).exp()[:, None, None, None]
        super().__init__(*(torch.where(self.mask[:, None], field, outside) for field in (x, y)))
        self.kappa = torch.where(self.mask[:, None], self.kappa, outside)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        others = {name: getattr(self, name)[index] for name in KINDS}
        return {**super().__getitem__(index), **others}


class OnGraphs(Dataset[Any]):
    """The same with cells as nodes."""

    def __init__(self, outside: float = math.nan) -> None:
        self.data = Conditioned(outside=outside)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Data:
        known = self.data[index]
        fields = {name: known[name].flatten(1).T for name in ("x", "y", "kappa")}
        ring = torch.arange(64)
        edges = torch.stack([ring, ring.roll(1)])
        return Data(edge_index=edges, mask=known["mask"].flatten(), tau=known["tau"], **fields)


class OnPoints(Dataset[Any]):
    """The same with cells as points in a row, channels last."""

    def __init__(self, outside: float = math.nan) -> None:
        self.data = Conditioned(outside=outside)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        known = self.data[index]
        names = {"x": "fx", "y": "y", "kappa": "kappa"}
        fields = {name: known[old].flatten(1).T for old, name in names.items()}
        ticks = torch.arange(8) / 8
        pos = torch.cartesian_prod(ticks, ticks)
        return {**fields, "pos": pos, "mask": known["mask"].flatten(), "tau": known["tau"]}


class HalvedOnPoints(nn.Module):
    def forward(self, pos: Tensor, fx: Tensor) -> Tensor:
        return 0.5 * fx


class HalvedOnGraphs(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return 0.5 * x


def halved(x: Tensor) -> Tensor:
    return 0.5 * x


BASES: dict[str, Any] = {
    "grid": halved,
    "graphs": HalvedOnGraphs(),
    "points": irno.PointOperator(HalvedOnPoints(), fields="fx", pos="pos"),
}
DATA = {"grid": Conditioned, "graphs": OnGraphs, "points": OnPoints}


def refiner(where: str = "grid", **options: Any) -> IterativeRefiner:
    torch.manual_seed(0)
    mesh = {"name": "meshgraph", "width": 4, "steps": 1, "dim": 0}
    phi, base = {**UNET, "dim": 2} if where == "grid" else mesh, BASES[where]
    given = {"in_channels": 1, "out_channels": 1, "steps": 2, "condition": KINDS}
    return IterativeRefiner(base, phi, **{**given, **options})


RECIPES: dict[str, dict[str, Any]] = {
    "plain": {"cache_base": False},
    "cached": {"cache_base": True},
    "replayed": {"replay": 2.0},
    "shifted": {"shifts": True},
    "coarser too": {"resolutions": [1, 2]},
}


@pytest.mark.parametrize("recipe", [*RECIPES, "graphs", "points"])
def test_what_is_outside_of_a_mask_changes_no_weight(recipe: str) -> None:
    weights = []
    for outside in (math.nan, 10.0):
        where = "grid" if recipe in RECIPES else recipe
        data = DATA[where](outside=outside)
        model = refiner(where, resolution={"extent": "fixed"})
        options = {"epochs": 2, "batch_size": 2, "precision": "float32", **RECIPES.get(recipe, {})}
        history = Trainer(model, Recipe(**options), show=False).fit(data, data)
        assert all(math.isfinite(value) for value in (history[-1]["loss"], *history[-1]["valid"]))
        weights.append(flat(model))
        assert not torch.equal(weights[-1], flat(refiner(where)))
    assert torch.equal(*weights)


def flat(model: IterativeRefiner) -> Tensor:
    return torch.cat([weight.flatten() for weight in model.correction.parameters()])


def test_other_models_are_trained_and_scored_inside_too() -> None:
    scores = []
    for fill in (math.nan, 10.0):
        torch.manual_seed(0)
        model = nn.Conv2d(1, 1, 1)
        other = Conditioned(outside=fill)
        other.x = torch.where(other.mask[:, None], other.x, 0.0)
        Trainer(model, Recipe(epochs=1, precision="float32"), show=False).fit(other, other)
        scores.append(scores_per_step(model, other))
    assert scores[0].isfinite().all()
    assert torch.equal(*scores)


def test_a_loss_on_a_plain_field_sees_what_is_inside() -> None:
    sample = next(iter(DataLoader(Conditioned(), batch_size=4)))
    x, y, mask = sample["x"], sample["y"], sample["mask"]
    loss = RefinementLoss(spectral=0.1)
    whole = loss(x, y, mask=mask)
    assert whole.isfinite()
    filled = (torch.where(mask[:, None], field, 3.0) for field in (x, y))
    assert torch.equal(loss(*filled, mask=mask), whole)
    by_hand = sum(((h - t)[0][inside] ** 2).mean() for h, t, inside in zip(x, y, mask, strict=True))
    torch.testing.assert_close(RefinementLoss()(x, y, mask=mask), by_hand)


def test_solves_are_measured_inside() -> None:
    model, sample = refiner().eval(), next(iter(DataLoader(Conditioned(outside=0.0), batch_size=2)))
    nn.init.normal_(model.correction.last.bias)
    call = model.arguments(sample)
    wide = {**call, "x": torch.where(sample["mask"][:, None], call["x"], 1e4)}
    physics = {"residual_fn": lambda x, h: x - h, "residual_tol": 1e-2, "max_steps": 2}
    for options in ({"rtol": 1e-2, "max_steps": 5}, physics):
        one, other = (model.solve(**known, **options) for known in (call, wide))
        assert one.outcomes == other.outcomes
        assert all(map(torch.equal, one.residuals, other.residuals))


def test_diagnostics_and_calibration() -> None:
    model, loader = refiner(), DataLoader(Conditioned(8), batch_size=4)
    nn.init.normal_(model.correction.last.bias)
    report = irno.diagnose(model, loader, samples=2, iterations=2, steps=2, show=False)
    assert report.convergence.errors.isfinite().all()
    irno.calibrate(model, loader, coverage=0.5)
    assert model.solve(**model.arguments(next(iter(loader)))).error_estimate.isfinite().all()


def test_the_check_of_a_base_reads_what_is_inside() -> None:
    found = []
    for outside in (math.nan, 10.0):
        data = Conditioned(outside=outside)
        data.x = torch.where(data.mask[:, None], data.x, 0.0)
        base = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(base.weight)
        found.append(irno.check_base(base, DataLoader(data, batch_size=2)).score)
    assert found[0] == found[1] < 1


class Timed(nn.Module):
    def forward(self, x: Tensor, t: float = 0.0) -> Tensor:
        return x * (1 - 0.1 * t)


@pytest.mark.parametrize("names", [("tau",), ("t", "tau"), ("tau", "mask")])
def test_a_clock_hands_time_and_lead_to_phi(names: tuple[str, ...]) -> None:
    given = {"in_channels": 1, "out_channels": 1, "steps": 2, "alpha": 0.3}
    model = IterativeRefiner(Timed(), {**UNET, "dim": 2}, condition=names, **given).eval()
    for weight in model.correction.parameters():
        nn.init.normal_(weight, std=0.1)
    x = torch.randn(2, 1, 8, 8)
    mask = {"mask": torch.ones(2, 1, 8, 8)} if "mask" in names else {}
    clock = irno.Clock(start=1.0, step=0.25)
    frames = irno.rollout(model, x, 3, clock=clock, given=mask).frames
    for step in range(3):
        times = {"t": 1 + 0.25 * step, "tau": 0.25}
        x = model(x, t=times["t"], **{name: times[name] for name in names if name == "tau"}, **mask).detach()
        assert torch.equal(frames[:, step], x)


def test_training_through_rollouts() -> None:
    model = refiner(condition={"tau": "scalar", "nu": "scalar", "mask": "mask"})
    unrolled = irno.RolloutModel(model, irno.RolloutTraining(steps=2), clock=irno.Clock(step=0.5)).train()
    sample = next(iter(DataLoader(Conditioned(), batch_size=2)))
    y = torch.cat([sample["y"], sample["y"]], 1)
    x, given = sample["x"].nan_to_num(), {"nu": torch.ones(2), "mask": sample["mask"]}
    for _ in range(2):
        loss = RefinementLoss()(unrolled(x, y, **given), y, **given)
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@DATASETS.register("with_conditions")
def splits() -> dict[str, FieldDataset]:
    return {name: Conditioned(n, outside=0.0) for name, n in (("train", 4), ("valid", 2), ("test", 2))}


@pytest.mark.parametrize("kinds", [["tau"], {"tau": "scalar", "kappa": 2, "mask": "mask"}], ids=str)
def test_a_config_names_conditions(kinds: Any, tmp_path: Path) -> None:
    fno = {"model_arch": "fno", "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}
    model = {"base": fno, "correction": UNET, "condition": kinds}
    training = {"epochs": 1, "batch_size": 2, "precision": "float32"}
    content = {"data": {"name": "with_conditions"}, "model": model, "training": training}
    train_experiment(experiment(content), tmp_path / "run", show=False, say=lambda line: None)
    again, trained = read_run(tmp_path / "run")
    assert trained.config["condition"] == kinds
    assert scores_per_step(trained, again.splits()["valid"]).isfinite().all()
    with pytest.raises(ValueError, match=r"'tau' in condition as .* got 'scaler'.*\nin the config at model"):
        experiment({**content, "model": {**model, "condition": {"tau": "scaler"}}})


def test_the_schema_describes_the_option() -> None:
    described = config_schema()["$defs"]["model"]["properties"]["condition"]
    assert described["description"].startswith("names of arguments of the call that Phi is given too")
    assert {"type": "object"} in described["anyOf"][0]["anyOf"]


def test_streams_refuse_conditions() -> None:
    field = np.zeros((1, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="a model without conditions"):
        stream(refiner(), field, field.copy(), size=8, base_halo=0)
