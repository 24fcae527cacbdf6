"""Cache files of tensors; a file is used only if it is intact and belongs to the same data."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from neuralop_irno import checkpoint
from neuralop_irno.errors import expected


def recall(path: Path, owner: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The tensors that `keep` stored; None if the file is missing, or, with a warning, damaged.

    Args:
        path: the file, which may be missing.
        owner: plain data that the tensors were computed from. A file stored for other data gives a warning
            and None.
    """
    try:
        if not path.is_file():
            return None
        tensors, config = checkpoint.read(path)
    except (ValueError, OSError) as error:
        warnings.warn(f"{error}. Its content is computed again.", stacklevel=2)
        return None
    ours = json.loads(json.dumps(owner))
    if any(name not in ours or ours[name] != value for name, value in config.items()):
        problem = expected(f"{path.name} to belong here", "one that was stored for other data", "removing it")
        warnings.warn(f"{problem}. Its content is computed again.", stacklevel=2)
        return None
    return tensors


def keep(path: Path, tensors: Mapping[str, Tensor], owner: Mapping[str, Any]) -> None:
    """Store tensors for `recall`; if the folder cannot be written, only a warning is given."""
    try:
        checkpoint.write(path, tensors, owner)
    except OSError as error:
        warnings.warn(f"{path.name} cannot be kept: {error}", stacklevel=2)
