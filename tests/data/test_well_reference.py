"""Our reader and The Well's own on the same files: the same bits.

The comparison itself runs where the-well is installed. What its reader, version 1.2.0, gave is recorded as
digests, against which ours is held everywhere.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import write_well
from torch import Tensor

from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.data.readers.well import Well

BOUNDARIES: dict[tuple[int, ...], tuple[str, ...]] = {
    (6, 5): ("PERIODIC", "OPEN"),
    (7,): ("WALL",),
    (4, 3, 5): ("OPEN", "WALL", "PERIODIC"),
}
CODES = {"zero": 0, "replicate": 1, "circular": 2}
SCALINGS = ("none", "zscore", "rms")
RECORDED: dict[tuple[str, tuple[int, ...]], str] = {
    ("none", (6, 5)): "e486d19eff750fdd",
    ("none", (7,)): "ab7f676d010e68e8",
    ("none", (4, 3, 5)): "9dde9325a9970080",
    ("zscore", (6, 5)): "dfcbd4565a342169",
    ("zscore", (7,)): "1b633de6b79927d5",
    ("zscore", (4, 3, 5)): "2f9d7efd0aa06383",
    ("rms", (6, 5)): "9865bf6100b58d4f",
    ("rms", (7,)): "adb1b3446db2051e",
    ("rms", (4, 3, 5)): "3b1a6792768d639e",
}
"""Of four frames to one."""


def digest(pairs: Iterable[dict[str, Tensor]]) -> str:
    whole = hashlib.sha256()
    for pair in pairs:
        for name in ("x", "y"):
            whole.update(pair[name].contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]


def ours(folder: Path, scaling: str, *windows: int) -> FrameWindows:
    inputs, outputs, step = windows
    return FrameWindows(Well(folder, "train", scaling, scalars=True), inputs, outputs, step=step)


def theirs(folder: Path, scaling: str, *windows: int) -> Any:
    data = pytest.importorskip("the_well.data", reason="the-well is not installed")
    from the_well.data.normalization import RMSNormalization, ZScoreNormalization

    inputs, outputs, step = windows
    return data.WellDataset(
        path=str(folder), well_split_name="train", n_steps_input=inputs, n_steps_output=outputs,
        min_dt_stride=step, max_dt_stride=step, use_normalization=scaling != "none",
        normalization_type={"none": None, "zscore": ZScoreNormalization, "rms": RMSNormalization}[scaling],
    )  # fmt: skip


def as_pair(sample: dict[str, Tensor]) -> dict[str, Tensor]:
    """Channels first, frames one after the other, then what is constant, then scalars as channels."""
    x, y = (sample[name].movedim(-1, 1).flatten(0, 1) for name in ("input_fields", "output_fields"))
    scalars = torch.cat([sample["constant_scalars"], sample["input_scalars"].flatten()])
    spread = scalars.reshape(-1, *[1] * (x.dim() - 1)).expand(-1, *x.shape[1:])
    return {"x": torch.cat([x, sample["constant_fields"].movedim(-1, 0), spread]), "y": y}


@pytest.mark.parametrize("windows", [(4, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize("grid", BOUNDARIES)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_sample_is_the_same(
    scaling: str, grid: tuple[int, ...], windows: tuple[int, int, int], tmp_path: Path
) -> None:
    folder = write_well(tmp_path, grid=grid, boundary=BOUNDARIES[grid])
    reference, pairs = theirs(folder, scaling, *windows), ours(folder, scaling, *windows)
    assert len(pairs) == len(reference)
    assert list(pairs.fields) == [name for names in reference.metadata.field_names.values() for name in names]
    samples = [reference[index] for index in range(len(reference))]
    for index, sample in enumerate(samples):
        for name, field in as_pair(sample).items():
            assert torch.equal(pairs[index][name], field)
        assert sample["boundary_conditions"].tolist() == [[CODES[word]] * 2 for word in pairs.padding]
    if windows == (4, 1, 1):
        assert digest(map(as_pair, samples)) == RECORDED[scaling, grid]


@pytest.mark.parametrize("grid", BOUNDARIES)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_sample_is_what_their_reader_gave(scaling: str, grid: tuple[int, ...], tmp_path: Path) -> None:
    pairs = ours(write_well(tmp_path, grid=grid, boundary=BOUNDARIES[grid]), scaling, 4, 1, 1)
    assert digest(pairs[index] for index in range(len(pairs))) == RECORDED[scaling, grid]
