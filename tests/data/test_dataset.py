"""Pairs from trajectories and from files; nothing is unpickled, and bad files say what is wrong."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from neuralop_irno.data.fields import FieldDataset, windows
from neuralop_irno.data.readers.files import read_fields
from neuralop_irno.data.splits import load_splits
from neuralop_irno.registry import DATASETS

TINY: dict[str, Any] = {"name": "burgers", "trajectories": [2, 1, 1], "frames": 5, "size": 8}


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(1, 1, 1), (2, 1, 1), (1, 3, 2), (2, 2, 4)])
def test_every_window_is_what_follows_what(inputs: int, outputs: int, stride: int) -> None:
    frames = torch.arange(3 * 9).reshape(3, 9, 1, 1) + torch.zeros(3, 9, 2, 4)  # the number of the frame
    data = windows(frames, inputs, outputs, stride)
    starts = list(range(0, 9 - inputs - outputs + 1, stride))
    assert len(data) == 3 * len(starts)
    for place, pair in enumerate(data[i] for i in range(len(data))):
        flow, start = 9 * (place // len(starts)), starts[place % len(starts)]
        assert pair["x"].shape == (inputs, 2, 4)
        assert pair["y"].shape == (outputs, 2, 4)
        whole = torch.cat([pair["x"], pair["y"]])[:, 0, 0]
        assert whole.tolist() == [flow + start + i for i in range(inputs + outputs)]


def test_a_static_field_is_the_last_channel_of_every_x() -> None:
    static = torch.randn(4, 5)
    data = windows(torch.randn(2, 6, 4, 5), inputs=2, static=static)
    assert data.x.shape == (8, 3, 4, 5)
    assert all(torch.equal(pair["x"][-1], static) for pair in (data[0], data[7]))
    assert data.y.shape == (8, 1, 4, 5)


def test_it_is_a_dataset_that_torch_batches() -> None:
    data = FieldDataset(torch.randn(5, 2, 8), torch.randn(5, 1, 8))
    batches = list(DataLoader(data, batch_size=2))
    assert [batch["x"].shape[0] for batch in batches] == [2, 2, 1]
    assert torch.equal(torch.cat([batch["y"] for batch in batches]), data.y)


def test_turbulence_is_scaled_by_its_training_set_and_carries_its_forcing() -> None:
    words = {"trajectories": [2, 1, 1], "frames": 5, "size": 8, "resolution": 16, "warmup": 0.2}
    splits = load_splits({"name": "turbulence", **words, "outputs": 2, "viscosity": 0.05})
    train, test = splits["train"], splits["test"]
    assert train.x.shape == (2 * 3, 2, 8, 8)
    assert test.y.shape == (1 * 2, 2, 8, 8)  # test windows overlap in one frame only
    frames = torch.cat([train.x[::3, :1], train.y[::3], train.y[2::3]], 1)
    assert frames.std().item() == pytest.approx(1, rel=1e-5)
    forcing = test.x[:, 1]
    assert torch.equal(forcing, train.x[:1, 1].expand_as(forcing))
    assert forcing[0].std().item() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(forcing[0], forcing[0, :1].expand(8, 8))  # it varies along y alone


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_burgers_in_any_dimension(dim: int) -> None:
    splits = load_splits({**TINY, "dim": dim, "outputs": 2})
    assert splits["train"].x.shape == (2 * 2, 1, *[8] * dim)
    assert splits["valid"].y.shape == (1 * 2, 2, *[8] * dim)


def arrays() -> dict[str, Tensor]:
    return {"x": torch.randn(3, 2, 4, 5), "y": torch.randn(3, 1, 4, 5)}


def saved(path: Path, fields: dict[str, Any]) -> Path:
    """A real file with these arrays."""
    if path.suffix == ".npz":
        np.savez(path, **{name: np.asarray(field) for name, field in fields.items()})
    else:
        save_file(fields, path)
    return path


@pytest.mark.parametrize("name", ["fields.npz", "fields.safetensors"])
def test_files_come_back_as_they_were_written(name: str, tmp_path: Path) -> None:
    fields = arrays()
    data = read_fields(str(saved(tmp_path / name, fields)))
    assert torch.equal(data.x, fields["x"])
    assert torch.equal(data.y, fields["y"])
    doubles = read_fields(saved(tmp_path / f"double-{name}", {k: v.double() for k, v in fields.items()}))
    assert doubles.x.dtype == torch.float32
    assert torch.equal(doubles.x, fields["x"])


def test_splits_from_files_and_a_test_set_that_is_the_validation_set_by_default(tmp_path: Path) -> None:
    first, second = (saved(tmp_path / f"{i}.npz", arrays()) for i in range(2))
    splits = load_splits({"name": "files", "train": str(first), "valid": str(second)})
    assert torch.equal(splits["train"].x, read_fields(first).x)
    assert torch.equal(splits["test"].x, splits["valid"].x)
    assert torch.equal(splits["test"].x, read_fields(second).x)


class Bomb:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    objects = np.empty(1, dtype=object)
    objects[0] = Bomb(mark)
    np.savez(tmp_path / "object.npz", x=objects, y=objects)
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Bomb(mark)))
    (tmp_path / "plain.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    reasons = {"object.npz": "kind object", "plain.npz": "no zip archive", "plain.safetensors": "header"}
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=rf"^expected arrays of numbers in {name}, got .*{reason}"):
            read_fields(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_damaged_files_are_refused_whatever_the_damage(suffix: str, tmp_path: Path) -> None:
    whole = saved(tmp_path / f"whole{suffix}", arrays()).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damaged = {"empty": b"", "cut": whole[:-40], "garbage": b"these are no fields at all"}
    if suffix == ".npz":  # safetensors have no checksum
        damaged["flipped"] = bytes(flipped)
    for name, content in damaged.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^expected arrays of numbers in {path.name}, got .+; try "):
            read_fields(path)
        assert path.read_bytes() == content


def test_arrays_that_are_no_pairs_of_fields_teach(tmp_path: Path) -> None:
    good = arrays()
    holes = good["y"].clone()
    holes[0, 0, 0, :2] = torch.tensor([float("nan"), float("inf")])
    cases: dict[str, dict[str, Any]] = {
        r"an array 'y' in f\.npz, got \['targets', 'x'\]; try": {"x": good["x"], "targets": good["y"]},
        r"variables with as many samples, got x 3, y 2; try": {**good, "y": good["y"][:2]},
        r"x in f\.npz as real \(n, C, \*S\), got real \(3, 2\); try": {**good, "x": good["x"][:, :, 0, 0]},
        r"x in f\.npz as real .*got complex \(3, 2, 4, 5\); try": {**good, "x": good["x"] * 1j},
        r"y in f\.npz to be finite, got 2 NaN or inf; try cleaning the data": {**good, "y": holes},
        r"the arrays x and y alone in f\.npz, got also \['mask', 'pos'\]; try a graph data set": {
            **good,
            "pos": good["x"],
            "mask": good["x"],
        },
        r"x in f\.npz as real .*got real \(0, 2, 4, 5\)": {"x": good["x"][:0], "y": good["y"][:0]},
        r"arrays of numbers in f\.npz, got .*entries of the kind": {**good, "x": np.array(["a word"])},
    }
    for message, content in cases.items():
        with pytest.raises(ValueError, match=rf"^expected {message}"):
            read_fields(saved(tmp_path / "f.npz", content))


def test_an_empty_split_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = FieldDataset(torch.zeros(2, 1, 8), torch.zeros(2, 1, 8))
    empty = FieldDataset(pairs.x[:0], pairs.y[:0])
    DATASETS.names()
    sets = {"train": pairs, "valid": pairs, "test": empty}
    monkeypatch.setitem(DATASETS._entries, "mine", lambda: sets)
    with pytest.raises(ValueError, match=r"^expected samples in the test split of dataset 'mine', got none"):
        load_splits({"name": "mine"})


def test_paths_that_are_none_teach(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    for missing in (tmp_path / "none.npz", tmp_path / "folder.npz"):
        with pytest.raises(FileNotFoundError, match=r"^expected a data file, got no file at /.*; try"):
            read_fields(missing)
    other = tmp_path / "fields.csv"
    other.write_text("x,y")
    with pytest.raises(
        ValueError, match=r"^expected a file of arrays, got fields.csv; try a file that ends in"
    ):
        read_fields(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "burger"}, r"the name of a dataset, got 'burger'; try 'burgers' \(the choices are .*files"),
        ({"viscocity": 1.0}, r"an option of dataset 'burgers', got 'viscocity'; try 'viscosity'"),
        ({"trajectories": [2, 1]}, r"three numbers of trajectories >= 1, got \[2, 1\]; try"),
        ({"trajectories": [2, 0, 1]}, r"three numbers of trajectories >= 1, got \[2, 0, 1\]; try"),
        ({"outputs": 5}, r"trajectories of at least 6 frames, got 5; try fewer outputs"),
        ({"outputs": 0}, r"outputs >= 1, got 0; try outputs=1"),
        ({"size": 3}, r"a grid of at least 4 points per side, got 3; try size=64"),
    ],
)
def test_options_of_a_data_set_that_do_not_fit_teach(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^expected {message}"):
        load_splits({**TINY, **change})
