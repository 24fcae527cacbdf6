"""Several processes write one rollout, each its own samples: the bits of one process, also after a stop."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import ONE_SENTENCE, Interrupted, graphs
from processes import together
from several_processes import OPTIONS, SAMPLES, START, STEPS, Growing, of_rank, work

from neuralop_irno import RolloutPart, Zarr, convert_rollout, open_rollout, rollout
from neuralop_irno.rollouts import Clock
from neuralop_irno.rollouts.files import check_file
from neuralop_irno.verify import verify


@pytest.fixture(scope="module")
def whole() -> Any:
    return rollout(Growing().eval(), START, STEPS, clock=Clock(step=0.5))


def fields_of(path: Path) -> dict[str, bytes]:
    """All that the parts share."""
    files = (
        file for file in path.rglob("*") if file.is_file() and "parts" not in file.relative_to(path).parts
    )
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def same(path: Path, whole: Any) -> None:
    found = Zarr(path).read()
    torch.testing.assert_close(found.frames, whole.frames, rtol=0, atol=0, equal_nan=True)
    assert found.lasted.tolist() == whole.lasted.tolist()
    assert found.endings == whole.endings
    assert check_file(path) == []


def test_processes_give_the_bits_of_one(whole: Any, tmp_path: Path) -> None:
    together(of_rank, 2, tmp_path / "two.zarr", [None, 2])
    same(tmp_path / "two.zarr", whole)
    for rank in range(3):  # three, one after the other, as the jobs of an array
        work(tmp_path / "three.zarr", RolloutPart(SAMPLES, rank, 3))
    same(tmp_path / "three.zarr", whole)
    work(tmp_path / "one.zarr", RolloutPart(SAMPLES, 0, 1))
    one, two, three = (fields_of(tmp_path / f"{name}.zarr") for name in ("one", "two", "three"))
    assert {name for name in one if one[name] != two[name]} == {"zarr.json"}  # the number of processes
    assert one.keys() == two.keys() == three.keys()
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_xarray_reads_it_whole_and_in_parts(whole: Any, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    path = tmp_path / "run.zarr"
    for rank in range(2):
        work(path, RolloutPart(SAMPLES, rank, 2))
    frames = whole.frames.transpose(0, 1).numpy()
    data = open_rollout(path)
    for chosen in (2, slice(1, 4), slice(4, 0, -2), slice(3, 3)):
        np.testing.assert_array_equal(data.v.isel(sample=chosen), frames[:, :, 1][:, chosen])
    assert data.ending.values.tolist() == [ending.name.lower() for ending in whole.endings]
    assert data.sizes == {"time": STEPS, "sample": SAMPLES, "y": 6, "x": 4, "start_step": 1}
    with xarray.open_zarr(path, chunks=None) as plain:
        np.testing.assert_array_equal(plain.u, frames[:, :, 0])
        assert plain.u.attrs["units"] == "m"
        np.testing.assert_array_equal(plain.time, [0.5, 1.0, 1.5, 2.0])
    convert_rollout(path, tmp_path / "run.h5")
    assert open_rollout(tmp_path / "run.h5").identical(data)


def test_frames_count_when_all_have_them(whole: Any, tmp_path: Path) -> None:
    path, parts = tmp_path / "run.zarr", [RolloutPart(SAMPLES, rank, 2) for rank in range(2)]
    work(path, parts[0])
    with pytest.raises(ValueError, match=r"of all 2 processes in run[.]zarr, got none of process 1"):
        Zarr(path).read()
    assert "none of process 1" in check_file(path)[0]
    with pytest.raises(Interrupted):
        work(path, parts[1], stop=2)
    assert open_rollout(path).sizes["time"] == Zarr(path).read().frames.shape[1] == 2
    work(path, parts[1])
    same(path, whole)
    assert [found.state for found in verify(path)] == ["ok"]
    chunk = path / "u/c.1.4.0.0"
    chunk.write_bytes(b"damaged")
    assert any("frame 1" in problem and "parts/000001" in problem for problem in check_file(path))
    (found,) = verify(path)
    assert (found.state, "parts/000001" in found.why) == ("damaged", True)


def test_a_process_that_ended_while_it_created_the_folder(whole: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    work(path, RolloutPart(SAMPLES, 0, 2))
    (path / "zarr.json").unlink()
    shutil.rmtree(path / "v")
    shutil.rmtree(path / "parts/000000")
    for rank in (1, 0):
        work(path, RolloutPart(SAMPLES, rank, 2))
    same(path, whole)


PART = RolloutPart(SAMPLES, 0, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda path: work(path, RolloutPart(SAMPLES, 0, 3)),
        lambda path: work(path, PART, steps=STEPS + 1),
        lambda path: work(path, RolloutPart(SAMPLES, 1, 2), steps=STEPS + 1),
        lambda path: work(path, RolloutPart(SAMPLES, 1, 2), units={"u": "km"}),
        lambda path: rollout(Growing(), START, STEPS, to=Zarr(path, existing="continue")),
        lambda path: rollout(Growing(), START, STEPS, to=Zarr(path, existing="overwrite")),
        lambda path: rollout(Growing(), START, STEPS, to=Zarr(path, part=PART)),
        lambda path: rollout(lambda data: data.x, graphs(1), 2, to=Zarr(path, part=PART)),
        lambda path: Zarr(path, existing="overwrite", part=PART),
        lambda path: RolloutPart(0, 0, 1),
        lambda path: RolloutPart(4, 2, 2),
    ],
)
def test_what_does_not_belong_together_is_refused(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    work(path, PART)
    before = fields_of(path)
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        call(path)
    assert fields_of(path) == before


def test_other_rollouts_and_other_models_are_refused(tmp_path: Path) -> None:
    rollout(Growing(), START, STEPS, to=tmp_path / "whole.zarr")
    with pytest.raises(ValueError, match="another kind of folder"):
        work(tmp_path / "whole.zarr", PART)
    path = tmp_path / "run.zarr"
    work(path, PART)
    part = RolloutPart(SAMPLES, 1, 2)
    other = Growing().train()
    rollout(other, START[part.rows], STEPS, clock=Clock(step=0.5), to=Zarr(path, part=part, **OPTIONS))
    with pytest.raises(ValueError, match=r"expected one model in all processes of run[.]zarr"):
        Zarr(path).read()
