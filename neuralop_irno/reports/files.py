"""The files of a folder, read for a report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from neuralop_irno.errors import expected


def read_json(path: Path) -> Any:
    """Plain data from JSON; None if there is no such file.

    Raises:
        ValueError: it is no JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(expected(f"JSON in {path}", error, "an earlier file, or a copy")) from error


def read_text(path: Path) -> str | None:
    """The text of a file, with a sign for each byte that is none; None if there is no such file."""
    return path.read_bytes().decode(errors="replace") if path.is_file() else None


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table by the names of its columns; none if there is no such file."""
    found = read_text(path)
    return [] if found is None else list(csv.DictReader(io.StringIO(found)))
