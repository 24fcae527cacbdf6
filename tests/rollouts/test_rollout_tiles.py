"""Several processes write one sample, each its own tile: the bytes of one process, also after a stop."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import ONE_SENTENCE, Interrupted
from processes import together
from test_rollout_parts import fields_of
from tiled_rollouts import OPTIONS, STEPS, of_rank, tiled

from neuralop_irno import RolloutPart, Zarr, open_rollout
from neuralop_irno.rollouts.files import check_file

KINDS = sorted(OPTIONS)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one process that knows of no parts."""
    path = tmp_path_factory.mktemp(kind) / "plain.zarr"
    tiled(kind, path)
    return path


def same(path: Path, plain: Path) -> None:
    """All that the processes share has the bytes of the file of one process, and reads as it does."""
    ours, theirs = fields_of(path), fields_of(plain)
    assert {name: ours[name] for name in ours if name != "zarr.json"} == {
        name: theirs[name] for name in ours if name != "zarr.json"
    }
    found, whole = Zarr(path).read(), Zarr(plain).read()
    assert torch.equal(found.frames, whole.frames)
    assert found.lasted.tolist() == whole.lasted.tolist()
    assert check_file(path) == []
    assert [file for file in path.rglob(".*") if file.is_file()] == []


@pytest.mark.parametrize("world", [1, 2, 3])
def test_tiles_have_the_bytes_of_one_process(kind: str, world: int, plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    for rank in reversed(range(world)):
        tiled(kind, path, RolloutPart(1, rank, world))
    same(path, plain)


def test_processes_at_once(tmp_path: Path) -> None:
    tiled("plane", tmp_path / "plain.zarr")
    assert together(of_rank, 3, "plane", tmp_path / "run.zarr", [None, 2, 3]) == [[STEPS]] * 3
    same(tmp_path / "run.zarr", tmp_path / "plain.zarr")


@pytest.mark.parametrize("stops", sorted(set(permutations([1, 2, 3], 2))))
def test_stopped_processes_go_on_with_the_same_bytes(
    kind: str, stops: tuple[int, int], plain: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.zarr"
    for rank, stop in enumerate(stops):
        with pytest.raises(Interrupted):
            tiled(kind, path, RolloutPart(1, rank, 2), stop=stop)
    assert Zarr(path).read().frames.shape[1] == min(stops)
    for rank in range(2):
        tiled(kind, path, RolloutPart(1, rank, 2))
    same(path, plain)


def test_more_processes_than_samples(tmp_path: Path) -> None:
    tiled("plane", tmp_path / "one.zarr", RolloutPart(2, 0, 1), samples=2)
    for rank in range(5):
        tiled("plane", tmp_path / "five.zarr", RolloutPart(2, rank, 5), samples=2)
    one, five = (fields_of(tmp_path / f"{name}.zarr") for name in ("one", "five"))
    assert {name for name in one if one[name] != five[name]} == {"zarr.json"}  # the number of processes
    assert one.keys() == five.keys()
    assert torch.equal(Zarr(tmp_path / "one.zarr").read().frames, Zarr(tmp_path / "five.zarr").read().frames)


def test_xarray_reads_tiles_whole_and_in_parts(kind: str, plain: Path, tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    for rank in range(2):
        tiled(kind, tmp_path / "run.zarr", RolloutPart(1, rank, 2))
    data, whole = open_rollout(tmp_path / "run.zarr"), open_rollout(plain)
    assert data.identical(whole)
    dim = {"plane": "b", "box": "z", "mesh": "node"}[kind]
    name = next(iter(data.data_vars))
    for chosen in (2, slice(1, 3), slice(3, 0, -2), slice(1, 1)):
        np.testing.assert_array_equal(data[name].isel({dim: chosen}), whole[name].isel({dim: chosen}))


@pytest.mark.parametrize("options", [{"chunks": None, "shards": None}, {"shards": None}])
@pytest.mark.parametrize("kind_of", KINDS)
def test_one_file_of_a_field_is_not_written_by_several(
    kind_of: str, options: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"{ONE_SENTENCE[:-1]}"):
        tiled(kind_of, tmp_path / "run.zarr", RolloutPart(1, 0, 2), **options)
    assert list(tmp_path.iterdir()) == []


def test_more_processes_than_files_and_more_meshes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="for each of the 4 processes"):
        tiled("plane", tmp_path / "run.zarr", RolloutPart(1, 0, 4))
    with pytest.raises(ValueError, match="one graph that processes write in tiles"):
        tiled("mesh", tmp_path / "run.zarr", RolloutPart(2, 0, 2))
