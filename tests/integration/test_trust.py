"""No file makes code run: pickles planted in each kind of file are refused by name, and none of them runs.

Trust is an argument of the caller (`load_base`'s ``trusted``) or a flag of the command line, never an option
of a file.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from neuralop.models import FNO

from irno_cli.main import main
from neuralop_irno import IterativeRefiner
from neuralop_irno.base.files import load_base
from neuralop_irno.config import experiment, read_experiment
from neuralop_irno.data.readers.planetoid import PARTS
from neuralop_irno.data.solvers.ce_gauss import ce_gauss
from neuralop_irno.data.splits import load_splits
from neuralop_irno.models.rigno.store import GraphStore
from neuralop_irno.rollouts.files import HDF5, Zarr
from neuralop_irno.study import record
from neuralop_irno.study.catalogue import read_study

RUN = Path(__file__).parents[1] / "fixtures/format1/runs/finished"
UNET = {"name": "unet", "width": 4, "depth": 1}

Capsys = pytest.CaptureFixture[str]


class Trap:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that exists once a trap was loaded."""
    return tmp_path / "ran"


def planted(path: Path, mark: Path) -> Path:
    """A pickle of a trap in place of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(Trap(mark), protocol=2))
    return path


def test_the_trap_works(tmp_path: Path, mark: Path) -> None:
    pickle.loads(planted(tmp_path / "file", mark).read_bytes())
    assert mark.exists()


# Data files


def npz_of_objects(folder: Path, mark: Path) -> dict[str, Any]:
    objects = np.empty(1, dtype=object)
    objects[0] = Trap(mark)
    np.savez(folder / "a.npz", x=objects, y=objects)
    return {"name": "files", "train": str(folder / "a.npz"), "valid": str(folder / "a.npz")}


def pickle_as(suffix: str) -> Callable[[Path, Path], dict[str, Any]]:
    def made(folder: Path, mark: Path) -> dict[str, Any]:
        path = str(planted(folder / f"a{suffix}", mark))
        return {"name": "files", "train": path, "valid": path}

    return made


def tensors_of_neuraloperator(folder: Path, mark: Path) -> dict[str, Any]:
    torch.save({"x": Trap(mark), "y": torch.ones(1)}, folder / "darcy_train_8.pt")
    words = {"folder": str(folder), "problem": "darcy", "resolution": 8, "samples": [1, 1, 1]}
    return {"name": "neuraloperator_file", **words}


def planetoid(folder: Path, mark: Path) -> dict[str, Any]:
    for part in PARTS:
        planted(folder / "Cora/raw" / f"ind.cora.{part}", mark)
    planted(folder / "Cora/processed/data.pt", mark)
    return {"name": "planetoid", "folder": str(folder)}


def superpixels(folder: Path, mark: Path) -> dict[str, Any]:
    for split in ("train", "val", "test"):
        planted(folder / f"pascalvoc-sp/raw/{split}.pickle", mark)
        planted(folder / f"pascalvoc-sp/processed/{split}.pt", mark)
    return {"name": "pascalvoc_sp", "folder": str(folder)}


def cifar(folder: Path, mark: Path) -> dict[str, Any]:
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        planted(folder / "cifar-10-batches-py" / name, mark)
    return {"name": "masked_cifar10", "folder": str(folder)}


def zarr_of_objects(folder: Path, mark: Path) -> dict[str, Any]:
    array = {
        "zarr_format": 2, "shape": [3, 2, 1, 4], "chunks": [3, 2, 1, 4], "dtype": "<f4", "compressor": None,
        "fill_value": 0, "order": "C", "filters": [{"id": "pickle", "protocol": 2}],
    }  # fmt: skip
    planted(folder / "a.zarr/frames/0.0.0.0", mark)
    (folder / "a.zarr/.zgroup").write_text('{"zarr_format": 2}')
    (folder / "a.zarr/frames/.zarray").write_text(json.dumps(array))
    return {"name": "zarr", "path": str(folder / "a.zarr"), "trajectories": [1, 1, 1]}


def rigno_file(folder: Path, mark: Path) -> dict[str, Any]:
    return {"name": "rigno_file", "path": str(planted(folder / "a.nc", mark))}


DATA: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], str]] = {
    "objects in npz": (npz_of_objects, "arrays of numbers in a.npz"),
    "a pickle as npz": (pickle_as(".npz"), "arrays of numbers in a.npz"),
    "a pickle as safetensors": (pickle_as(".safetensors"), "arrays of numbers in a.safetensors"),
    "a .pt of neuraloperator": (tensors_of_neuraloperator, "arrays of numbers in darcy_train_8.pt"),
    "planetoid": (planetoid, "ind.cora."),
    "pascalvoc_sp": (superpixels, "in train.pickle, got a pickle that names"),
    "cifar": (cifar, "in data_batch_1, got a pickle that names"),
    "zarr": (zarr_of_objects, "a Zarr group in a.zarr"),
    "rigno": (rigno_file, "a.nc"),
}


@pytest.mark.parametrize(("make", "message"), DATA.values(), ids=DATA)
def test_data_files_run_nothing(
    tmp_path: Path, mark: Path, make: Callable[[Path, Path], dict[str, Any]], message: str
) -> None:
    words = make(tmp_path, mark)
    with pytest.raises(ValueError, match=message):
        load_splits(words)["train"][0]
    assert not mark.exists()


@pytest.mark.parametrize("command", ["evaluate", "check", "diagnose", "rollout"])
@pytest.mark.parametrize("make", [planetoid, npz_of_objects])
def test_a_run_folder_that_names_such_data_runs_nothing(
    tmp_path: Path, mark: Path, capsys: Capsys, command: str, make: Callable[[Path, Path], dict[str, Any]]
) -> None:
    run = Path(shutil.copytree(RUN, tmp_path / "run"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "data": make(tmp_path, mark)}))
    assert main([command, str(run), *(["--steps", "2"] if command == "rollout" else [])]) == 2
    assert capsys.readouterr().err.startswith("irno: expected ")
    assert not mark.exists()


# Files that the package writes itself


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that can be resumed."""
    place = tmp_path_factory.mktemp("fresh")
    words = {
        "data": {"name": "burgers", "trajectories": [2, 1, 1], "frames": 2, "size": 8},
        "model": {
            "base": {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 1},
            "correction": UNET,
            "steps": 2,
        },
        "training": {"epochs": 1, "replay": 2},  # whose states are in a file of each process
        "folder": str(place / "run"),
    }
    (place / "config.yaml").write_text(yaml.safe_dump(words))
    assert main(["train", str(place / "config.yaml")]) == 0
    return place / "run"


@pytest.mark.parametrize("part", ["model", "snapshot", ".snapshot-*"])
def test_pickles_in_a_run_folder_run_nothing(
    fresh: Path, tmp_path: Path, mark: Path, part: str, capsys: Capsys
) -> None:
    run = Path(shutil.copytree(fresh, tmp_path / "run"))
    files = list(run.glob(f"{part}.safetensors"))
    assert files
    for path in files:
        planted(path, mark)
    assert main(["verify", str(run)]) == 1
    out = capsys.readouterr().out
    assert all(f"damaged  {path.name}: expected a safetensors file, got a pickle" in out for path in files)
    for words in (["evaluate"], ["diagnose"], ["train", str(run / "config.yaml"), "--resume", "--folder"]):
        code, error = main([*words, str(run)]), capsys.readouterr().err
        assert code == 0 or error.splitlines()[-1].startswith("irno: expected ")
    assert not mark.exists()


def test_a_pickle_as_a_checkpoint_runs_nothing(tmp_path: Path, mark: Path) -> None:
    planted(tmp_path / "model.safetensors", mark)
    with pytest.raises(ValueError, match="got a pickle in model"):
        IterativeRefiner.from_checkpoint(tmp_path, "model")
    assert not mark.exists()


def region_graph(folder: Path) -> None:
    GraphStore({"levels": 2}, folder).graph_of(torch.rand(24, 2, generator=torch.Generator().manual_seed(0)))


def flows(folder: Path) -> None:
    ce_gauss((1, 1, 1), points=8, resolution=16, frames=2, time=0.01, folder=str(folder))


@pytest.mark.parametrize("make", [region_graph, flows])
def test_a_pickle_in_a_cache_runs_nothing(tmp_path: Path, mark: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "cache")
    for path in (tmp_path / "cache").iterdir():
        planted(path, mark)
    with pytest.warns(UserWarning, match="got a pickle in .* computed again"):
        make(tmp_path / "cache")
    assert not mark.exists()


def test_pickles_as_rollouts_and_records_run_nothing(tmp_path: Path, mark: Path) -> None:
    for read, path in (
        (HDF5(tmp_path / "a.h5").read, planted(tmp_path / "a.h5", mark)),
        (Zarr(tmp_path / "a.zarr").read, planted(tmp_path / "a.zarr", mark)),
        (lambda: record.read(tmp_path / "a.json"), planted(tmp_path / "a.json", mark)),
    ):
        with pytest.raises(ValueError, match=path.name):
            read()
    assert not mark.exists()


# Configs


@pytest.mark.parametrize("tag", ["!!python/object/apply:pathlib.Path.touch", "!!python/name:os.system"])
def test_yaml_builds_no_objects(tmp_path: Path, mark: Path, tag: str, capsys: Capsys) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"data: {tag} [{mark}]\nmodel: {{}}\n")
    for read in (read_experiment, lambda place: read_study(str(place))):
        with pytest.raises(ValueError, match=r"YAML in config\.yaml"):
            read(path)
    assert main(["train", str(path)]) == 2
    assert capsys.readouterr().err.startswith("irno: expected YAML in config.yaml")
    assert not mark.exists()


@pytest.fixture
def config(tmp_path: Path, mark: Path) -> dict[str, Any]:
    """An experiment around a base from neuraloperator's files, in which a trap is hidden."""
    FNO((4,), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1).save_checkpoint(tmp_path, "base")
    metadata = torch.load(tmp_path / "base_metadata.pkl", weights_only=False)
    torch.save({**metadata, "_version": Trap(mark)}, tmp_path / "base_metadata.pkl")
    return {
        "data": {"name": "burgers", "trajectories": [2, 1, 1], "frames": 2, "size": 8},
        "model": {"base": {"checkpoint": str(tmp_path), "name": "base"}, "correction": UNET, "steps": 2},
        "training": {"epochs": 1, "replay": 2},  # whose states are in a file of each process
        "folder": str(tmp_path / "run"),
    }


@pytest.mark.parametrize("trust", [True, False, "yes", 1, None])
def test_a_config_cannot_grant_trust(
    tmp_path: Path, mark: Path, config: dict[str, Any], capsys: Capsys, trust: Any
) -> None:
    config["model"]["base"]["trusted"] = trust
    with pytest.raises(ValueError, match="'trusted'"):
        experiment(config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for words in ([], ["--trust-base"]):
        assert main(["train", str(tmp_path / "config.yaml"), *words]) == 2
        assert "the key 'trusted' in a config" in capsys.readouterr().err
    run = Path(shutil.copytree(RUN, tmp_path / "copy"))
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for command in ("evaluate", "check", "diagnose"):
        assert main([command, str(run)]) == 2
    problem = {key: config[key] for key in ("data", "model", "training")}
    base = problem["model"].pop("base")
    study = {"kind": "main", "about": "", "problems": {"a": {**problem, "bases": {"b": base}}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**study, "variants": {"refined": {}}}))
    assert main(["study", str(tmp_path / "study.yaml"), "--folder", str(tmp_path / "study")]) == 2
    assert "the key 'trusted' in a config" in capsys.readouterr().err
    assert not mark.exists()


def test_the_command_line_grants_trust(
    tmp_path: Path, mark: Path, config: dict[str, Any], capsys: Capsys
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["train", str(path)]) == 2
    assert "--trust-base" in capsys.readouterr().err
    assert not mark.exists()
    assert main(["train", str(path), "--trust-base"]) == 0, capsys.readouterr().err
    assert mark.exists()
    mark.unlink()
    assert main(["evaluate", str(tmp_path / "run")]) == 0  # the run's own checkpoint holds the base
    assert not mark.exists()


def test_a_base_that_is_read_writes_nowhere(tmp_path: Path) -> None:
    """Metadata may name any registered model, and its options."""
    metadata = {"_name": "RIGNO", "in_channels": 1, "out_channels": 1, "cache": str(tmp_path / "elsewhere")}
    torch.save(metadata, tmp_path / "base_metadata.pkl")
    torch.save({}, tmp_path / "base_state_dict.pt")
    with pytest.raises(ValueError, match=r"no cache folder in base_metadata\.pkl"):
        load_base(tmp_path, "base")
    assert not (tmp_path / "elsewhere").exists()
