"""``irno predict`` as a user runs it: own files in, the model's answers out, in every format."""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import meshio
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_cli import CONFIG, Capsys, refused, written
from torch import Tensor

from irno_cli.main import main
from neuralop_irno import Bands, IterativeRefiner, predict, read_mesh
from neuralop_irno.data.readers.named_arrays import NamedArrays
from neuralop_irno.training.run import read_run

ENDINGS = ("npz", "safetensors", "pt", "h5", "zarr")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    place = tmp_path_factory.mktemp("predict")
    config = written(place / "config.yaml", CONFIG)
    assert main(["train", str(config), "--folder", str(place / "run"), "--json"]) == 0
    return place / "run"


def stored(path: Path, **arrays: Tensor) -> Path:
    """A file of arrays in the format of its suffix."""
    plain = {name: array.numpy() for name, array in arrays.items()}
    if path.suffix == ".npz":
        np.savez(path, **plain)
    elif path.suffix == ".safetensors":
        save_file(arrays, path)
    elif path.suffix == ".pt":
        torch.save(arrays, path)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in plain.items():
                file[name] = array
    else:
        import zarr

        group = zarr.open_group(str(path), mode="w")
        for name, array in plain.items():
            group.create_array(name, data=array, config={"write_empty_chunks": True})
    return path


@pytest.mark.parametrize("target", [*ENDINGS, "nc"])
@pytest.mark.parametrize("source", ENDINGS)
def test_any_format_in_and_out_gives_the_models_answers(
    source: str, target: str, run_folder: Path, tmp_path: Path, capsys: Capsys
) -> None:
    x = torch.randn(5, 1, 8, generator=torch.Generator().manual_seed(0))
    path, to = stored(tmp_path / f"in.{source}", x=x, y=torch.zeros(5, 1, 8)), tmp_path / f"out.{target}"
    words = ["predict", run_folder, path, "--to", to, "--batch-size", 2, "--json"]
    assert main([str(word) for word in words]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 5
    found = NamedArrays(to)
    torch.testing.assert_close(found.part("y"), read_run(run_folder)[1](x))
    assert found.part("steps").tolist() == [2] * 5
    assert set(found.shapes) == {"y", "steps"}
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, to.name])


def test_a_tolerance_and_patches(run_folder: Path, tmp_path: Path, capsys: Capsys) -> None:
    x = torch.randn(3, 1, 8)
    path, to = stored(tmp_path / "in.npz", x=x), tmp_path / "out.npz"
    words = ["predict", run_folder, path, "--to", to, "--rtol", "0.5", "--max-steps", 3, "--patches", 4]
    assert main([str(word) for word in words]) == 0
    assert "3 samples written" in capsys.readouterr().out
    solution = read_run(run_folder)[1].solve(x, rtol=0.5, max_steps=3)
    found = NamedArrays(to)
    torch.testing.assert_close(found.part("y"), solution.value)
    assert found.part("converged").tolist() == solution.good.tolist()


class Halved(torch.nn.Module):
    """A base on graphs with two inputs and one output."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return x[:, :1] / 2 + x[:, 1:]


def plate(path: Path, scale: float) -> Path:
    """A square of two triangles with two fields."""
    points = np.asarray([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]) * scale
    cells = [("triangle", [[0, 1, 2], [1, 3, 2]])]
    meshio.Mesh(points, cells, {"T": scale * np.arange(4.0), "q": np.ones(4)}).write(path)
    return path


def test_meshes_keep_their_cells_and_get_the_answers(tmp_path: Path) -> None:
    phi = {"name": "meshgraph", "width": 4, "steps": 1}
    model = IterativeRefiner(Halved(), phi, in_channels=2, out_channels=1, resolution={"extent": "fixed"})
    (tmp_path / "in").mkdir()
    for index in range(2):
        plate(tmp_path / f"in/plate{index}.vtu", 1.0 + index)
    found = predict(model, tmp_path / "in", tmp_path / "out", fields=["T", "q"], names=["p"])
    assert found.samples == 2
    for index in range(2):
        mesh = read_mesh(tmp_path / f"out/plate{index}.vtu")
        expected = (1 + index) * torch.arange(4.0)[:, None].double() / 2 + 1
        torch.testing.assert_close(mesh.fields["p"], expected)
        assert len(mesh.cells) == 2


def moving(base: Any, **options: Any) -> IterativeRefiner:
    """A refiner that changes the base's answer, with error bands."""
    model = IterativeRefiner(base, **options)
    with torch.no_grad():
        for weight in model.correction.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    model.bands = Bands("local", 2.0, share=0.8, coverage=0.9, samples=20)
    return model.eval()


def test_bands_are_written_beside_the_answers(tmp_path: Path) -> None:
    x = torch.randn(5, 1, 8, generator=torch.Generator().manual_seed(0))
    on_grids = moving(
        torch.nn.Conv1d(1, 1, 3, padding=1), correction={"name": "unet", "width": 2, "depth": 1}
    )
    arrays = stored(tmp_path / "in.npz", x=x)
    predict(on_grids, arrays, tmp_path / "out.npz", batch_size=2)
    torch.testing.assert_close(
        NamedArrays(tmp_path / "out.npz").part("error_band"), on_grids.solve(x).error_band
    )

    named = {"x": ["T"], "y": ["q"]}
    predict(on_grids, stored(tmp_path / "in.h5", T=x, q=x), tmp_path / "out.nc", data=named)
    variables = NamedArrays(tmp_path / "out.nc")
    assert variables.shapes["q"] == variables.shapes["q_error"]

    phi = {"name": "meshgraph", "width": 4, "steps": 1}
    on_meshes = moving(Halved(), correction=phi, in_channels=2, out_channels=1)
    path = plate(tmp_path / "plate.vtu", 1.0)
    predict(on_meshes, path, tmp_path / "mesh.vtu", fields=["T", "q"], names=["p"])
    mesh = read_mesh(tmp_path / "mesh.vtu")
    band = on_meshes.solve(read_mesh(path).graph(["T", "q"])).error_band
    torch.testing.assert_close(mesh.fields["p_error"], band.double())
    assert (mesh.fields["p_error"] > 0).all()


def test_a_name_that_is_that_of_a_band_is_refused(tmp_path: Path) -> None:
    class Both(Halved):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return x

    phi = {"name": "meshgraph", "width": 4, "steps": 1}
    model = moving(Both(), correction=phi, in_channels=2, out_channels=2)
    path, to = plate(tmp_path / "plate.vtu", 1.0), tmp_path / "mesh.vtu"
    with pytest.raises(ValueError, match="names leave those of their error bands free, got p_error"):
        predict(model, path, to, fields=["T", "q"], names=["p", "p_error"])
    assert not to.exists()


@pytest.mark.parametrize("option", ["--patches", "--batch-size"])
def test_patches_and_batches_of_nothing_are_refused(
    option: str, run_folder: Path, tmp_path: Path, capsys: Capsys
) -> None:
    path = stored(tmp_path / "in.npz", x=torch.ones(1, 1, 8))
    said = refused(capsys, "predict", run_folder, path, "--to", tmp_path / "out.npz", option, 0)
    assert re.search("expected .*(patch|batch_size)", said), said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(2, 3, 8)}, "channels"),
        ({"z": torch.ones(2, 1, 8)}, r"expected an array 'x' in in.npz, of samples, got \['z'\]"),
        ({"x": torch.ones(2, 1, 8), "tau": torch.ones(2)}, "tau"),
        ({"x": torch.full((2, 1, 8), torch.nan)}, "x in in.npz to be finite"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_writes_nothing(
    change: dict[str, Any], message: str, run_folder: Path, tmp_path: Path, capsys: Capsys
) -> None:
    path = stored(tmp_path / "in.npz", **change)
    said = refused(capsys, "predict", run_folder, path, "--to", tmp_path / "out.h5")
    assert re.search(message, said), said
    assert [file.name for file in tmp_path.iterdir()] == ["in.npz"]


def test_files_are_not_replaced_and_pickles_not_run(run_folder: Path, tmp_path: Path, capsys: Capsys) -> None:
    path = stored(tmp_path / "in.npz", x=torch.ones(1, 1, 8))
    assert "out.csv" in refused(capsys, "predict", run_folder, path, "--to", tmp_path / "out.csv")
    with pytest.raises(FileExistsError, match="expected a new file"):
        predict(read_run(run_folder)[1], path, path)
    torch.save({"x": torch.nn.Linear(1, 1)}, tmp_path / "in.pt")
    said = refused(capsys, "predict", run_folder, tmp_path / "in.pt", "--to", tmp_path / "out.npz")
    assert "expected tensors in in.pt" in said


def test_a_folder_that_was_saved_to_stand_alone_answers_as_its_run(run_folder: Path, tmp_path: Path) -> None:
    read_run(run_folder)[1].save_pretrained(tmp_path / "alone")
    path = stored(tmp_path / "in.npz", x=torch.randn(2, 1, 8))
    for name in ("run", "alone"):
        folder = run_folder if name == "run" else tmp_path / name
        assert main(["predict", str(folder), str(path), "--to", str(tmp_path / f"{name}.npz")]) == 0
    found = [NamedArrays(tmp_path / f"{name}.npz").part("y") for name in ("run", "alone")]
    assert torch.equal(*found)
    with pytest.raises(ValueError, match=r"^expected no names of channels, for arrays, got \['T'\]; try"):
        predict(read_run(run_folder)[1], path, tmp_path / "named.npz", names=["T"])


def test_a_measure_with_as_many_rows_as_samples_is_shared(tmp_path: Path) -> None:
    class Decay(torch.nn.Module):
        """Phi = rate (2 x - h), faster in the first row."""

        def forward(self, joined: Tensor) -> Tensor:
            rate = torch.tensor([0.9, 0.1, 0.1, 0.1])[:, None]
            return rate * (2 * joined[:, :1] - joined[:, 1:])

    model = IterativeRefiner(lambda x: x, Decay(), in_channels=1, out_channels=1).eval()
    x, measure = torch.ones(4, 1, 4, 6), torch.tensor([1.0, 1e-9, 1e-9, 1e-9])[:, None]
    path = stored(tmp_path / "in.npz", x=x, measure=measure)
    predict(model, path, tmp_path / "out.npz", rtol=1e-3, max_steps=99, batch_size=1)
    written = NamedArrays(tmp_path / "out.npz").part("steps")
    assert torch.equal(written, model.solve(x, measure=measure, rtol=1e-3, max_steps=99).steps)
    assert (model.solve(x, rtol=1e-3, max_steps=99).steps != written).all()


def test_an_error_in_a_folder_of_meshes_leaves_none(tmp_path: Path) -> None:
    points, cells = torch.rand(5, 2).numpy(), [("triangle", np.array([[0, 1, 2], [2, 3, 4]]))]
    (tmp_path / "in").mkdir()
    for name, field in (("1", "u"), ("2", "v")):
        meshio.Mesh(points, cells, point_data={field: np.ones(5)}).write(tmp_path / f"in/{name}.vtu")
    options = {"width": 4, "layers": 1, "heads": 1, "in_channels": 1, "out_channels": 1}
    model = IterativeRefiner(
        {"model_arch": "transolver", **options}, {"name": "meshgraph", "width": 4, "dim": 2}
    )
    with pytest.raises(ValueError, match="expected a field of this mesh, got 'u'; try one of v"):
        predict(model, tmp_path / "in", tmp_path / "out", fields=["u"])
    assert not (tmp_path / "out").exists()
