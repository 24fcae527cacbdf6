"""Flip single bits of the frames in rollout files; every reading has to refuse, and none may return others.

python tests/reliability/flip_rollout.py 500
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from neuralop_irno import rollout
from neuralop_irno.data.mesh import square_with_holes
from neuralop_irno.rollouts import HDF5, PVD, VTKHDF, Zarr
from neuralop_irno.rollouts.files import check_file

KINDS: dict[str, Any] = {"h5": HDF5, "zarr": Zarr, "vtkhdf": VTKHDF, "pvd": PVD}
STEPS = 6


def half(u: torch.Tensor) -> torch.Tensor:
    return 0.5 * u


def half_on_mesh(data: Data) -> torch.Tensor:
    return 0.5 * data.x


def places_of(path: Path) -> list[tuple[Path, int, int]]:
    """(file, first byte, bytes) of the frames."""
    if path.suffix == ".pvd":
        return [(frame, 0, frame.stat().st_size) for frame in sorted(path.with_suffix(".vtus").glob("*.vtu"))]
    if path.is_dir():
        return [(chunk, 0, chunk.stat().st_size) for chunk in sorted((path / "frames").glob("c.*"))]
    import h5py

    with h5py.File(path) as file:
        frames = file["frames"]
        return [(path, frames.id.get_offset(), frames.nbytes)]


def flip_often(kind: str, flips: int, folder: Path, seed: int = 0) -> tuple[int, int]:
    """Flip bits one after the other.

    Returns:
        how many were refused, and how many changed no number (in a Zarr chunk's own header, in the text or
        the mesh of a ``.vtu``). No other way to be read is allowed.
    """
    draw, path = random.Random(seed), folder / f"run.{kind}"
    start = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(seed))
    if kind in ("vtkhdf", "pvd"):
        mesh = square_with_holes(0.5)
        x, pos, face = start[0, 0, : len(mesh.pos), None], torch.from_numpy(mesh.pos), mesh.triangles.T
        rollout(half_on_mesh, Data(x=x, pos=pos, face=torch.from_numpy(face)), STEPS, to=path)
    else:
        rollout(half, start, STEPS, to=path)
    file = KINDS[kind](path)
    whole, places = file.read().frames, places_of(path)
    refused = same = 0
    for _ in range(flips):
        place, first, size = draw.choice(places)
        content = place.read_bytes()
        changed = bytearray(content)
        changed[first + draw.randrange(size)] ^= 1 << draw.randrange(8)
        place.write_bytes(changed)
        try:
            assert torch.equal(file.read().frames, whole), "other numbers were read"
            same += 1
        except ValueError:
            if refused < 5:  # it reads everything too
                assert check_file(path) != []
            refused += 1
        finally:
            place.write_bytes(content)
    assert check_file(path) == []
    return refused, same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("flips", type=int, nargs="?", default=500)
    flips = parser.parse_args().flips
    with tempfile.TemporaryDirectory() as place:
        for kind in KINDS:
            refused, same = flip_often(kind, flips, Path(place))
            sys.stdout.write(f"{kind}: {flips} flips, {refused} refused, {same} without effect\n")


if __name__ == "__main__":
    main()
