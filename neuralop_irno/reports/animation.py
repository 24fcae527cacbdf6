"""Frames of a field as a picture or an animated GIF in the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuralop_irno.reports.film import embedded
from neuralop_irno.reports.markup import Markup

MAP = "RdBu_r"

PER_SECOND = 8

SMALLEST = 320
"""The least width of a picture in pixels: smaller grids are drawn with several pixels for a cell."""

LARGEST = 480
"""The most cells along an axis; of larger grids every second, third, .. cell is drawn."""


def animated(frames: Sequence[NDArray[Any]], about: str) -> Markup:
    """A film of fields on a plane; of fields on a line the picture of all frames, with time upwards.

    Args:
        frames: ``(n,)`` or ``(n, m)`` each.
        about: what they show.
    """
    limit = max((float(np.abs(frame[np.isfinite(frame)]).max(initial=0)) for frame in frames), default=0.0)
    scale = f"Colours from {-limit:.4g} (blue) to {limit:.4g} (red)."
    content = io.BytesIO()
    if frames[0].ndim == 1:
        _image(np.stack(frames), limit).save(content, "PNG")
        return embedded(content.getvalue(), ".png", about, f"Time upwards, {scale[0].lower()}{scale[1:]}")
    first, *rest = (_image(frame, limit) for frame in frames)
    first.save(content, "GIF", save_all=True, append_images=rest, duration=1000 // PER_SECOND, loop=0)
    return embedded(content.getvalue(), ".gif", about, scale)


def _image(values: NDArray[Any], limit: float) -> Image.Image:
    """A field with its first axis upwards."""
    steps = [max(1, -(-size // LARGEST)) for size in values.shape]
    shown = values[:: steps[0], :: steps[1]][::-1]
    share = np.nan_to_num(shown / (limit or 1.0), nan=0.0, posinf=1.0, neginf=-1.0)
    image = Image.fromarray(np.round((share + 1) * 127.5).clip(0, 255).astype(np.uint8), "L")
    image.putpalette((matplotlib.colormaps[MAP](np.arange(256), bytes=True)[:, :3]).tobytes())
    larger = max(1, -(-SMALLEST // image.width))
    return image.resize((image.width * larger, image.height * larger), Image.Resampling.NEAREST)
