"""Our reader and The Well's own on the same files: the same bits. Runs where the-well is installed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import write_well

from neuralop_irno.data.frames import FrameWindows
from neuralop_irno.data.well import Well

pytest.importorskip("the_well", reason="pip install the-well, which wants an old fsspec")
from the_well.data import WellDataset
from the_well.data.normalization import RMSNormalization, ZScoreNormalization

NORMALISATION = {"none": None, "zscore": ZScoreNormalization, "rms": RMSNormalization}
CODES = {"zero": 0, "replicate": 1, "circular": 2}


def channels_first(fields: torch.Tensor) -> torch.Tensor:
    """(T, *S, C) to (T C, *S)."""
    return fields.movedim(-1, 1).flatten(0, 1)


@pytest.mark.parametrize("scaling", NORMALISATION)
@pytest.mark.parametrize(
    ("grid", "boundary"),
    [((6, 5), ("PERIODIC", "OPEN")), ((7,), ("WALL",)), ((4, 3, 5), ("OPEN", "WALL", "PERIODIC"))],
)
@pytest.mark.parametrize(("inputs", "outputs", "step"), [(4, 1, 1), (1, 2, 2)])
def test_every_sample_is_the_same(
    scaling: str, grid: Any, boundary: Any, inputs: int, outputs: int, step: int, tmp_path: Path
) -> None:
    folder = write_well(tmp_path, grid=grid, boundary=boundary)
    theirs = WellDataset(
        path=str(folder), well_split_name="train", n_steps_input=inputs, n_steps_output=outputs,
        min_dt_stride=step, max_dt_stride=step, use_normalization=scaling != "none",
        normalization_type=NORMALISATION[scaling],
    )  # fmt: skip
    data = Well(folder, "train", scaling, scalars=True)
    ours = FrameWindows(data, inputs, outputs, step=step)
    assert len(ours) == len(theirs)
    assert list(data.fields) == [name for names in theirs.metadata.field_names.values() for name in names]
    for index in range(len(ours)):
        sample, pair = theirs[index], ours[index]
        scalars = torch.cat([sample["constant_scalars"], sample["input_scalars"].flatten()])
        x = torch.cat([
            channels_first(sample["input_fields"]),
            sample["constant_fields"].movedim(-1, 0),
            scalars.reshape(-1, *[1] * len(grid)).expand(-1, *grid),
        ])  # fmt: skip
        assert torch.equal(pair["x"], x)
        assert torch.equal(pair["y"], channels_first(sample["output_fields"]))
        assert sample["boundary_conditions"].tolist() == [[CODES[word]] * 2 for word in data.padding]
