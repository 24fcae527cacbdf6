"""Load a base from neuraloperator's own files without running code in them."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from neuralop_irno.errors import expected
from neuralop_irno.persistence import CACHE
from neuralop_irno.registry import MODELS, parameters_of

HARMLESS = (nn.functional.gelu, nn.functional.relu, nn.functional.silu, nn.functional.tanh)
"""Functions that neuraloperator's metadata refer to and that are safe to call."""


UNREADABLE = (
    RuntimeError, pickle.UnpicklingError, EOFError, OSError, TypeError, AttributeError, LookupError,
    ArithmeticError,
)  # fmt: skip
"""Errors that torch raises on damaged files."""


def load_base(folder: str | os.PathLike[str], name: str, trusted: bool = False) -> nn.Module:
    """Build a model from ``<name>_state_dict.pt`` and ``<name>_metadata.pkl``.

    Both files are pickles, which can contain code. They are read by torch's restricted unpickler, which
    builds tensors and plain data; here it also accepts neuraloperator's layers and four activation functions,
    which neuraloperator's metadata contain. Files with other objects are refused, unless trusted.

    Args:
        folder: the folder of the files.
        name: the start of their names; neuraloperator's Trainer writes ``model`` or ``best_model``.
        trusted: unpickle all objects. Only for files from a source you trust.

    Example:
        >>> import tempfile
        >>> from neuralop.models import FNO
        >>> base = FNO(n_modes=(4,), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1)
        >>> folder = tempfile.mkdtemp()
        >>> base.save_checkpoint(folder, "fno")
        >>> again = load_base(folder, "fno", trusted=True)  # it has a pickle
        >>> type(again).__name__
        'FNO'
    """
    metadata = read_pickle(Path(folder) / f"{name}_metadata.pkl", trusted)
    state = read_pickle(Path(folder) / f"{name}_state_dict.pt", trusted)
    metadata.pop("_version", None)
    arch, args = metadata.pop("_name", None), metadata.pop("args", ())
    if not isinstance(arch, str):
        wanted = f"the metadata of a neuraloperator model in {name}_metadata.pkl"
        hint = "the name that neuraloperator saved the model under"
        raise ValueError(expected(wanted, f"{sorted(metadata)}", hint))
    if CACHE in metadata:  # a model read from a file must not create folders
        wanted = f"no {CACHE} folder in {name}_metadata.pkl"
        raise ValueError(expected(wanted, f"{metadata[CACHE]}", f"a model saved without {CACHE}"))
    constructor = MODELS.lookup(arch.lower())
    # For arguments passed by position, neuraloperator also records their defaults by name: drop these.
    by_position = list(parameters_of(constructor))[: len(args)]
    named = {key: value for key, value in metadata.items() if key not in by_position}
    model: nn.Module = constructor(*args, **named)
    model.load_state_dict({key: value for key, value in state.items() if key != "_metadata"})
    return model


def read_pickle(path: Path, trusted: bool) -> dict[str, Any]:
    """The content of a file of torch.save, which is a mapping; see `load_base` for ``trusted``."""
    if not path.is_file():
        hint = "the folder and the name that neuraloperator saved the model under"
        raise FileNotFoundError(expected("a file of neuraloperator's", f"no {path}", hint))
    broken = expected(
        f"a whole file {path.name}, as torch.save writes it",
        "one that is cut short or of another kind",
        "an earlier checkpoint",
    )
    if not zipfile.is_zipfile(path):
        raise ValueError(broken)
    try:
        return _unpickled(path, trusted)
    except UNREADABLE as error:
        raise ValueError(broken) from error


def _unpickled(path: Path, trusted: bool) -> dict[str, Any]:
    named = [] if trusted else get_unsafe_globals_in_checkpoint(path)
    refused = [word for word in named if not _harmless(word)]
    if refused:
        got = f"{path.name}, which names {', '.join(refused)} and needs trusted unpickling"
        hint = "load_base(.., trusted=True) or irno train --trust-base, if you know where it comes from"
        raise ValueError(expected("a file of tensors and plain data", got, hint))
    with safe_globals([_resolve(word) for word in named]):
        return dict(torch.load(path, map_location="cpu", weights_only=not trusted))


def _harmless(word: str) -> bool:
    root = word.partition(".")[0]
    if root not in ("neuralop", "torch"):
        return False
    found = _resolve(word)
    if isinstance(found, type):
        return issubclass(found, nn.Module) and found.__module__.startswith("neuralop.layers.")
    return found in HARMLESS


def _resolve(word: str) -> Any:
    module, _, name = word.rpartition(".")
    # Not imported: importing a module runs its code.
    return getattr(sys.modules.get(module), name, None)
