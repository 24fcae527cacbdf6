"""Pictures and films inside a page."""

from __future__ import annotations

import base64
from pathlib import Path

from neuralop_irno.reports.markup import Markup, tag
from neuralop_irno.reports.plots import figure

LARGEST = 8 * 2**20
"""The most bytes of a picture or film that is embedded: a page of more than 11 MB opens slowly."""

MIME = {".gif": "image/gif", ".png": "image/png", ".mp4": "video/mp4"}


def film(path: Path, title: str, about: str) -> Markup:
    """A film or picture in the page itself; of one above `LARGEST` only its name and size.

    Args:
        path: a GIF, PNG or MP4.
        title: of the figure.
        about: what it shows.
    """
    size = path.stat().st_size
    if size > LARGEST:
        text = f"{path.name} has {_mib(size)}; films above {_mib(LARGEST)} are not embedded."
        return figure(title, tag("p", text, class_="empty"), (), about)
    return embedded(path.read_bytes(), path.suffix.lower(), title, about)


def embedded(content: bytes, suffix: str, title: str, about: str) -> Markup:
    """A picture or film of these bytes."""
    data = f"data:{MIME[suffix]};base64,{base64.b64encode(content).decode()}"
    if suffix == ".mp4":
        shown = tag("video", src=data, controls="", loop="", muted="", playsinline="", aria_label=title)
    else:
        shown = tag("img", src=data, alt=title)
    return figure(title, shown, (), about, class_="wide")


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
