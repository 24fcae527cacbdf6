"""Meshes that move: the model and the files have the mesh of each frame."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import Breaking, Interrupted
from mesh_cases import MESHES, Spreading, meshes, triangles

from neuralop_irno import open_rollout, rollout
from neuralop_irno.domain.elements import lumped_measure
from neuralop_irno.rollouts import HDF5, PVD, VTKHDF, Clock, Zarr
from neuralop_irno.rollouts.files import check_file

KINDS: dict[str, Any] = {"h5": HDF5, "zarr": Zarr, "vtkhdf": VTKHDF, "pvd": PVD}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def drift(graph: Any) -> Any:
    """Positions that follow the frame: no state beside it."""
    pos = graph.pos
    return lambda index, frame: pos + 0.1 * (index + 1) + 0.05 * frame[:, :1]


def flip(graph: Any) -> Any:
    """In every other frame the nodes of each cell and edge are those of the reversed lists."""
    face, edges = graph.face, graph.edge_index

    def move(index: int, frame: torch.Tensor) -> dict[str, torch.Tensor]:
        return (
            {"face": face.flip(0), "edge_index": edges[:, ::2]}
            if index % 2
            else {"face": face, "edge_index": edges}
        )

    return move


MOVES = {"positions": drift, "topology": flip}


@pytest.mark.parametrize("make", MESHES)
def test_a_mesh_that_stays_has_the_bits_of_one_without_move(make: str) -> None:
    graph = MESHES[make]()
    parts = {"pos": graph.pos.clone(), "face": graph.face.clone(), "edge_index": graph.edge_index.clone()}
    plain = rollout(Spreading(), graph, 4)
    for move in (lambda index, frame: graph.pos.clone(), lambda index, frame: parts):
        assert torch.equal(rollout(Spreading(), graph, 4, move=move).frames, plain.frames)


@pytest.mark.parametrize("make", MESHES)
@pytest.mark.parametrize("name", MOVES)
def test_a_moved_rollout_is_single_calls_on_the_mesh_of_each_frame(make: str, name: str) -> None:
    graph = MESHES[make]()
    move, frame, parts = MOVES[name](graph), graph.x, {}
    found = rollout(Spreading(), graph, 4, move=move).frames
    for index in range(4):
        here = graph.clone()
        for part, value in parts.items():
            here[part] = value
        here.x = frame
        frame = Spreading()(here)
        assert torch.equal(found[:, index], frame)
        moved = move(index, frame)
        parts = moved if isinstance(moved, dict) else {"pos": moved}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_the_mesh_of_each_frame_and_are_continued(kind: str, name: str, tmp_path: Path) -> None:
    graph, path, clock = meshes(), tmp_path / f"run.{kind}", Clock(step=0.5)
    move = MOVES[name](graph)
    whole = rollout(Spreading(), graph, 4, move=move, clock=clock).frames
    with pytest.raises(Interrupted):
        rollout(Spreading(), graph, 4, move=move, clock=clock, to=Breaking(KINDS[kind](path), 2))
    rollout(Spreading(), graph, 4, move=move, clock=clock, to=KINDS[kind](path, existing="continue"))
    assert torch.equal(KINDS[kind](path).read().frames, whole)
    assert check_file(path) == []
    data = open_rollout(path)
    for index in range(4):
        if name == "positions":
            pos = move(index, whole[:, index])
            np.testing.assert_array_equal(np.stack([data.x[index], data.y[index]], 1), pos)
            np.testing.assert_array_equal(data.measure[index], lumped_measure(pos, graph.face))
        else:
            np.testing.assert_array_equal(data.face[index].values.T, move(index, whole[:, 0])["face"])


def test_samples_that_leave_do_not_move_the_others(tmp_path: Path) -> None:
    graph = meshes(1)
    graph.x[graph.batch == 1] = 1e200

    def square(data: Any) -> torch.Tensor:
        return torch.where(data.x.abs() > 10, data.x**2, 0.5 * data.x) + 0 * data.pos[:, :1]

    move = drift(graph)
    path = tmp_path / "run.zarr"
    run = rollout(square, graph, 4, move=move, to=path)
    assert run.lasted.tolist() == [4, 0]
    only = triangles(0.4, 1)
    alone = rollout(square, only, 4, move=drift(only))
    assert torch.equal(Zarr(path).read().frames[graph.batch == 0], alone.frames)


BAD: dict[str, Any] = {
    "a graph beside move, got a grid": lambda: rollout(
        lambda u: u, torch.ones(1, 1, 4), 2, move=lambda index, frame: frame
    ),
    "a part of a moving mesh, got 'position'": lambda: go(lambda index, frame: {"position": frame}),
    "pos of shape .* in every frame": lambda: go(lambda index, frame: frame[:3]),
    "the parts .*'face'.* in every frame": lambda: go(
        lambda index, frame: triangles().pos if index else {"face": triangles().face}
    ),
    "a graph with measure, which moves": lambda: go(lambda index, frame: {"measure": frame[:, 0]}),
    "parallel=None with move": lambda: rollout(
        Spreading(), triangles(), 2, move=lambda index, frame: frame, parallel=2
    ),
}


def go(move: Any) -> None:
    rollout(Spreading(), triangles(), 3, move=move)


@pytest.mark.parametrize("message", BAD)
def test_what_does_not_fit_is_refused(message: str) -> None:
    with pytest.raises(ValueError, match=f"expected {message}"):
        BAD[message]()


def test_another_number_of_cells_is_refused_by_files_and_frames_before_it_stay(tmp_path: Path) -> None:
    graph = triangles()

    def move(index: int, frame: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"face": graph.face[:, index // 2 :]}

    with pytest.raises(ValueError, match="cells of the same types in every frame"):
        rollout(Spreading(), graph, 4, move=move, to=tmp_path / "run.zarr")
    assert Zarr(tmp_path / "run.zarr").read().frames.shape[1] == 2
