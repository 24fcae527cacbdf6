"""Runs on data in any units: what is measured, which base is scaled, and what does not depend on units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
from test_measured_units import CLOSE, PHI, base, moved, pairs, ring
from torch import Tensor, nn
from torch.utils.data import DataLoader

from irno_cli.main import main
from neuralop_irno import (
    IterativeRefiner,
    PointOperator,
    RefinementLoss,
    calibrate,
    diagnose,
    measured_units,
    relative_l2,
    stream,
)
from neuralop_irno.config import Experiment, experiment
from neuralop_irno.data.fields import FieldDataset, Splits
from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.data.scaling import to_normalise
from neuralop_irno.data.splits import load_splits
from neuralop_irno.recipe import Recipe
from neuralop_irno.registry import DATASETS
from neuralop_irno.rollouts import rollout
from neuralop_irno.rollouts.curriculum import RolloutTraining
from neuralop_irno.rollouts.training import RolloutModel
from neuralop_irno.study.contenders import Setting, contender
from neuralop_irno.study.plan import Variant
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.run import read_run, train_experiment
from neuralop_irno.training.trainer import Trainer

BASE = Variant("base")


@pytest.mark.parametrize("of_base", [False, True], ids=["phi", "all"])
@pytest.mark.parametrize(
    "recipe", [{}, {"replay": 2}, {"cache_base": True}], ids=["plain", "replay", "cached"]
)
def test_training_does_not_depend_on_the_units(recipe: dict[str, Any], of_base: bool) -> None:
    def trained(data: FieldDataset, own: nn.Module) -> IterativeRefiner:
        units = measured_units(own, data, of_base)
        torch.manual_seed(1)
        model = IterativeRefiner(own, PHI, units=units, steps=2, in_channels=2, out_channels=1).double()
        options = {"epochs": 2, "batch_size": 3, "precision": "float32", **recipe}
        Trainer(model, Recipe(**options), RefinementLoss(spectral=1.0), show=False).fit(data, data)
        return model.eval()

    net = base()
    # A base of physical fields in other units is another function.
    other = net if of_base else InOtherUnits(net)
    one, two = trained(pairs(), net), trained(moved(pairs()), other)
    for name, weight in one.correction.state_dict().items():
        torch.testing.assert_close(two.correction.state_dict()[name], weight, **CLOSE)
    answers = one(pairs().x), two(moved(pairs()).x)
    torch.testing.assert_close((answers[1] - 101325) / 250, answers[0], rtol=1e-6, atol=1e-6)


class InOtherUnits(nn.Module):
    """A base, for the units of `moved`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x + 300) / torch.tensor([[20.0], [7.0]]).double()) * 250 + 101325


@DATASETS.register("normalised_fields")
def normalised_fields(normalise: Any = True, graphs: bool = False) -> Splits:
    """Fields, or graphs, far from zero."""

    def far(samples: int, seed: int) -> Any:
        if graphs:
            return GraphDataset([ring(6 + n, seed + n) for n in range(samples)])
        data = moved(pairs(samples, seed))
        return FieldDataset(data.x.float(), data.y.float())

    return to_normalise(
        {split: far(n, n) for split, n in (("train", 8), ("valid", 3), ("test", 2))}, normalise
    )


FIELDS = {"name": "normalised_fields"}
FNO = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1}
GNN = {"model_arch": "gnn_stack", "width": 4, "layers": 1}
ONCE = {"epochs": 1, "batch_size": 4, "precision": "float32"}


def run(data: Any = FIELDS, **sections: Any) -> Experiment:
    model = {"base": FNO, "correction": PHI, "steps": 2, **sections.pop("model", {})}
    return experiment({"data": data, "model": model, "training": ONCE, **sections})


def fitted(content: Experiment, folder: Path, **options: Any) -> IterativeRefiner:
    train_experiment(content, folder, show=False, say=lambda line: None, **options)
    return read_run(folder, base=options.get("base"))[1]


@pytest.mark.parametrize("graphs", [False, True], ids=["grids", "graphs"])
def test_a_base_of_the_run_is_scaled_and_scored_in_the_units_of_the_data(
    graphs: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"base": GNN, "correction": {"name": "meshgraph", "width": 4}} if graphs else {}
    content = run({**FIELDS, "graphs": graphs}, model=parts, base_training=ONCE)
    model = fitted(content, tmp_path / "run")
    assert model.units is not None
    assert model.units.base
    assert model.base.units == model.units
    valid = content.splits()["valid"]
    scores, alone = scores_per_step(model, valid), scores_per_step(model.base, valid)
    torch.testing.assert_close(scores[0], alone[0], rtol=1e-4, atol=1e-4)
    assert scores_per_step(model, valid, metric=relative_l2).max() < 0.1  # 101325 away from zero
    folder = model.save_pretrained(tmp_path / "alone")
    assert torch.equal(scores_per_step(IterativeRefiner.from_pretrained(folder), valid), scores)
    assert main(["list", str(folder)]) == 0
    assert f"units: {model.units}" in capsys.readouterr().out
    assert '"std"' in (folder / "README.md").read_text()
    assert f"units {model.units}" in repr(model)


def test_a_base_that_comes_trained_is_scaled_if_the_config_says_so(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = load_base(tmp_path)
    trained = {**FNO, "weights": str(tmp_path / "base.pt")}
    for wanted, of_base in ((True, False), ("all", True)):
        content = run({**FIELDS, "normalise": wanted}, model={"base": trained})
        model = fitted(content, tmp_path / str(wanted))
        assert model.units is not None
        assert model.units.base is of_base
        x = content.splits()["test"][0]["x"][None]
        with torch.no_grad():
            assert torch.equal(model.base(x), net(x)) is not of_base
    off = fitted(run({**FIELDS, "normalise": False}), tmp_path / "off")
    assert off.units is None
    assert "units" not in off.config


def load_base(folder: Path) -> nn.Module:
    """The base of a config, with weights in a file."""
    net = run().build_base(load_splits(FIELDS))
    torch.save(net.state_dict(), folder / "base.pt")
    return net.eval()


def test_which_bases_learn_in_the_run() -> None:
    assert run(base_training=ONCE).trains_base
    assert run(model={"freeze_base": False}).trains_base
    assert not run().trains_base
    assert not run(model={"base": {**FNO, "weights": "base.pt"}}, base_training=ONCE).trains_base


def test_units_of_the_config_have_precedence(tmp_path: Path) -> None:
    units = {"x": {"mean": [1.0, 2.0], "std": [3.0, 4.0]}, "y": {"mean": [5.0], "std": [6.0]}}
    assert fitted(run(model={"units": units}), tmp_path / "run").config["units"] == units


def test_classes_are_not_normalised(tmp_path: Path) -> None:
    content = run(loss={"spatial": 0.0, "cross_entropy": 1.0})
    with pytest.raises(ValueError, match=r"^expected fields to normalise, got classes(.|\n)*data.normalise"):
        train_experiment(content, tmp_path / "run", show=False, say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_other_words_are_refused_before_the_training(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        np.savez(tmp_path / f"{name}.npz", x=np.ones((2, 1, 8)), y=np.ones((2, 1, 8)))
    files = {"name": "files", "train": str(tmp_path / "train.npz"), "valid": str(tmp_path / "valid.npz")}
    assert all(data.normalise is True for data in load_splits(files).values())
    with pytest.raises((TypeError, ValueError), match="normalise"):
        load_splits({**files, "normalise": "base"})


def own_files(kind: str, place: Path) -> dict[str, Any]:
    """A series of pressures in files, cut into windows of two frames and the one that follows."""
    draw, window = np.random.default_rng(0), {"x": "p", "inputs": 2}
    if kind == "files":
        np.savez(place / "p.npz", p=101325 + 300 * draw.standard_normal((4, 6, 1, 8)))
        return {"name": kind, "train": str(place / "p.npz"), "split": [2, 1, 1], "time": 1, **window}
    points = [[x, y, 0.0] for y in range(3) for x in range(3)]
    corners = [(n, n + 1, n + 4) for n in (0, 1, 3, 4)] + [(n, n + 4, n + 3) for n in (0, 1, 3, 4)]
    for frame in range(12):
        fields = {"p": 101325 + 300 * draw.standard_normal(9)}
        meshio.Mesh(points, [("triangle", corners)], fields).write(place / f"run_{frame:03}.vtu")
    return {"name": kind, "train": str(place), "split": [6, 3, 3], **window}


@pytest.mark.parametrize("kind", ["files", "mesh_files"])
def test_series_of_own_files_are_scaled_as_one_field(kind: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parts = {"base": GNN, "correction": {"name": "meshgraph", "width": 4}} if kind == "mesh_files" else {}
    content = run(own_files(kind, tmp_path / "data"), model=parts, base_training=ONCE)
    model = fitted(content, tmp_path / "run")
    assert model.units is not None
    assert model.units.x.mean == model.units.y.mean * 2
    assert model.units.x.std == model.units.y.std * 2
    assert model.units.y.mean == pytest.approx([101325], abs=100)
    train_experiment(content, tmp_path / "run", show=False, say=lambda line: None, resume=True)
    assert read_run(tmp_path / "run")[1].units == model.units
    assert scores_per_step(model, content.splits()["test"], metric=relative_l2).max() < 0.05


# Everything else sees fields in the units of the data.


def normalised(data: FieldDataset) -> IterativeRefiner:
    """A refiner with some weights, and the units of a data set."""
    own = base()
    units = measured_units(own, data, base=True)
    torch.manual_seed(2)
    model = IterativeRefiner(own, PHI, units=units, steps=2, in_channels=2, out_channels=1).double()
    nn.init.normal_(model.correction.last.weight, std=0.1)
    return model.eval()


def test_measurements_of_a_model_do_not_depend_on_units() -> None:
    def found(data: FieldDataset) -> tuple[float, Tensor, Tensor]:
        model, batches = normalised(data), DataLoader(data, batch_size=8)
        diagnosis = diagnose(model, batches, samples=2, steps=3, show=False)
        return calibrate(model, batches).factor, diagnosis.convergence.errors, diagnosis.contraction.norm

    one, other = found(pairs(40)), found(moved(pairs(40)))
    torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_a_stream_is_the_answer_of_the_model() -> None:
    data = moved(pairs())
    model = normalised(data).float()
    x = data.x[0].float().repeat(1, 16)
    to = np.zeros((1, 128), dtype=np.float32)
    stream(model, x.numpy(), to, size=64, base_halo=1)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(to), model(x[None])[0], rtol=1e-6, atol=0.1)


def test_scores_on_points_are_those_of_fields_in_the_units_of_the_data() -> None:
    net = PointOperator(lambda u, p: u + 1, fields="u", pos="p")
    side = {"mean": [100.0], "std": [0.1]}
    model = IterativeRefiner(
        net, {"name": "meshgraph", "width": 4}, units={"x": side, "y": side}, in_channels=1, out_channels=1
    )
    u, p = 100 + torch.randn(2, 9, 1), torch.rand(2, 9, 2)
    data = [{"u": u[n], "p": p[n], "y": u[n]} for n in range(2)]
    scores = scores_per_step(model, data, metric=relative_l2)  # type: ignore[arg-type]
    assert scores[0].tolist() == pytest.approx([0.01, 0.01], rel=0.05)


def test_rollouts_and_their_training_are_in_the_units_of_the_data() -> None:
    def same(field: Tensor) -> FieldDataset:
        return FieldDataset(field, field)

    frames = torch.randn(4, 1, 8).double()
    found = []
    for change in (lambda u: u, lambda u: 250 * u + 101325):
        data = same(change(frames))
        torch.manual_seed(0)
        own = nn.Conv1d(1, 1, 3, padding=1).double()
        units = measured_units(own, data, base=True)
        model = IterativeRefiner(own, PHI, units=units, steps=2, in_channels=1, out_channels=1).double()
        nn.init.normal_(model.correction.last.weight, std=0.1)
        run_of = rollout(model.eval(), data.x, steps=3).frames
        trained = RolloutModel(model.train(), RolloutTraining(steps=2))
        torch.manual_seed(3)
        y = change(torch.cat([frames, frames.roll(1, -1)], 1))
        found.append((run_of, RefinementLoss()(trained(data.x, y=y), y)))
    torch.testing.assert_close((found[1][0] - 101325) / 250, found[0][0], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("role", ["base", "refined", "same_parameters", "same_compute", "alone", "rebuilt"])
def test_all_contenders_of_a_study_take_and_return_the_units_of_the_data(role: str) -> None:
    content = run(base_training=ONCE, model={"correction": {"name": "unet", "width": 4, "depth": 1}})
    splits = content.splits()
    network = {"network": FNO} if role in ("alone", "rebuilt") else {}
    trained = contender(Setting(content, BASE, None, splits, 0)).model
    variant = BASE if role == "base" else Variant(role, **network)
    built = contender(Setting(content, variant, None if role == "base" else trained, splits, 0)).model
    answer = built.eval()(splits["test"].x)
    assert (answer.mean() - 101325).abs() < 2500
