"""Options shared by several commands, and printing of results."""

from __future__ import annotations

import argparse
import json
import math
import operator
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

SPLITS = ("train", "valid", "test")

DEVICES = "cpu, cuda, cuda:1, mps or xpu"


def refused(wanted: str, got: str, hint: str) -> argparse.ArgumentTypeError:
    """An error for a wrong value of an option, worded like all errors."""
    from neuralop_irno.errors import expected

    return argparse.ArgumentTypeError(expected(wanted, got, hint))


def device(word: str) -> str:
    """Parse the name of an available device."""
    if word == "cpu":
        return word  # skip the import of torch, which takes seconds
    import torch

    try:
        found = torch.device(word)
    except RuntimeError as error:
        raise refused("a device", repr(word), DEVICES) from error
    if found.type == "cpu":
        return word
    counts = {
        "cuda": torch.cuda.device_count,
        "mps": lambda: int(torch.backends.mps.is_available()),
        "xpu": torch.xpu.device_count,
    }
    if found.type not in counts:
        raise refused("a device", repr(word), DEVICES)
    count = counts[found.type]()
    if not (found.index or 0) < count:
        wanted = f"a device of this machine, which has {count} of type '{found.type}'"
        raise refused(wanted, repr(word), "cpu")
    return word


def count(word: str) -> int:
    """Parse an integer >= 0."""
    if not word.isdigit():
        raise refused("a whole number >= 0", repr(word), "6")
    return int(word)


def share(word: str) -> float:
    """Parse a number between 0 and 1."""
    value = number(word)
    if not 0 < value < 1:
        raise refused("a number between 0 and 1", repr(word), "0.9")
    return value


def above_zero(example: str) -> Callable[[str], float]:
    """A parser of numbers above 0; ``example`` is its hint."""

    def parse(word: str) -> float:
        with suppress(ValueError):
            value = float(word)
            if 0 < value < math.inf:
                return value
        raise refused("a number above 0", repr(word), example)

    return parse


def number(word: str) -> float:
    """Parse a number >= 0."""
    with suppress(ValueError):
        value = float(word)
        if 0 <= value < math.inf:
            return value
    raise refused("a number >= 0", repr(word), "1e-3")


def names(word: str) -> tuple[str, ...]:
    """Parse names with commas between them."""
    return tuple(filter(None, (name.strip() for name in word.split(","))))


def clock(word: str) -> tuple[float, float]:
    """Parse a start, and after a comma the frames between two restarts."""
    start, comma, restart = word.partition(",")
    with suppress(ValueError):
        found = float(start), float(restart) if comma else 1.0
        whole = 0 < found[1] < math.inf and min(found[1] % 1, 1 / found[1] % 1) < 1e-9
        if math.isfinite(found[0]) and whole:
            return found
    wanted = "a start, or a start and the frames between restarts, a whole number or one over it"
    raise refused(wanted, repr(word), "0,4 or 0,0.5")


def add_run(command: argparse.ArgumentParser) -> None:
    """Add the folder of a run, and ``--split``, ``--device`` and ``--json``."""
    command.add_argument("folder", type=Path, help="a run folder that irno train wrote")
    add_base(command)
    add_common(command)
    command.add_argument("--split", choices=SPLITS, default="test", help="split of the data (default: test)")


def add_base(command: argparse.ArgumentParser) -> None:
    """Add ``--base``."""
    command.add_argument(
        "--base",
        type=function_name,
        metavar="module:function",
        help="a function without arguments that returns the base, of a module that is installed or in the "
        "working directory; for bases that no config can build",
    )


def function_name(word: str) -> str:
    """Parse ``module:function``."""
    if not re.fullmatch(r"[\w.]+:[\w.]+", word):
        raise refused("module:function", repr(word), "my_models:poseidon")
    return word


def base_of(options: argparse.Namespace) -> Any:
    """The base that ``--base`` builds; None without it."""
    if options.base is None:
        return None
    from neuralop_irno.errors import expected, in_grammar

    module, _, function = options.base.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    hint = "a function without arguments, in a module of the working directory or an installed one"
    with in_grammar(f"a base from --base {options.base}", hint):
        base = operator.attrgetter(function)(import_module(module))()
    if base is None:
        raise TypeError(expected(f"a base from --base {options.base}", "None", hint))
    return base


def measured_of(options: argparse.Namespace) -> dict[str, str]:
    """What a report of a run was measured of: the digest of the weights in its model, and the split."""
    from neuralop_irno import checkpoint, digest
    from neuralop_irno.training.folder import MODEL

    tensors, _ = checkpoint.read(options.folder / MODEL)
    return {"weights": digest.of_tensors(tensors), "split": options.split}


def add_common(command: argparse.ArgumentParser) -> None:
    """Add ``--device`` and ``--json``."""
    command.add_argument("--device", type=device, default="cpu", help=f"{DEVICES} (default: cpu)")
    add_json(command)


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")


def say(text: str) -> None:
    """Print a progress message to standard error."""
    print(text, file=sys.stderr, flush=True)


def result(options: argparse.Namespace, content: Any, text: str) -> None:
    """Print a result as JSON with ``--json``, as text otherwise."""
    print(json.dumps(_in_json(content), indent=1) if options.json else text, flush=True)


def _in_json(content: Any) -> Any:
    """The same content with None (null) for non-finite numbers, which JSON cannot represent."""
    if isinstance(content, dict):
        return {key: _in_json(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_in_json(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
