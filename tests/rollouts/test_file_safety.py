"""Rollout files: nothing of others is removed or written, nothing damaged is read, nothing else continued."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import zarr
from cases import KINDS, MODEL, ONE_SENTENCE, START, Breaking, Interrupted, half_done, point_model
from processes import children

from neuralop_irno import IterativeRefiner, rollout
from neuralop_irno.rollouts import HDF5, Adaptive, Clock, Known, Refine, Stepper, Window, Zarr
from neuralop_irno.rollouts.files import check_file

RELIABILITY = Path(__file__).parents[1] / "reliability"
sys.path.insert(0, str(RELIABILITY))
from flip_rollout import flip_often  # noqa: E402
from kill_rollout import CASES, Halving, kill_without_waiting  # noqa: E402

both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests lose no power, and a busy disk takes half a second for each synchronisation."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def uses(kind: str, path: Path) -> list[Callable[[], Any]]:
    """Ways to read a file."""
    again = KINDS[kind](path, existing="continue")
    return [KINDS[kind](path).read, lambda: rollout(MODEL, START, 4, to=again)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@both
@pytest.mark.parametrize("what", ["folder", "file", "empty folder", "a rollout and a thesis"])
def test_overwriting_removes_nothing_that_is_not_a_rollout(kind: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / f"home.{kind}"
    if what == "file":
        path.write_text("thesis")
    elif what == "a rollout and a thesis" and kind == "zarr":
        rollout(MODEL, START, 2, to=Zarr(path))
        (path / "thesis.tex").write_text("all")
    elif what == "a rollout and a thesis":
        rollout(MODEL, START, 2, to=HDF5(path))
        with h5py.File(path, "r+") as file:
            file["thesis"] = np.ones(3)
    else:
        path.mkdir()
        if what == "folder":
            (path / "thesis.tex").write_text("all")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        rollout(MODEL, START, 3, to=KINDS[kind](path, existing="overwrite"))
    assert contents(tmp_path) == before
    assert path.exists()


@both
@pytest.mark.parametrize("existing", ["refuse", "continue", "overwrite"])
@pytest.mark.parametrize("folder", [False, True])
def test_what_appears_before_the_first_frame_stays(
    kind: str, existing: str, folder: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"run.{kind}"

    def model(u: torch.Tensor) -> torch.Tensor:
        if not path.exists():
            if folder:
                path.mkdir()
                (path / "thesis.tex").write_text("all")
            else:
                path.write_text("thesis")
        return 0.5 * u

    with pytest.raises(FileExistsError, match=ONE_SENTENCE):
        rollout(model, START, 3, to=KINDS[kind](path, existing=existing))
    assert list(contents(tmp_path).values()) == ([b"all"] if folder else [b"thesis"])


@both
def test_a_second_writer_is_refused_and_a_reader_is_not(kind: str, tmp_path: Path) -> None:
    path, seen = tmp_path / f"run.{kind}", []

    def model(u: torch.Tensor) -> torch.Tensor:
        for existing in ("refuse", "continue", "overwrite"):
            with pytest.raises(ValueError, match="in use"):
                rollout(MODEL, START, 3, to=KINDS[kind](path, existing=existing))
        if path.exists():
            seen.append(KINDS[kind](path).read().frames.shape[1])
        return 0.5 * u

    rollout(model, START, 4, to=KINDS[kind](path))
    assert seen == [1, 2, 3]
    assert [place.name for place in tmp_path.iterdir()] == [path.name]


@both
def test_what_killed_writers_left_is_removed_and_nothing_else(kind: str, tmp_path: Path) -> None:
    path, stray = half_done(kind, tmp_path), tmp_path / f".{'0' * 32}.run.{kind}"
    if kind == "zarr":
        stray.mkdir()
        (path / f"frames/c.{'a' * 32}.partial").write_text("")
    (stray / "c.0" if kind == "zarr" else stray).write_text("cut short")
    other = tmp_path / f".{'0' * 32}.other.{kind}"
    other.write_text("of another rollout")
    rollout(MODEL, START, 4, to=KINDS[kind](path, existing="continue"))
    assert {place.name for place in tmp_path.iterdir()} == {path.name, other.name}
    assert not list(tmp_path.rglob("*.partial"))


OTHERS: dict[str, Callable[[], dict[str, Any]]] = {
    "model": lambda: {"model": point_model(1, 1).float().double()},
    "start": lambda: {"start": START + 1e-9},
    "window": lambda: {"window": Window(order="channel"), "start": START[:, None]},
    "clock": lambda: {"clock": Clock(step=0.1)},
    "stepper": lambda: {"stepper": Stepper("res")},
    "static": lambda: {"static": torch.ones(1, 1, 6)},
    "forcing": lambda: {"forcing": torch.ones(1, 4, 1, 6)},
    "amend": lambda: {"amend": Known(torch.ones(6, dtype=torch.bool))},
    "given": lambda: {"given": {"gain": 2.0}},
    "autocast": lambda: {"autocast": torch.bfloat16},
}


def never(*_: Any, **__: Any) -> torch.Tensor:
    raise AssertionError("the model was called")


@both
@pytest.mark.parametrize("name", OTHERS)
def test_another_rollout_is_not_continued_and_the_refusal_names_what_differs(
    kind: str, name: str, tmp_path: Path
) -> None:
    path = half_done(kind, tmp_path)
    before = contents(tmp_path)
    words: dict[str, Any] = {"model": MODEL, "start": START} | OTHERS[name]()
    model, start = words.pop("model"), words.pop("start")
    if name == "model":
        with torch.no_grad():
            next(model.parameters()).mul_(1 + 1e-6)
    with pytest.raises(ValueError, match=rf"started with, got another {name};") as caught:
        rollout(model, start, 4, to=KINDS[kind](path, existing="continue"), **words)
    assert "expected the call" in str(caught.value)
    assert contents(tmp_path) == before


REFINED: dict[str, Callable[[], dict[str, Any]]] = {
    "model": lambda: {"alpha": 0.6},
    "model, refinement": lambda: {"alpha": 0.6, "refinement": Refine(steps=3)},
    "refinement": lambda: {"refinement": Refine(steps=3)},
    "limit": lambda: {"limit": 0.3},
    "on_untrusted": lambda: {"on_untrusted": "record"},
}


@pytest.mark.parametrize("name", REFINED)
def test_another_refinement_or_trust_is_named_too(name: str, tmp_path: Path) -> None:
    def go(to: Any, alpha: float = 0.7, **words: Any) -> None:
        model = IterativeRefiner(lambda x: 0.9 * x, Halving(), steps=2, alpha=alpha).eval()
        rollout(
            model, START, 4, to=to, **{"refinement": Refine(), "limit": 9.0, "on_untrusted": "stop", **words}
        )

    path = tmp_path / "run.h5"
    with pytest.raises(Interrupted):
        go(Breaking(HDF5(path), 2))
    with pytest.raises(ValueError, match=f"got another {name};"):
        go(HDF5(path, existing="continue"), **REFINED[name]())
    go(HDF5(path, existing="continue"))
    assert HDF5(path).read().frames.shape[1] == 4


@both
@pytest.mark.parametrize("had", [1, 2, 5])
@pytest.mark.parametrize("done", [False, True])
def test_a_rollout_may_be_extended(kind: str, had: int, done: bool, tmp_path: Path) -> None:
    """From a file that is shorter than a bundle, one that ends in the middle of one, and from a part."""
    window, forcing = Window(outputs=2), torch.randn(2, 8, 1, 6, dtype=torch.float64)
    model, start = point_model(3, 2), START[:, None]
    path = tmp_path / f"run.{kind}"

    def go(steps: int, to: Any) -> Any:
        seen = forcing[:, : -(-steps // 2) * 2]
        return rollout(model, start, steps, window=window, forcing=seen, to=to, clock=Clock(step=0.5))

    if done:
        go(had, KINDS[kind](path))
    else:
        with pytest.raises(Interrupted):
            go(had + 1, Breaking(KINDS[kind](path), had))
    again, whole = go(8, KINDS[kind](path, existing="continue")), go(8, None)
    found = KINDS[kind](path).read()
    assert torch.equal(found.frames, whole.frames)
    assert torch.equal(found.times, whole.times)
    assert torch.equal(again.lasted, whole.lasted)
    assert check_file(path) == []
    assert [place.name for place in tmp_path.iterdir()] == [path.name]


def test_a_shared_budget_is_not_extended(tmp_path: Path) -> None:
    model = IterativeRefiner(lambda x: 0.9 * x, Halving(), steps=2).eval()
    go = {"refinement": Adaptive(2.0, most=4), "to": HDF5(tmp_path / "run.h5", existing="continue")}
    rollout(model, START, 3, **go)
    with pytest.raises(ValueError, match="another number of steps"):
        rollout(model, START, 4, **go)


def test_arrays_that_lie_elsewhere_are_neither_read_nor_written(tmp_path: Path) -> None:
    path, other = half_done("h5", tmp_path), tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["frames"] = np.ones((4, 2, 1, 6))
    before, whole = other.read_bytes(), path.read_bytes()
    layout = h5py.VirtualLayout((4, 2, 1, 6), "f8")
    layout[:] = h5py.VirtualSource(other, "frames", (4, 2, 1, 6))
    raw = [(str(tmp_path / "raw"), 0, 4 * 2 * 6 * 8)]
    ways: dict[str, Callable[[h5py.File], Any]] = {
        "external link": lambda file: file.__setitem__("frames", h5py.ExternalLink("other.h5", "frames")),
        "soft link": lambda file: file.__setitem__("frames", h5py.SoftLink("/start")),
        "virtual": lambda file: file.create_virtual_dataset("frames", layout),
        "external": lambda file: file.create_dataset("frames", (4, 2, 1, 6), "f8", external=raw),
        "never written": lambda file: file.create_dataset("frames", (4, 2, 1, 6), "f8"),
    }
    for change in ways.values():
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            del file["frames"]
            change(file)
        for use in (
            HDF5(path).read,
            lambda: HDF5(path).frame(0),
            lambda: rollout(MODEL, START, 4, to=HDF5(path, existing="continue")),
        ):
            with pytest.raises(ValueError, match=r"'frames', (a link|an array that)"):
                use()
        assert len(check_file(path)) == 1
    assert other.read_bytes() == before
    assert not (tmp_path / "raw").exists()


def test_a_zarr_folder_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    path, other = half_done("zarr", tmp_path), tmp_path / "elsewhere"
    (path / "frames").rename(other)
    (path / "frames").symlink_to(other)
    before = contents(other)
    for use in uses("zarr", path):
        with pytest.raises(ValueError, match="'frames', a link"):
            use()
    with pytest.raises(ValueError, match="with frames in it"):
        rollout(MODEL, START, 4, to=Zarr(path, existing="overwrite"))
    assert contents(other) == before


@both
def test_frames_that_a_loss_of_power_took_are_computed_again(kind: str, tmp_path: Path) -> None:
    """Frames after ``complete`` were not synchronised: the first that is not whole ends them."""
    path, whole = half_done(kind, tmp_path), rollout(MODEL, START, 4).frames
    group = KINDS[kind].storage.open(path, "r+")
    group["complete"][...] = 1
    group["frames"][1] = 0.0
    KINDS[kind].storage.close(group)
    assert torch.equal(KINDS[kind](path).read().frames, whole[:, :1])
    rollout(MODEL, START, 4, to=KINDS[kind](path, existing="continue"))
    assert torch.equal(KINDS[kind](path).read().frames, whole)


@both
@pytest.mark.parametrize("steps", [2, 4])
def test_frames_that_a_killed_process_did_not_synchronise_are_kept(
    kind: str, steps: int, tmp_path: Path
) -> None:
    path = tmp_path / f"run.{kind}"
    rollout(MODEL, START, 2, to=KINDS[kind](path))
    group = KINDS[kind].storage.open(path, "r+")
    group["complete"][...] = 1
    KINDS[kind].storage.close(group)
    rollout(MODEL, START, steps, to=KINDS[kind](path, existing="continue"))
    assert torch.equal(KINDS[kind](path).read().frames, rollout(MODEL, START, steps).frames)
    with KINDS[kind](path).contents() as found:
        assert found.complete == steps


@both
def test_files_of_a_later_format_are_named(kind: str, tmp_path: Path) -> None:
    path = half_done(kind, tmp_path)
    file = KINDS[kind].storage.open(path, "r+")
    file.attrs["format"] = 4
    KINDS[kind].storage.close(file)
    with pytest.raises(ValueError, match=r"format 3 or older, got format 4 .*; try a newer neuralop_irno"):
        KINDS[kind](path).read()


@both
def test_flipped_bits_are_found(kind: str, tmp_path: Path) -> None:
    refused, same = flip_often(kind, 60, tmp_path)
    assert refused > 50
    assert refused + same == 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize(("kind", "mesh"), CASES)
def test_killed_at_random_moments_it_ends_with_the_same_bits(kind: str, mesh: bool, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with children() as start:
        assert start(kill_without_waiting, kind, mesh, 3, folder).result() > 0


def test_what_a_file_belongs_to_is_plain_text(tmp_path: Path) -> None:
    path = half_done("zarr", tmp_path)
    belongs = json.loads(zarr.open_group(path, mode="r").attrs["belongs"])
    assert {"model", "start", "window", "clock", "refinement", "forcing"} <= set(belongs)
    assert all(len(each) == 64 for each in belongs.values())
