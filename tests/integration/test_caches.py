"""Caches: used where they are whole and belong to the question; computed again, with a warning, where not."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from neuralop_irno import cache, checkpoint
from neuralop_irno.data.solvers.ce_gauss import ce_gauss
from neuralop_irno.models.rigno.region_graph import RegionGraph
from neuralop_irno.models.rigno.store import GraphStore, fits
from neuralop_irno.spectrum.eigenpairs import eigenpairs
from neuralop_irno.spectrum.laplacian import graph_laplacian

POINTS = torch.rand(24, 2, generator=torch.Generator().manual_seed(0))
RING = torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6])


def region_graph(folder: Path) -> dict[str, Tensor]:
    return GraphStore({"levels": 2}, folder).graph_of(POINTS).tensors()


def flows(folder: Path) -> dict[str, Tensor]:
    splits = ce_gauss((1, 1, 1), points=8, resolution=16, frames=2, time=0.01, folder=str(folder))
    return {name: split.trajectories.u for name, split in splits.items()}


def modes(folder: Path) -> dict[str, Tensor]:
    found = eigenpairs(graph_laplacian(RING, 6), cache=folder)
    return {"values": torch.from_numpy(found.values), "vectors": torch.from_numpy(found.vectors)}


CACHES: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    "rigno": region_graph,
    "ce_gauss": flows,
    "modes": modes,
}


def deep(path: Path) -> None:
    header = '{"format": 2, "config": ' + "[" * 100_000
    path.write_bytes(save({"w": torch.ones(1)}, {"neuralop_irno": header}))


def unreadable(path: Path) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads every file")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "no safetensors": lambda path: path.write_bytes(b"\x80\x04N."),
    "other tensors": lambda path: checkpoint.write(path, {"w": torch.ones(1)}, checkpoint.read(path)[1]),
    "no config": lambda path: path.write_bytes(save({}, {"neuralop_irno": json.dumps({"format": 1})})),
    "a deep header": deep,
    "unreadable": unreadable,
    "a folder": a_folder,
}


def quietly(make: Callable[[Path], dict[str, Tensor]], folder: Path) -> dict[str, Tensor]:
    """What a cache gives, whether or not it warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(folder)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("make", CACHES.values(), ids=CACHES)
def test_a_damaged_cache_is_made_again(
    tmp_path: Path, make: Callable[[Path], dict[str, Tensor]], damage: Callable[[Path], Any]
) -> None:
    first = make(tmp_path)
    files = list(tmp_path.iterdir())
    assert files
    for path in files:
        damage(path)
    again = quietly(make, tmp_path)
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    if damage is not a_folder:
        kept = make(tmp_path)  # whole again: no warning
        assert all(torch.equal(kept[name], tensor) for name, tensor in first.items())


@pytest.mark.parametrize("make", [region_graph, flows])
def test_a_cache_of_other_data_is_not_used(tmp_path: Path, make: Callable[[Path], dict[str, Tensor]]) -> None:
    first = make(tmp_path / "own")
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "own").iterdir():
        tensors, config = checkpoint.read(path)
        other = dict.fromkeys(config, "another")
        checkpoint.write(tmp_path / "other" / path.name, {k: 0 * v for k, v in tensors.items()}, other)
    with pytest.warns(UserWarning, match="got one that was stored for other data"):
        again = make(tmp_path / "other")
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())


def test_the_graph_of_another_mesh_under_this_name_is_not_used(tmp_path: Path) -> None:
    other = POINTS + 1
    region_graph(tmp_path)
    GraphStore({"levels": 2}, tmp_path / "other").graph_of(other)
    (name,), (moved,) = tmp_path.glob("*.safetensors"), (tmp_path / "other").iterdir()
    shutil.copy(moved, name)
    with pytest.warns(UserWarning, match="got one that was stored for other data"):
        again = region_graph(tmp_path)
    assert all(
        map(torch.equal, again.values(), GraphStore({"levels": 2}).graph_of(POINTS).tensors().values())
    )


SPOILED: dict[str, Callable[[RegionGraph], dict[str, Tensor]]] = {
    "an edge that ends nowhere": lambda graph: {"p2r": graph.p2r + 24},
    "a negative end": lambda graph: {"r2p": graph.r2p - 1},
    "real edges": lambda graph: {"r2r": graph.r2r.float()},
    "fewer points": lambda graph: {"point_features": graph.point_features[:-1]},
    "fewer edges than features": lambda graph: {"p2r": graph.p2r[:, 1:]},
    "a hole": lambda graph: {"r2p_features": graph.r2p_features * torch.nan},
    "flat": lambda graph: {"p2r_features": graph.p2r_features.flatten()},
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_tensors_that_make_no_graph_are_not_used(spoil: Callable[[RegionGraph], dict[str, Tensor]]) -> None:
    graph = GraphStore({"levels": 2}).graph_of(POINTS)
    assert fits(graph.tensors(), 24)
    assert not fits({**graph.tensors(), **spoil(graph)}, 24)


def test_a_folder_that_cannot_be_written_to_warns_and_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert region_graph(tmp_path / "file" / "folder")


def test_what_contradicts_its_owner_is_not_recalled(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    cache.keep(path, {"w": torch.ones(2)}, {"size": (1, 2)})
    assert cache.recall(path, {"size": [1, 2], "added": 0}) is not None
    with pytest.warns(UserWarning, match=r"a.safetensors to belong here"):
        assert cache.recall(path, {"size": [1, 3]}) is None


def test_threads_share_a_store() -> None:
    store = GraphStore({"levels": 2}, remembered=1)
    meshes, errors = [POINTS + shift for shift in range(4)], []

    def look_up(start: int) -> None:
        try:
            for step in range(8):
                store.graph_of(meshes[(start + step) % 4])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=look_up, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_copies_of_a_store_have_locks_of_their_own() -> None:
    """Models are copied and pickled with their stores; a lock can be neither."""
    store = GraphStore({"levels": 2})
    graph = store.graph_of(POINTS)
    copied, pickled = copy.deepcopy(store), pickle.loads(pickle.dumps(store))
    for other in (copied, pickled):
        assert torch.equal(other.graph_of(POINTS).p2r, graph.p2r)
        other.graph_of(POINTS + 1)
    assert copied._known._lock is not store._known._lock
    assert len(store._known.values()) == 1
