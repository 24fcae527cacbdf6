"""Rollouts are evaluated frame by frame: arrays in files have the same scores and are not read whole."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from test_rollout_evaluation import ring
from torch import Tensor
from torch_geometric.data import Batch

from neuralop_irno import compare_rollouts, evaluate_rollout
from neuralop_irno.diagnostics.rollout_report import RolloutReport

GRAPHS = Batch.from_data_list([ring(n) for n in (9, 6, 12)])
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "grid": ((3, 5, 2, 8, 6), {}),
    "sphere": ((2, 4, 1, 6, 12), {"sphere": "equiangular"}),
    "meshes": ((27, 5, 2), {"graph": GRAPHS}),
}


class OneFrame:
    """An array that refuses to be read by more than one frame, and counts the reads of each."""

    def __init__(self, values: Tensor) -> None:
        self._values, self.shape = values.numpy(), tuple(values.shape)
        self.reads = [0] * self.shape[1]

    def __getitem__(self, place: Any) -> Any:
        _, time, *_ = place
        assert isinstance(time, int), "a slice of several frames"
        self.reads[time] += 1
        return self._values[place]


def pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(shape, generator=generator, dtype=torch.float64)
    frames = truth + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    frames[0, 3:] = torch.inf  # blows up
    return frames, truth


def same(one: RolloutReport, other: RolloutReport) -> None:
    assert one.to_plain() == other.to_plain()
    for name in ("predicted", "true"):
        torch.testing.assert_close(
            getattr(one.film, name), getattr(other.film, name), rtol=0, atol=0, equal_nan=True
        )


@pytest.mark.parametrize("case", CASES)
def test_one_frame_is_read_at_a_time(case: str) -> None:
    shape, options = CASES[case]
    frames, truth = pair(shape)
    counted = OneFrame(frames), OneFrame(truth), OneFrame(frames - truth)
    found = evaluate_rollout(counted[0], counted[1], spread=counted[2], **options)
    same(found, evaluate_rollout(frames, truth, spread=frames - truth, **options))
    # The first frame of each has the shape of the domain; the film reads one frame again.
    assert [max(each.reads[1:]) for each in counted] == [2, 3, 1]
    assert counted[0].reads[0] == 3
    both = compare_rollouts({"a": OneFrame(frames), "b": OneFrame(truth)}, OneFrame(truth), **options)
    same(both.reports["a"], evaluate_rollout(frames, truth, **options))


@pytest.mark.parametrize("kind", ["memmap", "big-endian", "h5py", "zarr", "dask", "xarray"])
@pytest.mark.parametrize("case", CASES)
def test_arrays_of_other_libraries_have_the_same_scores(case: str, kind: str, tmp_path: Path) -> None:
    shape, options = CASES[case]
    tensors = pair(shape)
    arrays = [opened(kind, values.numpy(), tmp_path / str(n)) for n, values in enumerate(tensors)]
    context: Any = torch.no_grad()
    if kind == "dask":
        context = pytest.importorskip("dask").config.set(scheduler="threads", num_workers=2)
    with context:
        found = evaluate_rollout(*arrays, **options)
    same(found, evaluate_rollout(*tensors, **options))


def opened(kind: str, values: Any, path: Path) -> Any:
    """The values as an array of a library."""
    if kind == "big-endian":
        return values.astype(">f8")
    if kind == "h5py":
        with h5py.File(path, "w") as file:
            file["u"] = values
        return h5py.File(path)["u"]
    if kind == "zarr":
        zarr = pytest.importorskip("zarr")
        return zarr.create_array(str(path), data=values, chunks=(len(values), 1, *values.shape[2:]))
    if kind == "dask":
        chunks = (1, 1, *values.shape[2:])
        return pytest.importorskip("dask.array").from_array(values, chunks=chunks)
    if kind == "xarray":
        return pytest.importorskip("xarray").DataArray(values)
    np.save(path.with_suffix(".npy"), values)
    return np.load(path.with_suffix(".npy"), mmap_mode="r")
