"""SuperBench's files, written here in their layout: crops, coarse fields, tiles that cover a field."""

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from layouts import add_blocks, write_superbench
from torch.utils.data import DataLoader

from neuralop_irno.data.patches import Crops, Tiles, Whole
from neuralop_irno.data.readers.superbench import ERA5, SuperBench, coarse, fine
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.splits import load_splits
from neuralop_irno.domain.grid import GridDomain


def array(folder: Path, part: str, year: int) -> Any:
    with h5py.File(folder / part / f"{year}.h5") as file:
        return torch.from_numpy(file["fields"][...])


def test_whole_fields_lose_the_last_row_and_are_scaled_field_by_field(tmp_path: Path) -> None:
    data = SuperBench(write_superbench(tmp_path), ("test_1",), factor=8, upsample=False)
    assert (data.grid, len(data)) == ((32, 48), 5)
    raw = torch.cat([array(tmp_path, "test_1", 2008), array(tmp_path, "test_1", 2009)])[:, :, :-1]
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (ERA5.mean, ERA5.std))
    for index in range(5):
        torch.testing.assert_close(data[index]["y"], (raw[index] - mean) / std)
        assert data[index]["x"].shape == (3, 4, 6)
    torch.testing.assert_close(data.scaling.undo(data[3]["y"][None])[0], raw[3])
    assert data.padding == ("replicate", "circular")  # longitude closes on itself
    assert data.metric == "rfne"
    assert data.fields[1] == "temperature_2m"


def test_the_real_grid_at_both_factors(tmp_path: Path) -> None:
    write_superbench(tmp_path, grid=(721, 1440), counts=(1,))
    for factor in (8, 16):
        pair = SuperBench(tmp_path, ("test_1",), factor, upsample=False)[0]
        assert pair["y"].shape == (3, 720, 1440)
        assert pair["x"].shape == (3, 720 // factor, 1440 // factor)
    tiles = Tiles(128)
    assert tiles.count((720, 1440)) == 6 * 12


def test_rows_have_the_measure_of_their_latitude_in_crops_and_whole_fields(tmp_path: Path) -> None:
    folder, view = write_superbench(tmp_path), Crops(size=16, each=2, seed=1)
    assert "measure" not in SuperBench(folder, ("train",), 8)[0]
    whole = SuperBench(folder, ("train",), 8, by_area=True)[0]["measure"]
    degrees = 90 - torch.arange(32) * (180 / 32)  # of 33 rows the last is cut off
    cosine = torch.deg2rad(degrees).cos()[:, None].clamp(min=0)
    torch.testing.assert_close(whole / whole.max(), cosine, rtol=1e-5, atol=1e-6)
    crops = load_splits(
        {"name": "superbench", "folder": str(folder), "crop": 16, "crops": 2, "seed": 1, "by_area": True}
    )["train"]
    row, _ = view.corner(crops.grid, 0, 1)
    assert torch.equal(crops[1]["measure"], whole[row : row + 16])
    batch = next(iter(DataLoader(crops, batch_size=4)))
    domain = GridDomain.of_sample(batch["y"], batch)
    torch.testing.assert_close(domain.norm(torch.ones_like(batch["y"])), torch.ones(4))


@pytest.mark.parametrize("low", ["bicubic", "uniform", "noisy_uniform"])
def test_coarse_fields(low: str, tmp_path: Path) -> None:
    noise = 0.1 if low == "noisy_uniform" else 0.0
    data = SuperBench(
        write_superbench(tmp_path, (129, 160)), ("train",), 4, low, noise, upsample=False, seed=3
    )
    x, y = data[1]["x"], data[1]["y"]
    if low == "bicubic":  # a plane stays one, away from the edges
        slope = torch.arange(64.0).expand(1, 64, 64)
        torch.testing.assert_close(coarse(slope, 4)[..., 3:-3], 1.5 + slope[:, ::4, ::4][..., 3:-3])
        torch.testing.assert_close(x, coarse(y, 4))
    else:
        difference = x - y[:, ::4, ::4]
        assert difference.std().item() == pytest.approx(noise, rel=0.1)
    again = data[1]["x"]
    assert torch.equal(again, x)  # noise too
    if noise:
        assert not torch.equal(data[0]["x"] - data[0]["y"][:, ::4, ::4], x - y[:, ::4, ::4])


RESIZED = [
    [6.74618, 6.65244, 6.48686, 6.61661],
    [10.32905, 10.55602, 10.55974, 10.29798],
    [14.30215, 14.38966, 14.41384, 14.53294],
]
"""What ``Resize((3, 4), BICUBIC, antialias=True)`` of torchvision 0.28 gave for the field below."""


def test_coarse_fields_are_those_of_superbenchs_resize(tmp_path: Path) -> None:
    row, column = torch.meshgrid(torch.arange(13.0), torch.arange(16.0), indexing="ij")
    (tmp_path / "train").mkdir()
    with h5py.File(tmp_path / "train/2008.h5", "w") as file:
        file["fields"] = ((7 * row + 3 * column) % 11 + row)[None, None].numpy()
    data = SuperBench(tmp_path, factor=4, upsample=False, scaling=Scaling.none(1), fields=["wind"])
    torch.testing.assert_close(data[0]["x"], torch.tensor([RESIZED]), rtol=0, atol=1e-5)


def test_upsampled_x_is_the_bicubic_baseline(tmp_path: Path) -> None:
    folder = write_superbench(tmp_path)
    low, high = (SuperBench(folder, ("train",), 8, upsample=up)[2] for up in (False, True))
    assert torch.equal(high["x"], fine(low["x"], 8))
    assert high["x"].shape == high["y"].shape
    flat = torch.full((1, 4, 4), 2.5)
    torch.testing.assert_close(fine(coarse(flat, 2), 2), flat)


def test_crops_are_eight_of_each_field_and_the_same_every_time(tmp_path: Path) -> None:
    folder = write_superbench(tmp_path)
    view = Crops(size=16, each=8, seed=1)
    data = SuperBench(folder, ("train",), 8, view=view, upsample=False)
    whole = SuperBench(folder, ("train",), 8)
    assert len(data) == 8 * 5
    corners = set()
    for index in range(len(data)):
        field, place = divmod(index, 8)
        row, column = view.corner(data.grid, field, place)
        corners.add((field, row, column))
        y = data[index]["y"]
        assert torch.equal(y, whole[field]["y"][:, row : row + 16, column : column + 16])
        assert torch.equal(data[index]["x"], coarse(y, 8))  # of the crop, as networks are trained
    assert len(corners) > 30
    assert all(0 <= row <= 16 and 0 <= column <= 32 for _, row, column in corners)
    assert data.padding == ("replicate", "replicate")  # a crop does not close on itself
    other = SuperBench(folder, ("train",), 8, view=Crops(16, 8, seed=2))
    assert not torch.equal(other[0]["y"], data[0]["y"])


@pytest.mark.parametrize(("grid", "size"), [((32, 48), 16), ((32, 48), 24), ((5, 7), 3), ((4, 4), 4)])
def test_tiles_cover_a_field_and_stitch_back_to_it(grid: tuple[int, int], size: int) -> None:
    field = torch.randn(2, *grid, dtype=torch.float64)
    tiles = Tiles(size)
    patches = []
    for place in range(tiles.count(grid)):
        row, column = tiles.corner(grid, 0, place)
        patches.append(field[:, row : row + size, column : column + size])
    torch.testing.assert_close(tiles.stitch(torch.stack(patches), grid), field)
    assert tiles.count(grid) == -(-grid[0] // size) * -(-grid[1] // size)


def test_patches_of_a_set_are_predicted_one_by_one_and_put_together(tmp_path: Path) -> None:
    folder = write_superbench(tmp_path)
    tiles = Tiles(16)
    data = SuperBench(folder, ("test_2",), 8, view=tiles, upsample=False)
    whole = SuperBench(folder, ("test_2",), 8)
    count = tiles.count(data.grid)
    patches = torch.stack([data[3 * count + place]["y"] for place in range(count)])
    torch.testing.assert_close(tiles.stitch(patches, data.grid), whole[3]["y"])
    with pytest.raises(ValueError, match=r"^expected patches of shape \(6, C, 16, 16\), got \(5, 3, 16, 16"):
        tiles.stitch(patches[1:], data.grid)


def test_splits_by_name(tmp_path: Path) -> None:
    words = {"name": "superbench", "folder": str(write_superbench(tmp_path)), "crop": 16, "crops": 2}
    splits = load_splits(words)
    assert {split: len(data) for split, data in splits.items()} == {"train": 10, "valid": 20, "test": 5}
    assert splits["test"].view == Whole()
    stitched = load_splits({**words, "tiles": True, "test": "test_2", "factor": 16})["test"]
    assert stitched.view == Tiles(16)
    assert len(stitched) == 5 * 6
    loader = DataLoader(splits["train"], batch_size=4, num_workers=2)
    whole = torch.cat([batch["y"] for batch in loader])
    copy = pickle.loads(pickle.dumps(splits["train"]))
    assert torch.equal(whole, torch.stack([copy[i]["y"] for i in range(len(copy))]))


def test_nothing_is_read_that_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with h5py.File(tmp_path / "train/2008.h5", "w") as file:  # 600 MB when it is unpacked
        add_blocks(file, "fields", (50, 3, 721, 1440), (1, 1, 103, 160), 1.0)
    tracemalloc.start()
    data = SuperBench(tmp_path, view=Crops())
    assert data[8 * 50 - 1]["y"].shape == (3, 128, 128)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 3 * 128 * 128 * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": "bicubik"}, r"a kind of coarse field, got 'bicubik'; try 'bicubic'"),
        ({"noise": 0.1}, r"noise > 0 just for noisy_uniform, got noise=0.1 for low='bicubic'"),
        ({"low": "noisy_uniform"}, r"noise > 0 just for noisy_uniform, got noise=0.0"),
        ({"factor": 0}, r"factor from 1 to .*, got 0"),
        ({"crop": 12}, r"patches that 8 divides, got \(12, 12\); try size=64"),
        ({"crop": 40}, r"patches of 1 to 32 points a side, got 40; try size=32"),
        ({"fields": ["wind"]}, r"an array 'fields' \(N, 1, H, W\) in 2008.h5, got \(3, 3, 33, 48\)"),
        ({"mean": [0.0]}, r"one finite mean and std > 0 for each field, got mean \[0.0\], std \[3.7"),
    ],
)
def test_options_that_do_not_fit_teach(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    words = {"name": "superbench", "folder": str(write_superbench(tmp_path)), "crop": 16}
    with pytest.raises(ValueError, match=f"^expected {message}"):
        load_splits({**words, **change})


def test_files_that_do_not_fit_teach(tmp_path: Path) -> None:
    folder = write_superbench(tmp_path)
    with h5py.File(folder / "train/2010.h5", "w") as file:
        file["fields"] = np.zeros((1, 3, 17, 16), np.float32)
    with pytest.raises(ValueError, match=r"^expected fields on one grid, got \[\(17, 16\), \(33, 48\)\]"):
        SuperBench(folder)
    with h5py.File(folder / "test_1/2010.h5", "w") as file:
        file["LR_fields"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"^expected fields in 2010.h5, got no fields; try 'LR_fields'"):
        SuperBench(folder, ("test_1",))
