"""JSON and YAML files with a format version and a SHA-256 digest of their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralop_irno import checkpoint, digest
from neuralop_irno.errors import expected
from neuralop_irno.formats import FORMAT

FIRST_LINE = re.compile(rb"# irno format (\d+)\n")
LAST_LINE = re.compile(rb"(.*\n)# sha256 ([0-9a-f]{64})\n", re.DOTALL)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Write a mapping as JSON, atomically, with the keys ``format`` and ``digest`` added."""
    whole = {"format": FORMAT, **content}
    return checkpoint.write_json(path, {**whole, "digest": digest.of_json(whole)})


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping that `write_json` wrote; files of format 1 have no digest and are not checked.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was written by a newer version; the error names it.
    """
    source = Path(path)
    if not source.is_file():
        hint = "the path of an existing file"
        raise FileNotFoundError(expected("a JSON file", f"no file at {source}", hint))
    try:
        content = json.loads(source.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(expected(f"JSON in {source.name}", error, "an earlier file, or a copy")) from error
    if not isinstance(content, dict):
        got = type(content).__name__
        raise ValueError(expected(f"a mapping in {source.name}", got, "an earlier file, or a copy"))
    version = content.get("format", 1)
    if type(version) is not int or version > FORMAT:
        got = f"format {version} in {source.name}"
        raise ValueError(expected(f"format {FORMAT} or older", got, "a newer neuralop_irno"))
    stored = content.pop("digest", None)
    if (version > 1 or stored is not None) and stored != digest.of_json(content):
        raise ValueError(changed(source.name))
    content.pop("format", None)
    return content


def seal(text: bytes) -> bytes:
    """Add the format and the digest to YAML text, as comments.

    Example:
        >>> sealed = seal(b"steps: 4")
        >>> sealed.splitlines()[:2]
        [b'# irno format 7', b'steps: 4']
        >>> is_sealed(sealed)
        True
    """
    above = f"# irno format {FORMAT}\n".encode() + text.rstrip(b"\n") + b"\n"
    return above + b"# sha256 " + hashlib.sha256(above).hexdigest().encode() + b"\n"


def is_sealed(text: bytes, name: str = "the file") -> bool:
    """Whether YAML text was written by `seal`; False for format 1, which has no digest.

    Args:
        text: the content of a file.
        name: the name of the file, for the error.

    Raises:
        ValueError: the text does not have the digest in its last line.
    """
    found = LAST_LINE.fullmatch(text)
    if found is None and not FIRST_LINE.match(text):
        return False
    if found is None or hashlib.sha256(found[1]).hexdigest().encode() != found[2]:
        raise ValueError(changed(name))
    return True


def format_of(text: bytes, name: str = "the file") -> int | None:
    """The format of YAML text by its first line; None if `seal` did not write it, or wrote format 1.

    Args:
        text: the content of a file.
        name: the name of the file, for the error.

    Raises:
        ValueError: the text was written by a newer version.
    """
    found = FIRST_LINE.match(text)
    version = int(found[1]) if found else None
    if version is not None and version > FORMAT:
        got = f"format {version} in {name}"
        raise ValueError(expected(f"format {FORMAT} or older", got, "a newer neuralop_irno"))
    return version


def changed(name: str) -> str:
    """The message of the error for a file with another digest."""
    return expected(
        f"the content that {name} was written with",
        "another SHA-256 digest: the file is damaged or was changed",
        "an earlier file, or a copy",
    )
