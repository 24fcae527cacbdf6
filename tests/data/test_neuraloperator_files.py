"""neuraloperator's own sets, by its loaders and by ours, from the same files: the same samples."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import write_tensors
from neuralop.data.datasets import Burgers1dTimeDataset, DarcyDataset, NavierStokesDataset
from torch.utils.data import DataLoader

from neuralop_irno.data.readers.neuraloperator_files import PROBLEMS, TensorFile
from neuralop_irno.data.splits import load_splits

SIZES: dict[str, Any] = {"n_train": 6, "n_tests": [4], "batch_size": 2, "test_batch_sizes": [2]}


def check(theirs: Any, ours: Any, resolution: int) -> None:
    """Samples of both, after the processor that neuraloperator would have put them through."""
    parts = {"train": theirs.train_db, "test": theirs.test_dbs[resolution]}
    processor = theirs.data_processor
    processor.train()  # in evaluation it leaves y in the units of the file
    for split, data in parts.items():
        for index in range(len(ours[split])):
            sample = {name: field[None] for name, field in data[index].items()}
            wanted = processor.preprocess(sample)
            for name in ("x", "y"):
                torch.testing.assert_close(ours[split][index][name][None], wanted[name], rtol=1e-5, atol=1e-6)


def test_darcy(tmp_path: Path) -> None:
    write_tensors(tmp_path, "darcy", 16, (16, 16), (16, 16))
    theirs = DarcyDataset(
        tmp_path, train_resolution=16, test_resolutions=[16], encode_output=True, download=False, **SIZES
    )
    words = {"name": "neuraloperator_file", "folder": str(tmp_path), "problem": "darcy", "resolution": 16}
    ours = load_splits({**words, "samples": [6, 3, 4]})
    check(theirs, ours, 16)
    assert len(ours["valid"]) == 3
    raw = torch.load(tmp_path / "darcy_train_16.pt", weights_only=True)
    assert torch.equal(ours["valid"][1]["x"], raw["x"][7][None])  # the permeability, as it is
    torch.testing.assert_close(ours["valid"].scaling.undo(ours["valid"][1]["y"][None])[0, 0], raw["y"][7])
    assert ours["train"].padding == ("zero", "zero")  # the pressure is zero on the edge
    assert ours["train"].metric == "relative_l2"
    y = torch.stack([ours["train"][i]["y"] for i in range(6)])
    assert abs(y.mean().item()) < 1e-6
    assert y.std().item() == pytest.approx(1, rel=1e-5)


def test_navier_stokes(tmp_path: Path) -> None:
    write_tensors(tmp_path, "nsforcing", 128, (128, 128), (128, 128))
    theirs = NavierStokesDataset(
        tmp_path, train_resolution=128, test_resolutions=[128], encode_output=True, download=False, **SIZES
    )
    words = {"name": "neuraloperator_file", "folder": str(tmp_path), "problem": "navier_stokes"}
    ours = load_splits({**words, "resolution": 128, "samples": [6, 1, 4]})
    check(theirs, ours, 128)
    assert ours["test"].padding == ("circular", "circular")


def test_burgers_repeats_its_start_in_time(tmp_path: Path) -> None:
    write_tensors(tmp_path, "burgers", 16, (16,), (17, 16))
    theirs = Burgers1dTimeDataset(
        tmp_path, n_train=6, n_tests=[4], batch_size=2, test_batch_sizes=[2], temporal_subsample=1,
        spatial_subsample=1,
    )  # fmt: skip
    words = {"name": "neuraloperator_file", "folder": str(tmp_path), "problem": "burgers", "resolution": 16}
    ours = load_splits({**words, "samples": [6, 2, 4]})
    check(theirs, ours, 16)
    x = ours["train"][0]["x"]
    assert x.shape == (1, 17, 16)
    assert torch.equal(x, x[:, :1].expand_as(x))


def test_it_batches_and_can_be_handed_to_workers(tmp_path: Path) -> None:
    path = write_tensors(tmp_path, "darcy", 8, (8, 8), (8, 8)) / "darcy_train_8.pt"
    data = TensorFile(path, PROBLEMS["darcy"])
    here = torch.stack([data[i]["y"] for i in range(len(data))])
    assert len(pickle.dumps(data)) < 1000  # a path, no fields
    loader = DataLoader(pickle.loads(pickle.dumps(data)), batch_size=4, num_workers=2)
    assert torch.equal(torch.cat([batch["y"] for batch in loader]), here)


def test_the_mean_is_taken_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tensors(tmp_path, "darcy", 8, (8, 8), (8, 8)) / "darcy_train_8.pt"
    once = TensorFile(path, PROBLEMS["darcy"], range(1, 9)).scaling
    monkeypatch.setattr("neuralop_irno.data.readers.neuraloperator_files.CHUNK", 3)
    by_parts = TensorFile(path, PROBLEMS["darcy"], range(1, 9)).scaling
    assert by_parts.mean == pytest.approx(once.mean, rel=1e-12)
    assert by_parts.std == pytest.approx(once.std, rel=1e-12)
    y = torch.load(path, weights_only=True)["y"][1:9].double()
    assert once.std[0] == pytest.approx(y.std().item(), rel=1e-12)


class Bomb:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_files_that_are_none_teach_and_nothing_is_unpickled(tmp_path: Path) -> None:
    path, darcy = tmp_path / "darcy_train_16.pt", PROBLEMS["darcy"]
    field = torch.zeros(3, 4, 4)
    cases: dict[str, Any] = {
        r"arrays of numbers in darcy_train_16.pt, got .*": {"x": field, "y": Bomb(tmp_path / "exploded")},
        r"arrays x and y in .*, got \['x'\]": {"x": field},
        r"arrays x and y in .*, got Tensor": field,
        r"x and y of one grid with 2 axes in .*, got x \(3, 4, 4\), y \(2, 4, 4\)": {
            "x": field,
            "y": field[1:],
        },
        r"x and y of one grid .*, got x \(3, 4, 3\)": {"x": field[..., 1:], "y": field},
    }
    for place, (message, content) in enumerate(cases.items()):
        folder = tmp_path / str(place)
        folder.mkdir()
        torch.save(content, folder / path.name)
        with pytest.raises(ValueError, match=f"^expected {message}"):
            TensorFile(folder / path.name, darcy)
    assert not (tmp_path / "exploded").exists()
    path.write_bytes(b"these are no fields")
    with pytest.raises(ValueError, match=r"^expected arrays of numbers in darcy_train_16.pt, got .*; try"):
        TensorFile(path, darcy)
    with pytest.raises(FileNotFoundError, match=r"^expected a data file, got no file at .*; try neuralop"):
        TensorFile(tmp_path / "none.pt", darcy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problem": "darci"}, r"one of neuraloperator's sets, got 'darci'; try 'darcy'"),
        ({"samples": [6]}, r"three numbers of samples >= 1, got \[6\]"),
        ({"samples": [9, 1, 1]}, r"samples from 0 to 8, got range\(9, 10\)"),
    ],
)
def test_options_that_do_not_fit_teach(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_tensors(tmp_path, "darcy", 16, (16, 16), (16, 16))
    words = {"name": "neuraloperator_file", "folder": str(tmp_path), "problem": "darcy", "resolution": 16}
    with pytest.raises(ValueError, match=f"^expected {message}"):
        load_splits({**words, "samples": [6, 2, 2], **change})
