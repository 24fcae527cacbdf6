"""VTU files with raw appended arrays, ParaView's default, written again with arrays in the text.

meshio looks up the arrays of such a file by offsets that it changes meanwhile: it fails, or gives one array
the values of another.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from neuralop_irno.errors import UnreadableError

RAW = re.compile(rb"<AppendedData[^>]*\bencoding\s*=\s*[\"']raw[\"'][^>]*>\s*_")
HEADERS = {"UInt32": "u4", "UInt64": "u8"}


def inlined(path: Path) -> bytes | None:
    """A file with raw appended arrays as one with arrays in the text; None for other files.

    Raises:
        ValueError: an array is not in the file.
    """
    whole = path.read_bytes()
    found = RAW.search(whole)
    if found is None:
        return None
    root = ElementTree.fromstring(whole[: found.start()] + b"</VTKFile>")
    data = whole[found.end() :]
    order = ">" if root.get("byte_order") == "BigEndian" else "<"
    numbers = np.dtype(order + HEADERS[root.get("header_type", "UInt32")])
    for array in root.iter("DataArray"):
        if array.get("format") == "appended":
            parts = _parts(data, int(array.attrib.pop("offset")), numbers, "compressor" in root.attrib)
            if parts is None:
                raise UnreadableError(f"the array {array.get('Name')!r}, which ends after the file")
            array.text = "".join(base64.b64encode(part).decode() for part in parts)
            array.set("format", "binary")
    return ElementTree.tostring(root)


def _parts(data: bytes, start: int, numbers: Any, compressed: bool) -> list[bytes] | None:
    """What is encoded separately: the sizes of compressed blocks and the blocks, or size and values together.

    None if they are not in the data.
    """
    width = numbers.itemsize

    def sizes(count: int) -> list[int]:
        return np.frombuffer(data[start : start + count * width], numbers).tolist()

    if not 0 <= start <= len(data) - width:
        return None
    (first,) = sizes(1)
    if not compressed:
        end = start + width + first
        return [data[start:end]] if end <= len(data) else None
    ahead = start + (3 + first) * width
    if ahead > len(data):
        return None
    end = ahead + sum(sizes(3 + first)[3:])
    return [data[start:ahead], data[ahead:end]] if end <= len(data) else None
