"""Mutated configs through the command line: each is run, refused in our grammar, or a bug.

    python tests/fuzz/configs.py --count 5000 --seed 0 --train

The example configs, shrunk, and some small ones on meshes are mutated: keys dropped, renamed, repeated,
values of another type, huge, negative, zero, not a number, empty, nested, aliased. `irno train` then runs
up to its first training, which is everything that a config can break, in a forked child with 5 s of
processor time and 4 GiB. Outcomes:

    valid       the experiment was built and rehearsed; with --train it is also trained for an update
    refused     one line in the grammar "expected X, got Y; try Z", exit code 2
    raw         one line in other words
    traceback   an exception that the command line does not turn into a line
    hang        out of processor time, killed, or ended by a signal
    untrained   valid, and yet it does not train

Huge numbers are from 10^9 up: what is large but possible takes the time that it is given.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import torch  # noqa: E402

from irno_cli.main import main  # noqa: E402
from neuralop_irno.config import read_experiment  # noqa: E402
from neuralop_irno.training import run  # noqa: E402
from neuralop_irno.training.trainer import Trainer  # noqa: E402
from neuralop_irno.yaml_files import read_yaml, written  # noqa: E402

SECONDS = 5
BYTES = 4 * 2**30
EXAMPLES = Path(__file__).parents[2] / "examples/configs"

FLOWS = {"trajectories": [2, 1, 1], "frames": 3, "size": 8}
TURBULENCE = {**FLOWS, "resolution": 16, "warmup": 0.1, "outputs": 1}
SMALL: dict[str, dict[str, Any]] = {
    "burgers": {"data": FLOWS},
    "paper": {"data": TURBULENCE},
    "turbulence": {"data": TURBULENCE},
}
"""What makes an example cheap; networks are made small by `shrunk`."""
SIZES = {"hidden_channels": 4, "n_layers": 1, "width": 4, "depth": 1}
MESHES: dict[str, Any] = {
    "data": {"name": "waves", "samples": [2, 1, 1], "spacing": 0.3},
    "model": {
        "base": {"model_arch": "rigno", "width": 8, "steps": 1, "time": False},
        "correction": {"name": "meshgraph", "width": 8, "steps": 1},
        "solver": {"name": "anderson", "memory": 2, "alpha": 0.5},
        "gradient": {"name": "last", "n": 1},
        "steps": 2,
    },
    "base_training": {"epochs": 1},
    "loss": {"spatial": 1.0, "spectral": 0.1},
    "training": {"epochs": 1, "batch_size": 2},
}

HUGE = (10**9, 2**31, 2**63, 10**18, 10**30, 10**400, 1e18, 1e300, float("inf"))
ODD: tuple[Any, ...] = (
    -1, 0, 1, 0.5, -1e-3, float("nan"), None, True, False, "", "x", "1e-3", "no", "name", [], {}, [[]],
    [1, "x"], {"name": "unet"}, {"": None}, [None], "../..", "\0", "a" * 300,
)  # fmt: skip
OTHER_NAMES = (
    "fno", "tfno", "uno", "unet", "mgno", "untied", "bounded", "denoiser", "velocity", "meshgraph", "rigno",
    "picard", "anderson", "broyden", "aitken", "backtracking", "best_so_far", "safeguarded", "denoising",
    "flow", "confidence", "implicit", "neumann", "one_step", "unrolled", "checkpointed", "from_truth",
    "from_path", "learned", "decaying", "scheduled", "burgers", "turbulence", "kuramoto_sivashinsky",
    "potentials", "deeponet", "irno", "codano",
)  # fmt: skip


def shrunk(config: Any) -> Any:
    """The same with small networks."""
    if isinstance(config, dict):
        return {key: SIZES.get(key, shrunk(value)) for key, value in config.items()}
    return config


def seeds() -> list[dict[str, Any]]:
    """The valid configs that mutants are made of."""
    found = []
    for name, parts in SMALL.items():
        config = shrunk(read_yaml(EXAMPLES / f"{name}.yaml"))
        for section, changes in parts.items():
            config[section] = {**config[section], **changes}
        config.pop("folder")
        found.append(config)
    return [*found, MESHES]


def places(config: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a config, inner ones too."""
    pairs = config.items() if isinstance(config, dict) else enumerate(config if type(config) is list else ())
    for key, value in pairs:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutate(config: dict[str, Any], draw: random.Random) -> None:
    """Change one place."""
    path = draw.choice(list(places(config)))
    parent: Any = config
    for key in path[:-1]:
        parent = parent[key]
    key, value = path[-1], parent[path[-1]]
    kind = draw.randrange(8)
    if kind == 0:
        parent.pop(key)
    elif kind == 1 and isinstance(parent, dict):
        letters = list(str(key))
        draw.shuffle(letters)
        parent["".join(letters)] = parent.pop(key)
    elif kind == 2:
        parent[key] = draw.choice(HUGE)
    elif kind == 3 and isinstance(value, (int, float)):
        parent[key] = draw.choice((-value, 0, value + 0.5, str(value), [value], -draw.choice(HUGE)))
    elif kind == 4:
        other = draw.choice(list(places(config)))
        found: Any = config
        for step in other:
            found = found[step]
        parent[key] = copy.deepcopy(found)
    elif kind == 5 and isinstance(value, str):
        parent[key] = draw.choice(OTHER_NAMES)
    elif kind == 6:
        parent[key] = draw.choice(([value], [value] * 3, {"name": value}, {"value": value}, [[value]]))
    else:
        parent[key] = draw.choice(ODD)


def mutant(configs: list[dict[str, Any]], draw: random.Random) -> bytes:
    """The text of a mutated config: most are mutated as data, some as text."""
    config = copy.deepcopy(draw.choice(configs))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        if config:
            mutate(config, draw)
    text = written(config) if config else b"{}"
    kind = draw.randrange(24)
    if kind == 0:
        lines = text.splitlines(keepends=True)
        text = b"".join([*lines, draw.choice(lines)])  # a key or a line twice
    elif kind == 1:
        place = draw.randrange(len(text))
        text = text[:place] + bytes([draw.randrange(256)]) + text[place + 1 :]
    elif kind == 2:
        text = text[: draw.randrange(len(text))]
    elif kind == 3:
        text += bomb(draw.randrange(2, 12))
    return text


def bomb(levels: int) -> bytes:
    """Aliases of aliases: nine values, eighty-one, .."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


class Built(BaseException):
    """The experiment was built, and its training would begin."""


def begin(*arguments: Any, **options: Any) -> None:
    """In place of `Trainer.fit`."""
    raise Built


def outcome_of(text: bytes, folder: Path, train: bool) -> tuple[str, str]:
    """Run one config in this process."""
    file = folder / "c.yaml"
    file.write_bytes(text)
    fit, Trainer.fit = Trainer.fit, begin  # type: ignore[method-assign,assignment]
    err = io.StringIO()
    try:
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
            code = main(["train", str(file), "--folder", str(folder / "run"), "--json"])
    except Built:
        Trainer.fit = fit  # type: ignore[method-assign]
        return trained(file, folder / "trained") if train else ("valid", "")
    except BaseException:
        return "traceback", traceback.format_exc()
    finally:
        Trainer.fit = fit  # type: ignore[method-assign]
    line = err.getvalue().strip().splitlines()[-1]
    kept = line.startswith("irno: expected ") and "; try " in line and code == 2
    return ("refused" if kept else "raw"), line


def trained(file: Path, folder: Path) -> tuple[str, str]:
    """Train a valid config for one epoch of a few samples, its base likewise."""
    resource.setrlimit(resource.RLIMIT_CPU, (10 * SECONDS, resource.RLIM_INFINITY))
    experiment = read_experiment(file)
    base = experiment.content["base_training"]
    experiment = experiment.changed(
        training={**experiment.content["training"], "epochs": 1},
        base_training=None if base is None else {**base, "epochs": 1},
    )
    try:
        run.train_experiment(experiment, folder, say=lambda text: None, show=False)
    except BaseException:
        return "untrained", traceback.format_exc()
    return "valid", ""


def in_a_child(work: Callable[[], tuple[str, str]]) -> tuple[str, str, float]:
    """The outcome of some work in a forked process with limits, and its seconds of processor time."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            answer = work()
        except BaseException:
            answer = "traceback", traceback.format_exc()
        os.write(write, json.dumps(answer).encode()[:60_000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    _, status, used = os.wait4(child, 0)
    seconds = used.ru_utime + used.ru_stime
    if not content:
        return "hang", f"status {status}", seconds
    outcome, detail = json.loads(content)
    return outcome, detail, seconds


def fuzz(
    count: int, seconds: float, seed: int, train: bool, keep: Path | None = None
) -> tuple[Counter[str], list[tuple[str, str, bytes, float]]]:
    """Try mutants until the count or the time is reached; returns outcomes, and the bad ones in full."""
    torch.set_num_threads(1)
    draw, configs = random.Random(seed), seeds()
    for config in configs:  # what is imported late is imported here, and not by every child
        with tempfile.TemporaryDirectory() as place:
            outcome, detail = outcome_of(written(config), Path(place), train=False)
            assert outcome == "valid", detail
    outcomes: Counter[str] = Counter()
    bad = []
    end = time.monotonic() + seconds
    while sum(outcomes.values()) < count and time.monotonic() < end:
        text = mutant(configs, draw)
        folder = Path(tempfile.mkdtemp(prefix="fuzz"))
        try:
            outcome, detail, used = in_a_child(lambda t=text, f=folder: outcome_of(t, f, train))
        finally:
            shutil.rmtree(folder)
        outcomes[outcome] += 1
        if outcomes.total() % 500 == 0:
            print(dict(outcomes), file=sys.stderr, flush=True)
        if outcome not in ("valid", "refused"):
            bad.append((outcome, detail, text, used))
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{outcome}-{len(bad):04}.yaml").write_bytes(
                    text + b"\n" + b"".join(b"# " + line.encode() + b"\n" for line in detail.splitlines())
                )
    return outcomes, bad


def command() -> int:
    """Fuzz from the command line; exit code 1 for tracebacks, hangs, untrained ones or 1 % of raw lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", action="store_true", help="train valid mutants for an update")
    parser.add_argument("--keep", type=Path, help="a folder for the mutants that are bugs")
    options = parser.parse_args()
    if options.count == 10**9 and options.seconds == float("inf"):
        options.count = 1000
    outcomes, bad = fuzz(options.count, options.seconds, options.seed, options.train, options.keep)
    total = sum(outcomes.values())
    print(", ".join(f"{name} {number}" for name, number in sorted(outcomes.items())), "of", total)
    for outcome, detail, _, used in bad:
        lines = detail.strip().splitlines() or [""]
        print(f"{outcome} ({used:.1f} s): {lines[-1][:300]}")
    worst = sum(outcomes[name] for name in ("traceback", "hang", "untrained"))
    return 1 if worst or outcomes["raw"] > 0.01 * total else 0


if __name__ == "__main__":
    sys.exit(command())
