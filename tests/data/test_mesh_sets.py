"""Own mesh files as data sets: pairs and series of every format give the same numbers."""

from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
from small_meshes import SHAPES, SIX, TWO, cell_count, mesh_of, write
from torch import Tensor

from neuralop_irno import load_splits, read_mesh, write_vtkhdf
from neuralop_irno.data.mesh_windows import MeshWindows

TIMES = [0.0, 0.5, 2.0, 2.5]
KINDS = ["triangle", "wedge", "body mixed"]


def values(kind: str, on: str, time: int) -> dict[str, Any]:
    """A scalar and a vector of a time."""
    rows = len(SHAPES[kind][0]) if on == "nodes" else cell_count(kind)
    return {"T": time + np.arange(1.0, rows + 1), "U": time * np.arange(3.0 * rows).reshape(rows, 3)}


def frames(kind: str, on: str) -> list[meshio.Mesh]:
    return [mesh_of(kind, **{on: values(kind, on, time)}) for time in range(len(TIMES))]


def numbered(folder: Path, kind: str, on: str) -> str:
    for place, mesh in enumerate(frames(kind, on)):
        write(folder / f"run/frame_{place * 5}.vtu", mesh)  # frame_5 comes before frame_10
    return str(folder / "run")


def by_pattern(folder: Path, kind: str, on: str) -> str:
    numbered(folder, kind, on)
    return str(folder / "*/frame_*.vtu")


def pvd(folder: Path, kind: str, on: str) -> str:
    numbered(folder, kind, on)
    lines = [f'<DataSet timestep="{t}" part="0" file="run/frame_{5 * i}.vtu"/>' for i, t in enumerate(TIMES)]
    collection = f"<Collection>{''.join(lines[::-1])}</Collection>"
    (folder / "run.pvd").write_text(f'<VTKFile type="Collection" version="0.1">{collection}</VTKFile>')
    return str(folder / "run.pvd")


def xdmf(folder: Path, kind: str, on: str) -> str:
    path = str(folder / "run.xdmf")
    own = "point_data" if on == "nodes" else "cell_data"
    with meshio.xdmf.TimeSeriesWriter(path) as writer:
        whole = frames(kind, on)
        writer.write_points_cells(whole[0].points, whole[0].cells)
        for time, mesh in zip(TIMES, whole, strict=True):
            writer.write_data(time, **{own: getattr(mesh, own)})
    return path


def vtkhdf(folder: Path, kind: str, on: str) -> str:
    graph = read_mesh(write(folder / "mesh.vtu", frames(kind, on)[0])).graph(["T"])
    whole = [values(kind, on, time) for time in range(len(TIMES))]
    fields = {name: [torch.from_numpy(each[name]) for each in whole] for name in ("T", "U")}
    return str(write_vtkhdf(folder / "run.vtkhdf", graph, fields, TIMES))


FORMATS = {"folder": numbered, "pattern": by_pattern, "pvd": pvd, "xdmf": xdmf, "vtkhdf": vtkhdf}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # meshio writes the arrays of an XDMF series to the working directory


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("on", ["nodes", "cells"])
@pytest.mark.parametrize("form", FORMATS)
def test_series_of_every_format_give_the_same_windows(form: str, kind: str, on: str, tmp_path: Path) -> None:
    path = FORMATS[form](tmp_path, kind, on)
    options = {"x": ["T", "U"], "inputs": 2, "boundary": True}
    data = load_splits({"name": "mesh_files", "train": path, "valid": path, **options})["train"]
    assert isinstance(data, MeshWindows)
    assert data.fields == ("T", "U_0", "U_1", "U_2")
    whole = [np.column_stack([each["T"], each["U"]]) for each in (values(kind, on, t) for t in range(4))]
    for start in range(2):
        sample = data[start]
        assert sample.x[:, :8].tolist() == np.concatenate(whole[start : start + 2], 1).tolist()
        assert sample.x[:, 8].tolist() == [1] * sample.num_nodes
        assert sample.y.tolist() == whole[start + 2].tolist()
        assert sample.measure.sum().item() == pytest.approx(1)
        assert "cells" not in sample
    graph = data.trajectories[0]
    assert torch.equal(graph.x, torch.from_numpy(np.stack(whole, 1)).float())
    assert ("times" in graph) == (form not in ("folder", "pattern"))
    assert form in ("folder", "pattern") or graph.times.tolist() == TIMES
    assert {file.name for file in data.files} == {
        "folder": {f"frame_{n}.vtu" for n in (0, 5, 10, 15)}, "vtkhdf": {"run.vtkhdf"},
        "pvd": {"run.pvd", *(f"frame_{n}.vtu" for n in (0, 5, 10, 15))}, "xdmf": {"run.xdmf", "run.h5"},
    }[form.replace("pattern", "folder")]  # fmt: skip


def pairs(folder: Path, sizes: range = range(1, 7)) -> None:
    """Squares of several sizes."""
    for size in sizes:
        known = {"T": size * SIX[:, 0], "q": SIX, "next": size * SIX[:, 1], "wall": (SIX[:, 0] == 0) * 1}
        write(folder / f"m{size}.vtu", mesh_of("quad", known, scale=size))


def test_pairs_are_split_in_order_or_by_folders(tmp_path: Path) -> None:
    pairs(tmp_path / "all")
    common = {"name": "mesh_files", "x": "T", "y": "next", "static": ["q"], "tags": ["wall=1"]}
    cut = load_splits({**common, "train": "all/*.vtu", "split": [3, 1, 2]})
    whole = load_splits({**common, "train": ["all/m1.vtu", "all/m2.vtu", "all/m3.vtu"], "valid": "all"})
    assert [len(cut[name]) for name in ("train", "valid", "test")] == [3, 1, 2]
    assert len(whole["test"]) == 6
    for size, graph in zip((1, 2, 3), cut["train"], strict=True):
        known = np.column_stack([size * SIX[:, 0], SIX, SIX[:, 0] == 0])
        torch.testing.assert_close(graph.x, torch.from_numpy(known))
        assert graph.y[:, 0].tolist() == (size * SIX[:, 1]).tolist()
        assert torch.equal(graph.x, whole["train"][size - 1].x)
    assert cut["train"].resolution.extent is None  # squares of other sizes
    assert cut["valid"].resolution.extent == "fixed"
    assert repr(cut["train"]) == "MeshPairs(pairs: 3, x T; static q, wall=1; y next, on 6 nodes (quad))"


def test_one_series_is_split_by_frames(tmp_path: Path) -> None:
    long = tmp_path / "long"
    for place in range(7):
        write(long / f"f{place}.vtu", mesh_of("quad", {"T": place + SIX[:, 0]}))
    splits = load_splits({"name": "mesh_files", "train": str(long), "x": "T", "split": [3, 2, 2]})
    firsts = {name: [sample.x[0, 0].item() for sample in data] for name, data in splits.items()}
    assert firsts == {"train": [0, 1], "valid": [3], "test": [5]}


def test_folders_and_groups_are_trajectories_on_meshes_of_their_own(tmp_path: Path) -> None:
    for run, kind in (("a", "quad"), ("b", "triangle"), ("c", "hexahedron")):
        for place in range(3):
            known = {"T": place + SHAPES[kind][0][:, 0]}
            write(tmp_path / f"runs/{run}/f{place}.vtu", mesh_of(kind, known))
            write(tmp_path / f"flat/{run}_{place}.vtu", mesh_of(kind, known))
    for pattern in ("runs/*", "runs/*/*.vtu", "flat"):
        data = load_splits({"name": "mesh_files", "train": pattern, "x": "T", "split": [1, 1, 1]})
        assert [len(data[name][0].pos) for name in ("train", "valid", "test")] == [6, 6, 12]
        assert data["train"].groups.tolist() == [0, 0]


def moved(folder: Path, shift: float, height: float = 0.0) -> str:
    for place in range(3):
        points = SIX + place * np.array([shift, shift, height])
        mesh = meshio.Mesh(points, [("quad", np.array(SHAPES["quad"][1][0][1]))], {"T": SIX[:, 0]})
        write(folder / f"moved/f{place}.vtu", mesh)
    return "moved"


def test_moving_nodes_can_be_fields(tmp_path: Path) -> None:
    path = moved(tmp_path, 0.1)
    words = {"name": "mesh_files", "train": path, "valid": path}
    with pytest.raises(
        ValueError, match=r"^expected nodes that do not move, got others in frame 1 of f0.vtu"
    ):
        load_splits({**words, "x": "T"})["train"][0]
    sample = load_splits({**words, "x": ["T", "position"]})["train"][1]
    np.testing.assert_allclose(sample.x[:, 1:], (SIX + 0.1)[:, :2], rtol=1e-6)
    np.testing.assert_allclose(sample.y[:, 1:], (SIX + 0.2)[:, :2], rtol=1e-6)
    moved(tmp_path, 0.1, height=1.0)
    with pytest.raises(ValueError, match=r"^expected nodes in space, or in the plane z = 0, in all frames"):
        load_splits({**words, "x": ["T", "position"]})["train"][0]


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no valid": ({"valid": None}, r"valid or split, got neither"),
    "both": ({"split": [1, 1, 1]}, r"valid or split, got both"),
    "test": ({"split": [1, 1, 1], "valid": None, "test": "all"}, r"a split of train alone, got also test"),
    "no files": ({"train": "none*.vtu"}, r"files none\*.vtu, got none"),
    "no file": ({"train": "none.vtu"}, r"a mesh file, got no file at none.vtu"),
    "windows": ({"outputs": 2}, r"inputs, outputs and stride of a series, got"),
    "no field": ({"x": "TT"}, r"a field of this mesh, got 'TT'; try 'T'"),
    "no x": ({"x": []}, r"fields of the input, got none"),
    "too many": ({"split": [9, 1, 1], "valid": None}, r"at most 6 files in all"),
    "in space": ({"train": ["all", "space.vtu"]}, r"meshes that all lie in the plane z = 0, .* in space.vtu"),
    "decimals": ({"y": (), "train": "times"}, r"files with whole numbers, .*, got run_0.5.vtu,"),
    "series": ({"train": "run.pvd"}, r"one mesh in run.pvd, got a series of 4 frames; try its frames"),
    "a frame": ({"y": "T", "train": "all/m1.vtu"}, r"trajectories of at least 2 frames, got one of 1"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_options_that_do_not_fit_the_files_teach(mistake: str, tmp_path: Path) -> None:
    pairs(tmp_path / "all")
    pvd(tmp_path, "triangle", "nodes")
    write(tmp_path / "space.vtu", mesh_of("hexahedron", {"T": TWO[:, 0], "next": TWO[:, 1]}))
    for time in ("0.5", "0.25"):  # as numbers 0, 5 and 0, 25 they would be in the wrong order
        write(tmp_path / f"times/run_{time}.vtu", mesh_of("quad", {"T": SIX[:, 0]}))
    options, message = MISTAKES[mistake]
    with pytest.raises((ValueError, FileNotFoundError), match=f"^expected {message}"):
        load_splits({"name": "mesh_files", "train": "all", "valid": "all", "x": "T", "y": "next", **options})


def series(folder: Path, change: dict[int, meshio.Mesh]) -> str:
    for place in range(3):
        mesh = change.get(place, mesh_of("quad", {"T": SIX[:, 0], "c": SIX[:, 1]}))
        write(folder / f"s/f{place}.vtu", mesh)
    return "s"


CHANGES = {
    "other cells": (
        mesh_of("triangle", {"T": SIX[:, 0]}),
        "one mesh in all frames, got other cells in",
    ),
    "not constant": (
        mesh_of("quad", {"T": SIX[:, 0], "c": SIX[:, 0]}),
        "c that is constant in time, got",
    ),
    "not finite": (
        mesh_of("quad", {"T": SIX[:, 0] * np.nan, "c": SIX[:, 1]}),
        "T in frame 2 of f0.vtu .. to be",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_frames_that_are_not_of_one_series_teach(change: str, tmp_path: Path) -> None:
    mesh, message = CHANGES[change]
    path = series(tmp_path, {2: mesh})
    data = load_splits({"name": "mesh_files", "train": path, "valid": path, "x": "T", "static": "c"})["train"]
    with pytest.raises(ValueError, match=f"^expected {message}"):
        data[1]


PVDS = {
    "outside": ('<DataSet timestep="0" file="../a.vtu"/>', r"references in a.pvd to files of its own folder"),
    "absolute": (
        '<DataSet timestep="0" file="/else/a.vtu"/>',
        r"references in a.pvd to files of its own",
    ),
    "no time": ('<DataSet file="a.vtu"/>', r"a time for each frame of a.pvd, got None"),
    "copies": (
        '<DataSet timestep="0" file="a.vtu"/><DataSet timestep="0" part="1" file="a.vtu"/>',
        r"each cell in one part of a.pvd, got 2 quad cells in several; try writing it without ghost cells",
    ),
    "empty": ("", r"a file for each time in a.pvd, got none"),
    "cut": ("<", r"a mesh that meshio reads in a.pvd"),
    "entity": ("&secret;", r"a mesh that meshio reads in a.pvd, got undefined entity"),
    "missing": ('<DataSet timestep="0" file="a.vtu"/>', r"a mesh file, got no file at"),
}


@pytest.mark.parametrize("case", PVDS)
def test_lists_of_files_stay_in_their_folder(case: str, tmp_path: Path) -> None:
    lines, message = PVDS[case]
    (tmp_path / "in").mkdir()
    for folder in (tmp_path, *([tmp_path / "in"] if case == "copies" else [])):
        write(folder / "a.vtu", mesh_of("quad", {"T": SIX[:, 0]}))
    head = '<!DOCTYPE x [<!ENTITY secret SYSTEM "../a.vtu">]>' if case == "entity" else ""
    (tmp_path / "in/a.pvd").write_text(f"{head}<VTKFile><Collection>{lines}</Collection></VTKFile>")
    with pytest.raises((ValueError, FileNotFoundError), match=f"^expected {message}"):
        load_splits({"name": "mesh_files", "train": "in/a.pvd", "valid": "in/a.pvd", "x": "T"})


def test_samples_that_do_not_fit_in_memory_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuralop_irno.data.readers.mesh_samples.KEPT_BYTES", 1)
    pairs(tmp_path / "all", range(1, 4))
    path = pvd(tmp_path, "triangle", "nodes")
    data = load_splits({"name": "mesh_files", "train": "all", "valid": "all", "x": "T", "y": "next"})["train"]
    windows = load_splits({"name": "mesh_files", "train": path, "valid": path, "x": "T"})["train"]
    first: list[Tensor] = [data[0].x, windows[0].x]
    assert data[2].x.max() == 3
    assert windows[2].x[0, 0] == 3
    assert all(torch.equal(*both) for both in zip(first, [data[0].x, windows[0].x], strict=True))
