"""Every kind of rollout file on every kind of domain: the same bits, names, and what other programs open."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from cases import ONE_SENTENCE, Breaking, Interrupted, graphs, point_model
from mesh_cases import MESHES, Spreading, triangles

from neuralop_irno import Ending, IterativeRefiner, open_rollout, rollout
from neuralop_irno.rollouts import HDF5, PVD, VTKHDF, Clock, Zarr
from neuralop_irno.rollouts.files import check_file, sink_of
from neuralop_irno.verify import verify

KINDS: dict[str, Any] = {"h5": HDF5, "zarr": Zarr, "vtkhdf": VTKHDF, "pvd": PVD}
CLOCK = Clock(step=0.5)
TIMES = [0.5, 1.0, 1.5]


def grid(*shape: int) -> torch.Tensor:
    return torch.randn(2, 2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


DOMAINS: dict[str, Callable[[], Any]] = {
    "line": lambda: grid(7),
    "plane": lambda: grid(5, 4),
    "space": lambda: grid(3, 4, 2),
    "points": lambda: graphs(2),
    **MESHES,
}
UNNAMED, NAMED = {}, {"fields": ["u", "v"], "units": {"u": "m s-1", "time": "s"}}
NAMED |= {"attributes": {"v": {"standard_name": "northward_wind", "long_name": "wind to the north"}}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def run(domain: str, to: Any = None, steps: int = 3) -> Any:
    start = DOMAINS[domain]()
    model = point_model(2, 2) if isinstance(start, torch.Tensor) else Spreading()
    return rollout(model, start, steps, clock=CLOCK, to=to)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_the_frames_and_is_extended_to_the_same_bits(
    kind: str, domain: str, named: bool, tmp_path: Path
) -> None:
    path, options = tmp_path / f"run.{kind}", NAMED if named else UNNAMED
    whole = run(domain, steps=5).frames
    with pytest.raises(Interrupted):
        run(domain, Breaking(KINDS[kind](path, **options), 2))
    assert torch.equal(KINDS[kind](path).read().frames, whole[:, :2])
    run(domain, KINDS[kind](path, existing="continue", **options))
    assert torch.equal(KINDS[kind](path).frame(2), whole[:, 2])
    run(domain, KINDS[kind](path, existing="continue", **options), steps=5)
    assert torch.equal(KINDS[kind](path).read().frames, whole)
    assert check_file(path) == []
    data = open_rollout(path)
    last = data.v.values if named else data.frames.isel(channel=1).values
    np.testing.assert_array_equal(last, whole[:, :, 1].transpose(0, 1))
    np.testing.assert_array_equal(data.time, [0.5, 1.0, 1.5, 2.0, 2.5])
    if named:
        assert data.u.attrs["units"] == "m s-1"
        assert data.v.attrs["standard_name"] == "northward_wind"
        with pytest.raises(ValueError, match="another fields, units or chunks"):
            run(domain, KINDS[kind](path, existing="continue"), steps=6)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_xarray_alone_opens_it_with_names_and_coordinates(kind: str, domain: str, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    path, start = tmp_path / f"run.{kind}", DOMAINS[domain]()
    on_grid = isinstance(start, torch.Tensor)
    axes = ["z", "y", "x"][3 - start.dim() + 2 :] if on_grid else []
    coordinates = (
        {axis: np.arange(float(n)) for axis, n in zip(axes, start.shape[2:], strict=False)} if axes else {}
    )
    units = {**NAMED["units"], **dict.fromkeys(axes, "m")}
    run(domain, KINDS[kind](path, **{**NAMED, "units": units}, coordinates=coordinates))
    if kind == "h5":
        pytest.importorskip("h5netcdf")
    data = (
        xarray.open_zarr(path, chunks=None)
        if kind == "zarr"
        else xarray.open_dataset(path, engine="h5netcdf")
    )
    with data:
        frames = run(domain).frames
        assert data.u.dims == ("time", "sample", *axes) if on_grid else ("time", "node")
        np.testing.assert_array_equal(data.u, frames[:, :, 0].transpose(0, 1))
        assert data.u.attrs["units"] == "m s-1"
        assert data.attrs["Conventions"].startswith("CF-")
        np.testing.assert_array_equal(data.u.time, TIMES)
        assert data.time.attrs["units"] == "s"
        for axis in axes:
            assert data[axis].attrs == {"axis": axis.upper(), "units": "m"}
            np.testing.assert_array_equal(data.u[axis], coordinates[axis])
        if not on_grid:
            np.testing.assert_array_equal(np.stack([data.u.x, data.u.y], 1), start.pos[:, :2])
        if domain in MESHES:
            np.testing.assert_array_equal(data.face.T, start.face)
            assert data[data.u.attrs["mesh"]].attrs["cf_role"] == "mesh_topology"
        assert data.ending.attrs["flag_meanings"].split()[0] == "completed"


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_samples_with_their_own_clocks_have_their_own_times(kind: str, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    path, clock = tmp_path / f"run.{kind}", Clock(start=torch.tensor([0.0, 1.0]), step=0.5)
    rollout(lambda x, t: 0.5 * x, grid(3), 2, clock=clock, to=path)
    if kind == "h5":
        pytest.importorskip("h5netcdf")
    engine = {"engine": "h5netcdf"} if kind == "h5" else {"engine": "zarr", "consolidated": False}
    with xarray.open_dataset(path, **engine) as data:
        assert data.frames.dims == ("step", "sample", "channel", "x")
        assert data.frames.time.values.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert open_rollout(path).frames.time.dims == ("sample", "step")


def test_frames_that_are_not_written_are_nan_for_xarray(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    with pytest.raises(Interrupted):
        run("plane", Breaking(Zarr(tmp_path / "run.zarr"), 2))
    with xarray.open_zarr(tmp_path / "run.zarr", chunks=None) as data:
        assert int(data.complete) == 2
        assert data.frames.isnull().all(("sample", "channel", "y", "x")).values.tolist() == [
            False,
            False,
            True,
        ]


def test_a_refiner_gives_the_coordinates_that_it_states(tmp_path: Path) -> None:
    def of(resolution: dict[str, Any], shape: tuple[int, ...]) -> Any:
        unet = {"name": "unet", "width": 2, "depth": 1, "padding": "circular"}
        if "sphere" in resolution:
            del unet["padding"]
        model = IterativeRefiner(
            lambda x: 0.5 * x, unet, steps=1, in_channels=1, out_channels=1, resolution=resolution
        ).eval()
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        rollout(model, torch.randn(1, 1, *shape), 1, to=path)
        return open_rollout(path)

    box = of({"lengths": [2.0, 4.0], "layout": "cells", "extent": "fixed"}, (4, 8))
    assert box.y.values.tolist() == [0.25, 0.75, 1.25, 1.75]
    assert float(box.x[0]) == 0.25
    globe = of({"sphere": "equiangular"}, (5, 8))
    assert globe.frames.dims[-2:] == ("lat", "lon")
    np.testing.assert_allclose(globe.lat, [90, 45, 0, -45, -90], atol=1e-12)
    assert globe.lon.values.tolist() == [0, 45, 90, 135, 180, 225, 270, 315]
    assert globe.lat.attrs["standard_name"] == "latitude"


@pytest.mark.parametrize("shards", [None, (2, 2), (4, 4)])
def test_a_chunk_of_zarr_is_read_without_its_neighbours(shards: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    start = grid(6, 5)
    rollout(point_model(2, 2), start, 2, to=Zarr(path, fields=["u", "v"], chunks=(2, 2), shards=shards))
    whole = Zarr(path).read().frames[:, 1, 1].numpy()
    files = {place: place.read_bytes() for place in path.glob("[uv]/c.*")}
    assert len(files) == 2 * 2 * {None: 1, (2, 2): 3 * 3, (4, 4): 2 * 2}[shards]
    data, part = open_rollout(path), {"step": 1, "sample": 0, "y": slice(2, 4), "x": slice(4, None)}
    keep = path / {None: "v/c.1.0.0.0", (2, 2): "v/c.1.0.1.2", (4, 4): "v/c.1.0.0.1"}[shards]
    for place in files.keys() - {keep, *path.glob("[uv]/c.0.*")}:
        place.unlink()
    np.testing.assert_array_equal(data.v[part], whole[0, 2:4, 4:])
    if shards != (2, 2):  # inside the file, too: the bytes of the first chunk are others
        keep.write_bytes(bytes(8) + files[keep][8:])
        np.testing.assert_array_equal(data.v[part], whole[0, 2:4, 4:])
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        data.v[part | {"x": slice(0, 2), "y": slice(0, 2)}].load()
    keep.write_bytes(files[keep][: len(files[keep]) // 2])
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        data.v[part].load()


@pytest.mark.parametrize("kind", ["h5", "vtkhdf"])
def test_a_chunk_of_hdf5_is_checked_without_its_neighbours(kind: str, tmp_path: Path) -> None:
    path, graph = tmp_path / f"run.{kind}", triangles()
    rollout(Spreading(), graph, 2, to=KINDS[kind](path, fields=["u", "v"], chunks=(4,)))
    whole = KINDS[kind](path).read().frames[:, 1, 0]
    with h5py.File(path, "r+") as file:
        file["u"][1, 2] += 1
    data = open_rollout(path)
    np.testing.assert_array_equal(data.u[1, 4:9], whole[4:9])
    with pytest.raises(ValueError, match=r"expected frame 1 of .* another SHA-256"):
        data.u[1, 3:5].load()
    assert len(check_file(path)) == 1


PLACES = [(slice(None), 0, slice(None, None, -2)), (1, slice(4, 1, -1), slice(2, 2)), (slice(1), slice(3), 3)]


@pytest.mark.parametrize("place", PLACES)
def test_any_selection_of_chunks_is_that_of_the_frames(place: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    rollout(point_model(2, 2), grid(6, 5), 2, to=Zarr(path, chunks=(2, 3)))
    whole = Zarr(path).read().frames.transpose(0, 1).numpy()
    data = open_rollout(path).frames
    np.testing.assert_array_equal(
        data[(1, slice(None), *place[:1], *place[1:])], whole[(1, slice(None), *place)]
    )


@pytest.mark.parametrize("kind", [*KINDS, None])
def test_a_function_beside_a_file_stops_and_the_frames_are_kept(kind: str | None, tmp_path: Path) -> None:
    path = None if kind is None else tmp_path / f"run.{kind}"
    seen: list[int] = []

    def watch(step: Any) -> Ending | None:
        seen.append(step.index)
        return Ending.STOPPED if step.index == 1 else None

    stopped = rollout(Spreading(), triangles(), 5, to=[path, watch])
    assert seen == [0, 1]
    assert stopped.endings == (Ending.STOPPED,)
    whole = rollout(Spreading(), triangles(), 5).frames
    if kind is None:
        assert torch.equal(stopped.frames, whole[:, :2])
        return
    assert torch.equal(KINDS[kind](path).read().frames, whole[:, :2])
    rollout(Spreading(), triangles(), 5, to=[KINDS[kind](path, existing="continue"), watch])
    assert seen == [0, 1, 2, 3, 4]
    assert torch.equal(KINDS[kind](path).read().frames, whole)


WRONG: dict[str, Callable[[], Any]] = {
    "one place for the frames, and functions": lambda: sink_of(["a.h5", "b.h5"]),
    "a path that ends in .h5, .zarr, .vtkhdf, .pvd": lambda: sink_of("run.txt"),
    "a name of its own for each field": lambda: Zarr("a.zarr", fields=["u", "u"]),
    "names of fields from letters": lambda: Zarr("a.zarr", fields=["time"]),
    "units as texts": lambda: Zarr("a.zarr", units={"u": 1.0}),
    "attributes as texts and numbers": lambda: Zarr("a.zarr", attributes={"u": {"valid": [0, 1]}}),
    "chunks >= 1": lambda: HDF5("a.h5", chunks=(0, 2)),
    "shards that are multiples of chunks": lambda: Zarr("a.zarr", chunks=(2, 2), shards=(3, 2)),
    "a name for each of 2 channels": lambda: run("plane", HDF5("a.h5", fields=["u"])),
    "chunks for the axes": lambda: run("plane", HDF5("a.h5", chunks=(2,))),
    "coordinates of the axes": lambda: run("plane", HDF5("a.h5", coordinates={"x": np.arange(4)})),
    "names of fields and vectors that are no coordinates": lambda: run(
        "plane", HDF5("a.h5", fields=["x", "y"])
    ),
    "units and attributes of a field": lambda: run("plane", HDF5("a.h5", units={"w": "m"})),
}


@pytest.mark.parametrize("message", WRONG)
def test_options_that_do_not_fit_are_refused_and_leave_nothing(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=ONE_SENTENCE) as caught:
        WRONG[message]()
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_verify_finds_the_files_and_their_damage(kind: str, tmp_path: Path) -> None:
    run("triangles", tmp_path / f"run.{kind}")
    assert {found.state for found in verify(tmp_path)} == {"ok"}
    file = KINDS[kind](tmp_path / f"run.{kind}")
    group = file.storage.open(file.path, "r+")
    group["state/digests"][1, 1] = 0
    file.storage.close(group)
    assert "damaged" in {found.state for found in verify(tmp_path)}


def test_a_missing_meshio_is_named_before_the_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "meshio", None)
    with pytest.raises(ImportError, match=r"pip install 'neuralop_irno\[meshes\]'"):
        run("triangles", PVD(tmp_path / "run.pvd"))
    assert not list(tmp_path.iterdir())
