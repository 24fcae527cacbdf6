"""The frozen base of a checkpoint, in a file of its own beside it.

A checkpoint holds what trains. The weights of a frozen base are written to a folder once, to a file with the
first digits of their SHA-256 digest in its name; checkpoints in that folder refer to them by the digest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from neuralop_irno import checkpoint, digest
from neuralop_irno.errors import expected

REFERENCE = "base"
"""The key of a checkpoint's content under which it refers to its base: ``{"sha256": digest}``."""

DIGITS = 16
"""Digits of the digest in the name of a file."""

NAME = rf"base-[0-9a-f]{{{DIGITS}}}\.safetensors"
"""The pattern of these names."""


def file_of(folder: Path, sha256: str) -> Path:
    """The file of the base with a digest.

    Example:
        >>> file_of(Path("runs"), "0123456789abcdef" * 4).name
        'base-0123456789abcdef.safetensors'
    """
    return folder / f"base-{sha256[:DIGITS]}{checkpoint.SUFFIX}"


def write(folder: Path, tensors: Mapping[str, Tensor], sha256: str) -> None:
    """Write the weights of a base with a digest, unless their file is in the folder and whole.

    If a folder beside this one has the file, as those of a study have, it gets a second name in this folder
    (a hard link). Files are replaced and never modified, so neither folder depends on the other.
    """
    path = file_of(folder, sha256)
    if not _is_whole(path) and not _linked(path):
        checkpoint.write(path, tensors, {REFERENCE: {"sha256": sha256}})


def read(folder: Path, sha256: str) -> dict[str, Tensor] | None:
    """The weights of the base with a digest; None if its file is not in the folder.

    Raises:
        ValueError: the file is damaged, or holds other weights.
    """
    path = file_of(folder, sha256)
    return checked(path, sha256) if path.is_file() else None


def checked(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The weights in a base's file, whose digest has to be the given one, or that in its name.

    Raises:
        FileNotFoundError, ValueError: as `checkpoint.read`; or the digest is another one.
    """
    tensors, _ = checkpoint.read(path)
    own = digest.of_tensors(tensors)
    if own != (sha256 or own) or path.name != file_of(path.parent, own).name:
        wanted = f"weights with the SHA-256 digest {sha256 or 'in the name'} in {path.name}"
        raise ValueError(expected(wanted, own, "a backup copy of it"))
    return tensors


def reference(content: Mapping[str, Any], name: str) -> str | None:
    """The digest of the base to which a checkpoint refers; None if it holds all of its weights.

    Args:
        content: of the checkpoint.
        name: of its file, for the error.

    Raises:
        ValueError: the reference is no SHA-256 digest.
    """
    if REFERENCE not in content:
        return None
    stated = content[REFERENCE]
    sha256 = stated.get("sha256") if isinstance(stated, Mapping) else None
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(expected(f"the SHA-256 digest of a base in {name}", repr(stated), "an earlier file"))
    return sha256


def _is_whole(path: Path) -> bool:
    try:
        checked(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def _linked(path: Path) -> bool:
    """Link a missing file to a whole one of the same name in a folder beside; returns whether it was done."""
    folder = path.absolute().parent
    if path.exists() or not folder.is_dir():
        return False
    whole = next(filter(_is_whole, folder.parent.glob(f"*/{path.name}")), None)
    if whole is None:
        return False
    try:
        os.link(whole, path)
    except OSError:  # another file system, one without hard links, or another process was faster
        return False
    checkpoint.sync_folder(folder)
    return True
