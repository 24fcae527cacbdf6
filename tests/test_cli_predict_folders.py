"""``irno predict`` on folders: file by file, under the same names; nothing is left out without a word."""

import json
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
import xarray
from test_cli import CONFIG, Capsys, refused, written
from test_cli_predict import Halved, plate, stored

from irno_cli.main import main
from neuralop_irno import IterativeRefiner, predict, read_mesh
from neuralop_irno.data.readers.named_arrays import NamedArrays
from neuralop_irno.training.run import read_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    place = tmp_path_factory.mktemp("folders")
    config = written(place / "config.yaml", CONFIG)
    assert main(["train", str(config), "--folder", str(place / "run"), "--json"]) == 0
    return place / "run"


def fields(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 1, 8, generator=torch.Generator().manual_seed(seed))


def test_a_folder_of_arrays_is_answered_file_by_file(
    run_folder: Path, tmp_path: Path, capsys: Capsys
) -> None:
    source, to = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    known = {f"run_{place}.{ending}": fields(1 + place, place) for place, ending in
             enumerate(("npz", "safetensors", "pt", "h5", "zarr"))}  # fmt: skip
    for name, x in known.items():
        stored(source / name, x=x)
    (source / "notes.txt").write_text("about these runs")
    (source / "pictures").mkdir()
    assert main(["predict", str(run_folder), str(source), "--to", str(to), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == [str(to / name) for name in known]
    assert said["samples"] == 15
    assert said["left_out"] == ["notes.txt", "pictures/"]
    model = read_run(run_folder)[1]
    for name, x in known.items():
        torch.testing.assert_close(NamedArrays(to / name).part("y"), model(x))
    assert main(["predict", str(run_folder), str(source), "--to", str(tmp_path / "again")]) == 0
    assert "not read: notes.txt, pictures/, which are" in capsys.readouterr().out
    assert "got out, which exists" in refused(capsys, "predict", run_folder, source, "--to", to, code=1)


def test_a_folder_of_netcdf_keeps_the_names_of_files_and_variables(tmp_path: Path) -> None:
    for name in ("a.nc", "b.nc4"):
        data = xarray.Dataset({"u": (("time", "x"), fields(3, 0)[:, 0].numpy())}, {"x": np.arange(8.0)})
        (tmp_path / "in").mkdir(exist_ok=True)
        data.to_netcdf(tmp_path / "in" / name, engine="h5netcdf")
    phi = {"name": "unet", "width": 2, "depth": 1}
    model = IterativeRefiner(torch.nn.Conv1d(1, 1, 3, padding=1), phi, in_channels=1, out_channels=1)
    found = predict(model, tmp_path / "in", tmp_path / "out", data={"name": "files", "x": ["u"], "y": ["p"]})
    assert [path.name for path in found.files] == ["a.nc", "b.nc"]
    assert found.samples == 6
    with xarray.open_dataset(found.files[1], engine="h5netcdf") as answers:
        assert answers.p.dims == ("time", "x")


def test_arrays_of_an_xdmf_file_are_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phi = {"name": "meshgraph", "width": 4, "steps": 1}
    model = IterativeRefiner(Halved(), phi, in_channels=2, out_channels=1, resolution={"extent": "fixed"})
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for place in range(2):
        plate(Path(f"plate{place}.xdmf"), 1.0 + place)
    assert sorted(path.suffix for path in (tmp_path / "in").iterdir()) == [".h5", ".h5", ".xdmf", ".xdmf"]
    found = predict(model, tmp_path / "in", tmp_path / "out", fields=["T", "q"], names=["p"])
    assert [path.name for path in found.files] == ["plate0.xdmf", "plate1.xdmf"]
    assert found.left_out == ()
    assert len(read_mesh(found.files[1]).fields["p"]) == 4


def wrong(source: Path, case: str) -> str:
    """A folder that cannot be answered; returns the start of the message."""
    source.mkdir()
    stored(source / "a.npz", x=fields(1, 0))
    if case == "mixed":
        points, cells = np.eye(3), [("triangle", np.array([[0, 1, 2]]))]
        meshio.Mesh(points, cells, {"T": np.ones(3)}).write(source / "mesh.vtu")
        return f"files of arrays, or meshes, alone in {source}, got meshes (mesh.vtu) and arrays (a.npz)"
    if case == "damaged":
        (source / "b.npz").write_bytes((source / "a.npz").read_bytes()[:-9])
        return "expected arrays of numbers in b.npz, got"
    if case == "channels":
        stored(source / "b.npz", x=torch.ones(1, 3, 8))
        return "expected "
    (source / "a.npz").rename(source / "a.csv")
    return f"expected files of arrays or meshes in {source}, got a.csv; try files that end in one of .npz"


@pytest.mark.parametrize("case", ["mixed", "damaged", "channels", "others"])
def test_folders_that_cannot_be_answered_name_the_file_and_write_nothing(
    case: str, run_folder: Path, tmp_path: Path, capsys: Capsys
) -> None:
    message = wrong(tmp_path / "in", case)
    said = refused(capsys, "predict", run_folder, tmp_path / "in", "--to", tmp_path / "out")
    assert message in said
    assert ("(in b.npz)" in said) == (case in ("damaged", "channels"))
    assert not (tmp_path / "out").exists()


def test_arrays_are_refused_for_a_model_of_meshes(tmp_path: Path) -> None:
    stored(tmp_path / "a.npz", x=fields(1, 0))
    model: Any = IterativeRefiner(Halved(), {"name": "meshgraph", "width": 4}, in_channels=2, out_channels=1)
    with pytest.raises(ValueError, match=r"^expected meshes alone in .*, got a\.npz; try a folder for each"):
        predict(model, tmp_path, tmp_path / "out", data={"name": "mesh_files", "x": ["T"], "y": ["q"]})
