"""Files of every format so far are read, and give the numbers that they gave when they were written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from irno_cli.main import main
from neuralop_irno import IterativeRefiner, checkpoint, formats
from neuralop_irno.base.files import load_base
from neuralop_irno.config import read_experiment
from neuralop_irno.data.solvers.ce_gauss import ce_gauss
from neuralop_irno.models.rigno import store
from neuralop_irno.rollouts.files import HDF5, Zarr
from neuralop_irno.study import record
from neuralop_irno.training import identity
from neuralop_irno.training.run import read_run
from neuralop_irno.verify import OK, UNKNOWN, verify

FIXTURES = Path(__file__).parents[1] / "fixtures"
FORMATS = ["format1", "format2", "format3", "format4", "format6"]
OF_REFINERS = FORMATS[:4]
OF_ROLLOUTS = ["format1", "format2"]
SOURCES = sorted(path.relative_to(FIXTURES) for path in FIXTURES.rglob("*") if path.is_file())
CHECKPOINTS = [
    path for path in SOURCES if path.suffix == ".safetensors" and path.name != "answer.safetensors"
]
REFINERS = [path.parent for path in SOURCES if path.match("on_*/model.safetensors")]

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A copy of the fixtures, which some readers write beside."""
    return Path(shutil.copytree(FIXTURES, tmp_path / "fixtures"))


def close(found: Tensor, stored: Tensor) -> None:
    torch.testing.assert_close(found, stored, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=str)
def test_every_checkpoint_snapshot_and_cache_is_read(path: Path) -> None:
    tensors, content = checkpoint.read(FIXTURES / path)
    assert isinstance(content, dict)
    stored = load_file(FIXTURES / path)
    assert tensors.keys() == stored.keys()
    assert all(torch.equal(tensors[name], stored[name]) for name in stored)


@pytest.mark.parametrize("folder", REFINERS, ids=str)
def test_a_refiner_gives_its_answers(folder: Path) -> None:
    model = IterativeRefiner.from_checkpoint(FIXTURES / folder / "model.safetensors").eval()
    answer = load_file(FIXTURES / folder / "answer.safetensors")
    y = answer.pop("y")
    with torch.no_grad():
        close(model(**answer), y)


@pytest.mark.parametrize("version", OF_REFINERS)
def test_a_calibration_is_kept(version: str) -> None:
    found = IterativeRefiner.from_checkpoint(
        FIXTURES / version / "on_grids" / "model.safetensors"
    ).calibration
    assert found is not None
    assert (found.predictor, found.factor, found.coverage, found.samples) == ("residual", 2.5, 0.9, 40)


def test_neuraloperators_files_are_the_base_of_the_checkpoint_beside_them() -> None:
    place = FIXTURES / "format1/on_files"
    model = IterativeRefiner.from_checkpoint(place / "model.safetensors")
    base = load_base(place, "base")
    own = model.base.module.state_dict()
    assert {k: v.shape for k, v in base.state_dict().items() if isinstance(v, Tensor)} == {
        k: v.shape for k, v in own.items() if isinstance(v, Tensor)
    }


@pytest.mark.parametrize("version", OF_REFINERS)
def test_cached_graphs_are_not_made_again(version: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = files / version / "on_graphs"
    answer = load_file(place / "answer.safetensors")
    model = IterativeRefiner.from_checkpoint(place / "model.safetensors")
    monkeypatch.setattr(store, "build_region_graph", None)
    kept = store.GraphStore(model.base.module.graphs.options, place / "cache")
    assert kept.graph_of(answer["pos"]).tensors()


def test_cached_flows_are_not_made_again(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuralop_irno.data.solvers.ce_gauss.euler_trajectories", None)
    place = files / "format1/flows"
    splits = ce_gauss((1, 1, 1), points=8, resolution=16, frames=2, time=0.1, folder=str(place / "cache"))
    stored = load_file(place / "answer.safetensors")
    assert all(torch.equal(splits[name].trajectories.u, u) for name, u in stored.items())


@pytest.mark.parametrize("version", FORMATS)
def test_a_finished_run_is_evaluated(
    version: str, files: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files / version / "runs")
    assert main(["evaluate", "finished", "--split", "valid", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["per_step"]
    best = min(epoch["valid"][-1] for epoch in json.loads(Path("finished/history.json").read_text()))
    assert found[-1] == pytest.approx(best, rel=1e-4)
    answer = load_file("answer.safetensors")
    close(IterativeRefiner.from_checkpoint("finished/model.safetensors").eval()(answer["x"]), answer["y"])


def test_an_unfinished_run_of_format_1_is_refused_by_name(files: Path, capsys: Capsys) -> None:
    """Its snapshots are whole, but do not say which data, base and loss they belong to."""
    run = files / "format1/runs/unfinished"
    assert main(["train", str(run / "config.yaml"), "--folder", str(run), "--resume"]) == 2
    assert "names what it belongs to, got one of an older version" in capsys.readouterr().err


def test_an_unfinished_run_of_before_muon_is_refused_by_name(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """Its optimizer is not today's default, and AdamW's weight decay was another one."""
    monkeypatch.chdir(files / "format2/runs")
    assert main(["train", "unfinished/config.yaml", "--folder", "unfinished", "--resume"]) == 2
    assert "recipe.optimizer (muon, not adamw)" in capsys.readouterr().err


def test_an_unfinished_run_with_batches_in_another_order_is_refused_by_name(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.chdir(files / "format4/runs")
    assert main(["train", "unfinished/config.yaml", "--folder", "unfinished", "--resume"]) == 2
    assert "recipe.shards (16, not None)" in capsys.readouterr().err


def test_an_unfinished_run_is_resumed(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its snapshot refers to the best model, and to what the run belongs to, which is described anew here."""

    def as_stored(model: torch.nn.Module, *others: object) -> Any:
        folder = Path("unfinished")
        return identity.read(folder if isinstance(model, IterativeRefiner) else folder / "base")

    monkeypatch.chdir(files / "format6/runs")
    monkeypatch.setattr("neuralop_irno.training.trainer.identify", as_stored)
    assert main(["train", "unfinished/config.yaml", "--folder", "unfinished", "--resume"]) == 0
    found, stored = (json.loads(Path(run, "history.json").read_text()) for run in ("unfinished", "finished"))
    assert [epoch["valid"] for epoch in found] == [
        pytest.approx(epoch["valid"], rel=1e-4) for epoch in stored
    ]
    answer = load_file("answer.safetensors")
    close(IterativeRefiner.from_checkpoint("unfinished/model.safetensors").eval()(answer["x"]), answer["y"])


@pytest.mark.parametrize("version", FORMATS)
def test_verify_finds_no_damage(version: str) -> None:
    found = [each for each in verify(FIXTURES / version) if each.state != UNKNOWN]
    assert {each.state for each in found} == {OK}
    without = {each.file for each in found if "format 1" in each.why}
    assert without if version == "format1" else not without


@pytest.mark.parametrize("version", OF_ROLLOUTS)
@pytest.mark.parametrize("steps", [3, 6])
@pytest.mark.parametrize("sink", [HDF5, Zarr])
def test_a_rollout_is_read(sink: type[HDF5 | Zarr], steps: int, version: str) -> None:
    name = f"{'finished' if steps == 6 else 'unfinished'}.{'h5' if sink is HDF5 else 'zarr'}"
    found = sink(FIXTURES / version / "rollouts" / name).read()
    stored = load_file(FIXTURES / version / "rollouts" / "answer.safetensors")["frames"]
    assert found.frames.shape[1] == steps
    close(found.frames, stored[:, :steps])


@pytest.mark.parametrize("version", FORMATS)
def test_study_records_are_read(version: str) -> None:
    folder = FIXTURES / version / "study" / "folder"
    records = [record.read(path) for path in sorted((folder / "runs").glob("*.json"))]
    assert [found.variant for found in records] == ["base", "refined"]
    shown = {
        row["variant"]: row["error"]["mean"]
        for row in json.loads((folder / "table.json").read_text())["results"]
    }
    for found in records:
        (values,) = found.measured.values()
        assert shown[found.variant] in [pytest.approx(value) for value in values.values()]


FRAMED = {"name": "unet", "frame": True, "blur": False}


@pytest.mark.parametrize(
    ("stored", "current"),
    [
        ("unet", FRAMED),
        ({"name": "unet", "width": 8}, {**FRAMED, "width": 8}),
        ("mgno", {"name": "mgno", "frame": True}),
        ({"name": "bounded", "bound": 0.9}, {"name": "bounded", "bound": 0.9, "correction": FRAMED}),
        (
            {"name": "untied", "correction": "mgno"},
            {"name": "untied", "correction": {"name": "mgno", "frame": True}},
        ),
        ("meshgraph", "meshgraph"),
        ({"object": "UNet"}, {"object": "UNet"}),
    ],
)
def test_corrections_of_older_formats_have_what_they_were_trained_with(stored: Any, current: Any) -> None:
    model = {"base": "fno", "correction": stored}
    for version in (1, 2):
        assert formats.current_model(model, version) == {"base": "fno", "correction": current}
    assert formats.current_model(model, formats.FORMAT) == model
    inside = {"model": {"base": {"model_arch": "irno", **model}, "correction": "meshgraph"}}
    found = formats.current_study({"problems": {"a": inside}}, 2)["problems"]["a"]["model"]
    assert found["base"]["correction"] == current


def test_a_config_without_a_correction_had_a_unet() -> None:
    assert formats.current_experiment({"model": {"base": "fno"}}, 2)["model"]["correction"] == FRAMED
    around: dict[str, Any] = {"base": "fno", "correction": {"name": "denoiser", "levels": 2}}
    for version in range(3, 7):
        assert formats.current_model({"base": "fno"}, version)["correction"] == "unet"
        found = formats.current_model(around, version)["correction"]
        assert found == {"name": "denoiser", "levels": 2, "correction": "unet"}
        several = formats.current_model({"base": "fno", "correction": ["velocity", "mgno"]}, version)
        assert several["correction"] == [{"name": "velocity", "correction": "unet"}, "mgno"]
    for model in ({"base": "fno"}, around):
        assert formats.current_model(model, formats.FORMAT) == model


@pytest.mark.parametrize("version", FORMATS)
def test_the_config_of_a_run_builds_the_model_that_was_trained(version: str) -> None:
    experiment, model = read_run(FIXTURES / version / "runs" / "finished")
    found = experiment.build_refiner(model.base.module, units=model.units)
    assert found.state_dict().keys() == model.state_dict().keys()
    found.load_state_dict(model.state_dict())
    answer = load_file(FIXTURES / version / "runs" / "answer.safetensors")
    close(found.eval()(answer["x"]), answer["y"])


def test_yaml_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"# irno format {formats.FORMAT + 1}\ndata: waves\n")
    with pytest.raises(
        ValueError, match=r"or older, got format .* in config\.yaml; try a newer neuralop_irno"
    ):
        read_experiment(tmp_path / "config.yaml")
