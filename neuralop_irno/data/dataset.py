"""Data as neuraloperator's batches are keyed: a dict with x and y, and the place of the sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.data.arrays import read_arrays
from neuralop_irno.data.burgers import Burgers
from neuralop_irno.data.finite import finite
from neuralop_irno.data.flow import PeriodicFlow
from neuralop_irno.data.kuramoto_sivashinsky import KuramotoSivashinsky
from neuralop_irno.data.sizes import device_of, fits, seed_of, three, whole
from neuralop_irno.data.turbulence import Turbulence
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import DATASETS


class FieldDataset(Dataset[dict[str, Tensor]]):
    """Pairs of fields held in memory.

    Args:
        x: inputs, ``(n, in_channels, *S)``.
        y: targets, ``(n, out_channels, *S)``.
        files: that the fields were read from.
        groups: the trajectory of each pair, ``(n,)``; None where every pair is independent of the others.

    Example:
        >>> data = FieldDataset(torch.zeros(3, 2, 8), torch.zeros(3, 1, 8))
        >>> sorted(data[0]), len(data)
        (['x', 'y'], 3)
    """

    def __init__(
        self, x: Tensor, y: Tensor, files: tuple[Path, ...] = (), groups: Tensor | None = None
    ) -> None:
        if len(x) != len(y):
            raise ValueError(expected("as many targets as inputs", f"{len(x)} x, {len(y)} y", "one y per x"))
        self.x, self.y, self.files, self.groups = x, y, files, groups

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "y": self.y[index]}


def windows(
    frames: Tensor, inputs: int = 1, outputs: int = 1, stride: int = 1, static: Tensor | None = None
) -> FieldDataset:
    """Cut trajectories into pairs: some frames, and those that follow them.

    Args:
        frames: ``(trajectories, T, *S)``.
        inputs: frames in x, as channels.
        outputs: frames in y, as channels.
        stride: frames between the starts of two windows.
        static: a field that does not change, ``S``: the last channel of x.

    Shapes:
        - x: ``(n, inputs [+ 1], *S)``; y: ``(n, outputs, *S)``

    Example:
        >>> data = windows(torch.arange(5.0).reshape(1, 5, 1), inputs=2, outputs=1)
        >>> [(pair["x"].flatten().tolist(), pair["y"].item()) for pair in data]
        [([0.0, 1.0], 2.0), ([1.0, 2.0], 3.0), ([2.0, 3.0], 4.0)]
    """
    _check_windows(frames.shape[1], inputs, outputs, stride)
    length = inputs + outputs
    starts = range(0, frames.shape[1] - length + 1, stride)
    cut = torch.stack([frames[:, s : s + length] for s in starts], 1).flatten(0, 1)
    x, y = cut[:, :inputs], cut[:, inputs:]
    if static is not None:
        x = torch.cat([x, static.expand(len(x), 1, *static.shape)], 1)
    groups = torch.arange(len(frames)).repeat_interleave(len(starts))
    return FieldDataset(x.contiguous(), y.contiguous(), groups=groups)


def _check_windows(frames: int, inputs: int, outputs: int, stride: int) -> None:
    for name, value in (("inputs", inputs), ("outputs", outputs), ("stride", stride)):
        if value < 1:
            raise ValueError(expected(f"{name} >= 1", value, f"{name}=1"))
    if frames < inputs + outputs:
        wanted = f"trajectories of at least {inputs + outputs} frames"
        raise ValueError(expected(wanted, frames, "fewer outputs"))


Splits = dict[str, FieldDataset]
SPLITS = ("train", "valid", "test")


@DATASETS.register("turbulence")
def turbulence(
    trajectories: Sequence[int] = (64, 8, 16),
    frames: int = 40,
    frame: float = 0.1,
    size: int = 32,
    resolution: int = 64,
    outputs: int = 4,
    stride: int = 1,
    viscosity: float = 4e-3,
    warmup: float = 4.0,
    seed: int = 0,
    device: str = "cpu",
) -> Splits:
    """Two-dimensional turbulence: from the vorticity now to its next frames.

    x holds the vorticity and the forcing, y the vorticity of the next ``outputs`` frames, all in units
    of the training set's standard deviation. With the forcing in x the problem is the same wherever the
    square begins. The splits are different flows, not different times of one flow.

    Args:
        trajectories: flows for training, validation and test.
        frames: snapshots of each.
        frame: the time between them.
        size: points a side.
        resolution: points a side that the solver works on.
        outputs: frames in y.
        stride: frames between the starts of two training windows.
        viscosity: the smaller, the finer the scales.
        warmup: time before the first snapshot.
        seed: of the flows.
        device: where the solver runs.
    """
    _check_windows(frames, 1, outputs, stride)  # before hours of solving
    flow = Turbulence(resolution, viscosity, device=device_of(device))
    fields = _splits(flow, trajectories, frames, frame, size, warmup, seed)
    scale = fields["train"].std()
    forcing = flow.grid.coarsen(flow.grid.transform(flow.forcing), size).cpu()
    return {
        split: windows(
            field / scale, 1, outputs, stride if split == "train" else outputs, forcing / forcing.std()
        )
        for split, field in fields.items()
    }


@DATASETS.register("burgers")
def burgers(
    trajectories: Sequence[int] = (64, 8, 16),
    frames: int = 20,
    frame: float = 0.1,
    size: int = 64,
    dim: int = 1,
    outputs: int = 1,
    viscosity: float = 0.02,
    seed: int = 0,
    device: str = "cpu",
) -> Splits:
    """Steepening waves in one, two or three dimensions: from one frame to the next ``outputs``.

    Args:
        trajectories: flows for training, validation and test.
        frames: snapshots of each.
        frame: the time between them.
        size: points a side.
        dim: 1, 2 or 3.
        outputs: frames in y.
        viscosity: the smaller, the steeper the fronts.
        seed: of the flows.
        device: where the solver runs.
    """
    _check_windows(frames, 1, outputs, outputs)
    fields = _splits(
        Burgers(size, dim, viscosity, device=device_of(device)), trajectories, frames, frame, size, 0.0, seed
    )
    return {split: windows(field, 1, outputs, outputs) for split, field in fields.items()}


@DATASETS.register("kuramoto_sivashinsky")
def kuramoto_sivashinsky(
    trajectories: Sequence[int] = (64, 8, 16),
    frames: int = 40,
    frame: float = 1.0,
    size: int = 64,
    length: float = 36.0,
    outputs: int = 1,
    warmup: float = 100.0,
    seed: int = 0,
    device: str = "cpu",
) -> Splits:
    """Chaos on a line: from one frame to the next ``outputs``.

    Args:
        trajectories: flows for training, validation and test.
        frames: snapshots of each.
        frame: the time between them.
        size: points.
        length: of the line.
        outputs: frames in y.
        warmup: time before the first snapshot.
        seed: of the flows.
        device: where the solver runs.
    """
    _check_windows(frames, 1, outputs, outputs)
    flow = KuramotoSivashinsky(size, length, device=device_of(device))
    fields = _splits(flow, trajectories, frames, frame, size, warmup, seed)
    return {split: windows(field, 1, outputs, outputs) for split, field in fields.items()}


@DATASETS.register("files")
def files(train: str, valid: str, test: str | None = None) -> Splits:
    """Fields from files with the arrays x and y: ``.npz`` or ``.safetensors``.

    Args:
        train: path of the training set.
        valid: of the validation set.
        test: of the test set; the validation set by default.
    """
    paths = {"train": train, "valid": valid, "test": test or valid}
    return {split: read_fields(path) for split, path in paths.items()}


def read_fields(path: str | os.PathLike[str]) -> FieldDataset:
    """The arrays x and y of an ``.npz`` or ``.safetensors`` file; nothing is unpickled."""
    source = Path(path)
    arrays = read_arrays(source)
    x, y = _field(arrays, "x", source), _field(arrays, "y", source)
    extra = sorted(arrays.keys() - {"x", "y"})
    if extra:  # positions, say: then x is no field on a grid
        hint = "a graph data set for fields on points, or a file of x and y"
        raise ValueError(expected(f"the arrays x and y alone in {source.name}", f"also {extra}", hint))
    return FieldDataset(x, y, (source,))


def _field(arrays: Mapping[str, Tensor], name: str, source: Path) -> Tensor:
    if name not in arrays:
        raise ValueError(
            expected(f"an array '{name}' in {source.name}", sorted(arrays), did_you_mean(name, arrays))
        )
    field = arrays[name]
    if field.is_complex() or field.dim() < 3 or not field.numel():
        got = f"{'complex' if field.is_complex() else 'real'} {tuple(field.shape)}"
        raise ValueError(
            expected(f"{name} in {source.name} as real (n, C, *S)", got, "an axis of channels, parts apart")
        )
    found: Tensor = finite(field.float(), f"{name} in {source.name}")
    return found


def load_splits(config: Mapping[str, Any]) -> Splits:
    """The data sets that a config names: ``{"name": "turbulence", "size": 32}``."""
    splits: Splits = DATASETS.build(config)
    for split, data in splits.items():
        if not len(data):
            name = config if isinstance(config, str) else config.get("name")
            wanted = f"samples in the {split} split of '{name}'"
            raise ValueError(expected(wanted, "none", "a larger data set"))
    return splits


def _splits(
    flow: PeriodicFlow,
    trajectories: Sequence[int],
    frames: int,
    frame: float,
    size: int,
    warmup: float,
    seed: int,
) -> dict[str, Tensor]:
    counts = three("trajectories", trajectories, (64, 8, 16))
    seed_of(seed)
    fits(sum(counts) * whole("frames", frames) * float(whole("size", size)) ** flow.grid.dim)
    return {
        split: flow.run(count, frames, frame, seed=3 * seed + place, warmup=warmup, size=size).cpu()
        for place, (split, count) in enumerate(zip(SPLITS, counts, strict=True))
    }
