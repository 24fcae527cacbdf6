"""Kill a rollout that streams to a file with SIGKILL at random moments, go on, and compare every bit.

    python tests/reliability/kill_rollout.py 100
    python tests/reliability/kill_rollout.py 10 --command
    python tests/reliability/kill_rollout.py 10 --command --kinds pvd --on meshes

With --command the command `irno rollout` is killed, see `kill_command`. Else a child is killed again and
again; the file is checked, and the rollout goes on, until it is finished; then the next rollout begins. The
parent itself never opens a file: Zarr keeps a thread, which children would lack.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import kill_command
import torch
from killing import child, seconds_of
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import Correction, IterativeRefiner, rollout
from neuralop_irno.data.mesh import square_with_holes
from neuralop_irno.rollouts import HDF5, PVD, VTKHDF, Clock, Known, Refine, Rollout, Window, Zarr
from neuralop_irno.rollouts.files import check_file
from neuralop_irno.rollouts.hold import remove

KINDS: dict[str, Any] = {"h5": HDF5, "zarr": Zarr, "vtkhdf": VTKHDF, "pvd": PVD}
CASES = [("h5", False), ("zarr", False), *((kind, True) for kind in KINDS)]
STEPS, PAUSE = 16, 0.005


class Base(nn.Module):
    """Two frames in, two frames out."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(PAUSE)
        return torch.tanh(1.1 * x + 0.1 * x.roll(1, -1)) + 1e-30 * x * x


class Halving(Correction):
    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return 0.5 * (torch.tanh(x) - h)


def refined(to: Any = None) -> Rollout:
    """Bundles of two frames, each call from a warm start: what is handed on has to be stored as well."""
    model = IterativeRefiner(Base(), Halving(), steps=2, alpha=0.7).eval()
    start = torch.linspace(-2, 2, 3 * 2 * 256, dtype=torch.float64).reshape(3, 2, 1, 256)
    start[1] *= 1e40  # this sample leaves on the way
    wall = torch.arange(256) < 2
    window, refine = Window(inputs=2, outputs=2), Refine(warm_start=True)
    return rollout(model, start, STEPS, window=window, refinement=refine, amend=Known(wall), to=to)


class Counted(nn.Module):
    """Each node from its neighbours. Every call adds a byte to a file, which a kill does not take back."""

    def __init__(self, log: Path | None) -> None:
        super().__init__()
        self._log = log

    def forward(self, data: Data) -> Tensor:
        if self._log is not None:
            with self._log.open("ab") as log:
                log.write(b".")
        time.sleep(PAUSE)
        source, target = data.edge_index
        weight = (data.pos[source] - data.pos[target]).norm(dim=1, keepdim=True)
        return torch.tanh(data.x + torch.zeros_like(data.x).index_add(0, target, weight * data.x[source]))


def on_mesh(to: Any = None, log: Path | None = None) -> Rollout:
    """Two meshes that move, one call for each frame."""
    parts = []
    for spacing in (0.3, 0.4):
        mesh = square_with_holes(spacing)
        pos, face = torch.from_numpy(mesh.pos), torch.from_numpy(mesh.triangles.T)
        x = torch.stack([pos[:, 0], -pos[:, 1]], 1)
        parts.append(Data(x=x, pos=pos, face=face, edge_index=torch.from_numpy(mesh.edges())))
    graph = Batch.from_data_list(parts)
    pos = graph.pos
    move = partial(moved, pos)
    return rollout(Counted(log), graph, STEPS, clock=Clock(step=0.1), move=move, to=to)


def moved(pos: Tensor, index: int, frame: Tensor) -> Tensor:
    return pos + 0.01 * index + 0.1 * frame


def check(kind: str, path: Path, whole: Tensor, frames: int) -> None:
    """The file is sound, holds the same bits, and at least so many frames."""
    assert check_file(path) == []
    found = KINDS[kind](path).read().frames
    assert found is not None
    assert found.shape[1] >= frames
    assert torch.equal(found.nan_to_num(7), whole[:, : found.shape[1]].nan_to_num(7))


def kill_often(kind: str, kills: int, folder: Path, seed: int = 0, mesh: bool = False) -> int:
    """Kill so many times, checking file and bits in between; returns how many rollouts were finished.

    On a mesh the calls of the model are counted: each kill costs one at most.
    """
    draw, log = random.Random(seed), folder.parent / f"{folder.name}.calls"
    work: Callable[[Any], Rollout] = partial(on_mesh, log=log) if mesh else refined
    whole = work(None).frames
    assert whole is not None
    path = folder / f"whole.{kind}"
    length = seconds_of(partial(work, KINDS[kind](path)))
    clear(folder)
    done = finished = 0
    while done < kills:
        path, before = folder / f"{finished}.{kind}", done
        file = KINDS[kind](path, existing="continue")
        log.write_bytes(b"")
        while done < kills and child(partial(work, file), draw.uniform(0.0, length)):
            done += 1
            if file.path.exists():
                child(partial(check, kind, path, whole, 1))
        child(partial(work, file))
        child(partial(check, kind, path, whole, STEPS))
        if mesh:
            assert STEPS <= len(log.read_bytes()) <= STEPS + done - before
        assert {place.name for place in folder.iterdir()} <= {path.name, file.path.name}
        clear(folder)
        finished += 1
    return finished


def kill_without_waiting(kind: str, mesh: bool, kills: int, folder: Path) -> int:
    """The same, in a process of its own, without waiting for the disk: a kill loses nothing written."""
    os.fsync = lambda handle: None
    return kill_often(kind, kills, folder, mesh=mesh)


def kill_commands(kills: int, kinds: list[str], places: list[str]) -> None:
    """Kill the command so many times for each kind of file, on a grid and on meshes."""
    for where in places:
        for kind in kinds:
            with tempfile.TemporaryDirectory() as place:
                late, finished = kill_command.kill_often(kind, where, kills, Path(place))
            counted = f"{kills} kills of {finished} commands, {late} after the first frame"
            sys.stdout.write(f"irno rollout, {kind}, {where}: {counted}, the same bits each time\n")
            sys.stdout.flush()


def clear(folder: Path) -> None:
    for place in folder.iterdir():
        remove(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=100)
    parser.add_argument("--command", action="store_true", help="kill the command irno rollout")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--on", nargs="*", choices=kill_command.RUNS, default=list(kill_command.RUNS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.command:
        kill_commands(options.kills, options.kinds, options.on)
        return
    kills = options.kills
    for kind, mesh in CASES:
        where = "meshes" if mesh else "a grid"
        if kind not in options.kinds or where not in options.on:
            continue
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "files"
            folder.mkdir()
            finished = kill_often(kind, kills, folder, mesh=mesh)
        sys.stdout.write(f"{kind}, {where}: {kills} kills of {finished} rollouts, the same bits each time\n")


if __name__ == "__main__":
    main()
