"""Damaged data files through every reader: each is read, refused in our grammar, or a bug.

    python tests/fuzz/readers.py --seconds 60 --seed 0

Small valid files of every format are mutated: flipped bits, cuts, swapped sizes, replaced arrays, other
dtypes, NaN, links, files of another format. A forked child reads them and a few samples of each split, each
within 5 s of processor time and 4 GiB. Outcomes:

    ok          read; most formats have no checksum, and what changed is a number
    refused     an error in the grammar "expected X, got Y; try Z"
    raw         another error
    crash       the process was ended by a signal
    hang        out of processor time

Exit code 1 if there is one of the last three.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
warnings.simplefilter("ignore")

import h5py  # noqa: E402
import meshio  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from layouts import SMALL  # noqa: E402

from neuralop_irno.data.readers.mesh_files import read_mesh  # noqa: E402
from neuralop_irno.data.splits import load_splits  # noqa: E402

SECONDS = 5
WAIT = 300
"""Seconds of the clock after which a child that does not compute is ended too."""
BYTES = 4 * 2**30
GRAMMAR = re.compile(r"expected .+, got .*; try .+", re.DOTALL)
HUGE = (b"1000000000000", b"-1", b"0", b"4294967295", b"nan", b"1e400", b"99999999999999999999999", b"x")
MESHES = ("ply", "vtk", "vtu", "msh", "inp", "mesh", "off", "obj", "stl", "xdmf", "med")

Mutation = Callable[[random.Random, Path], None]


def templates(folder: Path) -> dict[str, dict[str, Any]]:
    """The valid data of each format, in a folder of its own: name -> what reads it, paths relative."""
    found = {}
    for name, write in SMALL.items():
        (folder / name).mkdir(parents=True)
        found[name] = write(folder / name)
    pos = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.5], [2, 1, 0]])
    cells = [("triangle", np.array([[0, 1, 2], [1, 3, 2], [1, 4, 3]]))]
    for ending in MESHES:
        (folder / ending).mkdir()
        path = folder / ending / f"m.{ending}"
        data = {"u": np.arange(5.0)} if ending in ("ply", "vtk", "vtu", "msh", "xdmf", "med") else {}
        mesh = meshio.Mesh(pos, cells, data)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            mesh.write(path, file_format="gmsh22" if ending == "msh" else None)
        found[ending] = {"mesh": str(path)}
    return found


def use(words: dict[str, Any]) -> None:
    """Read the data and some samples, as a training would."""
    if "mesh" in words:
        mesh = read_mesh(words["mesh"])
        for place, fields in (("nodes", mesh.fields), ("cells", mesh.cell_fields)):
            if fields:
                mesh.graph(sorted(fields), on=place)
            for tag in mesh.tags.names:
                mesh.flags([tag], False, place)
        return
    for data in load_splits(words).values():
        samples: Any = data
        for place in {0, len(samples) // 2, len(samples) - 1}:
            samples[place]


def outcome(words: dict[str, Any]) -> str:
    """How it ended, and for errors of other kinds where."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            use(words)
    except (ValueError, TypeError, FileNotFoundError) as error:
        if GRAMMAR.fullmatch(str(error)):
            return "refused"
        return f"raw {_place(error)}"
    except BaseException as error:
        return f"raw {_place(error)}"
    return "ok"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "neuralop_irno" in f.filename] or frames
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__} at {place}: {' '.join(str(error).split())[:160]}"


def flip(draw: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    reach = min(len(content), draw.choice([64, 1024, 2**30]))
    for _ in range(draw.choice([1, 1, 2, 8]) if reach else 0):
        content[draw.randrange(reach)] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(draw: random.Random, path: Path) -> None:
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size + 1)])


def swap_size(draw: random.Random, path: Path) -> None:
    """Four or eight bytes become a number that is huge, negative or zero."""
    content = bytearray(path.read_bytes())
    reach = min(len(content), draw.choice([128, 1024, 2**30]))
    width = draw.choice([2, 4, 8])
    value = draw.choice([0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1) - 1, 2**40 % 2 ** (8 * width)])
    start = draw.randrange(max(reach - width, 1))
    content[start : start + width] = value.to_bytes(width, draw.choice(["little", "big"]))
    path.write_bytes(content)


def swap_word(draw: random.Random, path: Path) -> None:
    """A number in the text of a file becomes another one, or none."""
    content = path.read_bytes()
    found = list(re.finditer(rb"-?\d+(\.\d+)?", content[: 2**16]))
    if found:
        hit = draw.choice(found)
        path.write_bytes(content[: hit.start()] + draw.choice(HUGE) + content[hit.end() :])


def drop(draw: random.Random, path: Path) -> None:
    path.unlink()


def repeat(draw: random.Random, path: Path) -> None:
    content = path.read_bytes()
    start = draw.randrange(len(content) + 1)
    piece, times = content[start : start + 64], draw.choice([0, 2, 9])
    path.write_bytes(content[:start] + piece * times + content[start + 64 :])


def replace_array(draw: random.Random, path: Path) -> None:
    """An array or attribute of HDF5, of .npz or of .pt becomes another one."""
    value = draw.choice([
        np.zeros(0, "f4"), np.float32(1), np.full((2, 3), np.nan, "f4"), np.zeros((3, 1, 8), "c8"),
        np.array([b"word"]), np.zeros((1,) * 6, "i8"), np.arange(6, dtype=">f8"), np.zeros((9, 9, 9)),
    ])  # fmt: skip
    if path.suffix in (".hdf5", ".h5", ".nc", ".vtkhdf"):
        with h5py.File(path, "a") as file:
            names: list[str] = []
            file.visit(names.append)
            name = draw.choice(names)
            attributes = dict(file[name].attrs)
            action = draw.choice(["attribute", "array", "dtype", "delete", "external", "soft", "huge", "nan"])
            if action == "attribute" and attributes:
                file[name].attrs[draw.choice(sorted(attributes))] = draw.choice([value, "word", -1, 10**12])
                return
            array = file[name][...] if isinstance(file[name], h5py.Dataset) else None
            del file[name]
            if action == "array":
                file[name] = value
            elif action == "dtype" and array is not None:
                file[name] = array.astype(draw.choice(["f8", "i4", "f2", "?", "S4"]))
            elif action == "nan" and array is not None:
                file[name] = np.full(array.shape, np.nan)
            elif action == "external":
                file[name] = h5py.ExternalLink("/dev/zero", "/a")
            elif action == "soft":
                file[name] = h5py.SoftLink(f"/{draw.choice(names)}")
            elif action == "huge" and array is not None:
                file.create_dataset(name, (10**12, *array.shape[1:]), "f4", chunks=True)
            if action in ("array", "dtype", "nan", "huge") and name in file:
                file[name].attrs.update(attributes)
    elif path.suffix == ".npz":
        np.savez(path, **{draw.choice(["x", "y", "pos"]): value, "x": np.zeros((3, 1, 8)), "y": value})
    elif path.suffix == ".pt":
        tensor = torch.zeros(1).expand(10**12) if draw.random() < 0.3 else torch.ones(2, 3).to_sparse()
        torch.save(draw.choice([{"x": tensor, "y": tensor}, [1], {"x": torch.ones(9, 6, 6)}, tensor]), path)
    else:
        flip(draw, path)


def misplace(draw: random.Random, path: Path) -> None:
    """A file of another kind, a folder or a dangling link in its place."""
    path.unlink()
    kind = draw.choice(["folder", "link", "json", "zip", "pickle"])
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nothing")
    else:
        words = {"json": b"{}", "zip": b"PK\x05\x06" + bytes(18), "pickle": b"cos\nmkdir\n(S'planted'\ntR."}
        path.write_bytes(words[kind])


MUTATIONS: tuple[Mutation, ...] = (
    flip, flip, cut, swap_size, swap_size, swap_word, swap_word, replace_array, replace_array, repeat, drop,
    misplace,
)  # fmt: skip


def mutant(number: int, seed: int, source: Path, known: dict[str, Any], home: Path) -> dict[str, Any]:
    """A damaged copy of the data of one format, at ``home``, and the options that read it."""
    draw = random.Random(f"{seed} {number}")
    name = sorted(known)[number % len(known)]
    shutil.copytree(source / name, home)
    for _ in range(draw.choice([1, 1, 1, 2])):
        files = sorted(path for path in home.rglob("*") if path.is_file())
        if files:
            with contextlib.suppress(Exception):  # arrays of a file that is damaged already stay as they are
                draw.choice(MUTATIONS)(draw, draw.choice(files))
    words = json.dumps(known[name]).replace(json.dumps(str(source / name))[1:-1], str(home))
    return dict(json.loads(words))


def child(first: int, seed: int, source: Path, known: dict[str, Any], work: Path, pipe: int) -> None:
    """Mutants one after the other, each announced before it is read and reported after it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(work)
    number = first
    while True:
        home = work / str(number)
        words = mutant(number, seed, source, known, home)
        os.write(pipe, f"{number} start\n".encode())
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # ends the process where nothing handles it
        found = outcome(words)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(pipe, f"{number} {found}\n".encode())
        shutil.rmtree(home, ignore_errors=True)
        number += 1


def fuzz(seconds: float, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts of outcomes, and a line for each that is a bug."""
    counts, bugs = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        source, work = Path(folder) / "source", Path(folder) / "work"
        work.mkdir()
        known = templates(source)
        for name, words in known.items():
            if (found := outcome(words)) != "ok":
                bugs.append(f"{name} before any damage: {found}")
        number, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            reader, writer = os.pipe()
            sys.stdout.flush()
            process = os.fork()
            if not process:
                try:
                    child(number, seed, source, known, work, writer)
                finally:
                    os._exit(70)
            os.close(writer)
            number = _watch(process, reader, end, number, sorted(known), counts, bugs)
        if (work / "planted").exists():
            bugs.append("a planted pickle ran")
    return counts, bugs


def _watch(
    process: int,
    reader: int,
    end: float,
    number: int,
    names: list[str],
    counts: Counter[str],
    bugs: list[str],
) -> int:
    """Collect a child's reports until it ends or the time is up; returns the number to go on with."""
    rest, started, silent, closed = b"", False, False, False
    while time.monotonic() < end or started:
        ready, _, _ = select.select([reader], [], [], WAIT if started else 1.0)
        silent = started and not ready
        content = os.read(reader, 2**16) if ready else b""
        closed = bool(ready) and not content
        if silent or closed:
            break
        *lines, rest = (rest + content).split(b"\n")
        for line in lines:
            place, _, found = line.decode().partition(" ")
            number, started = int(place) + (found != "start"), found == "start"
            if not started:
                counts[found.split()[0]] += 1
                if found.startswith("raw"):
                    bugs.append(f"mutant {place} of {names[int(place) % len(names)]}: {found}")
    os.kill(process, signal.SIGKILL) if silent or not started else None
    _, status = os.waitpid(process, 0)
    os.close(reader)
    if closed and not started and time.monotonic() < end:
        # Without this a fuzzer whose children cannot make a mutant would be green.
        counts["dead"] += 1
        bugs.append(f"the child died before mutant {number}, status {status}")
        number += 1
    if started:
        ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        kind = "hang" if silent or ended == signal.SIGPROF else "crash"
        counts[kind] += 1
        name = names[number % len(names)]
        bugs.append(f"mutant {number} of {name}: {kind}, signal {ended}, status {status}")
        number += 1
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description="Damaged data files through every reader.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, by the clock")
    parser.add_argument("--seed", type=int, default=0, help="of the mutants")
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts, bugs = fuzz(options.seconds, options.seed)
    print(f"{sum(counts.values())} mutants: {json.dumps(dict(sorted(counts.items())))}")
    print("\n".join(bugs))
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main())
