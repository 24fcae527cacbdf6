"""Films as files: an animated GIF, or an MP4 with ffmpeg from the PATH or from imageio-ffmpeg."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from matplotlib import animation
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation
from torch import Tensor

from neuralop_irno.diagnostics.film import Film
from neuralop_irno.errors import expected

PER_SECOND = 8
DPI = 80

Show = Callable[[Tensor], object]
"""Draws another frame of a panel."""


class MP4Writer(animation.FFMpegWriter):
    """Matplotlib's writer, which also finds the ffmpeg of the package imageio-ffmpeg."""

    @classmethod
    def bin_path(cls) -> str:
        program: str = super().bin_path()
        if shutil.which(program) is None and find_spec("imageio_ffmpeg") is not None:
            import imageio_ffmpeg

            program = imageio_ffmpeg.get_ffmpeg_exe()
        return program


def writer_for(path: Path) -> Any:
    """The writer for films of this suffix; raises if there is none.

    Example:
        >>> type(writer_for(Path("rollout.gif"))).__name__
        'PillowWriter'
    """
    if path.suffix == ".gif":
        return animation.PillowWriter(fps=PER_SECOND)
    if path.suffix != ".mp4":
        raise ValueError(expected("a film that ends in .gif or .mp4", path.name, "rollout.gif"))
    if not MP4Writer.isAvailable():
        hint = "a GIF, or pip install neuralop_irno[film]"
        raise ValueError(expected("ffmpeg for an MP4", "no such program", hint))
    return MP4Writer(fps=PER_SECOND)


def show(path: Path, film: Film, writer: Any) -> Path:
    """Write a film: the truth, the prediction and their difference side by side.

    Args:
        path: the file.
        film: its frames.
        writer: of `writer_for`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    series = {"truth": film.true, "predicted": film.predicted, "difference": film.predicted - film.true}
    limit = max(film.true.abs().max().item(), 1e-12)
    axes = figure.subplots(1, 3)
    panels = [
        _panel(each, film, values[0], limit) for each, values in zip(axes, series.values(), strict=True)
    ]
    for each, name in zip(axes, series, strict=True):
        each.set_title(name, fontsize=10)
    with writer.saving(figure, path, DPI):
        for place, number in enumerate(film.numbers):
            for panel, values in zip(panels, series.values(), strict=True):
                panel(values[place])
            figure.suptitle(f"{film.title}, frame {number}", fontsize=10)
            writer.grab_frame()
    return path


def _panel(axes: Axes, film: Film, first: Tensor, limit: float) -> Show:
    """Draw the first frame, and return the function for the others; differences have the fields' scale."""
    scale: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    if film.pos is not None and film.pos.shape[1] > 1:
        axes.set(aspect="equal")
        axes.set_axis_off()
        x, y = film.pos[:, 0].numpy(), film.pos[:, 1].numpy()
        if film.cells is None:
            points = axes.scatter(x, y, c=first.numpy(), s=8, **scale)
            return lambda values: points.set_array(values.numpy())
        triangles = Triangulation(x, y, film.cells.T.numpy())
        mesh = axes.tripcolor(triangles, first.numpy(), shading="gouraud", **scale)
        return lambda values: mesh.set_array(values.numpy())
    if first.dim() == 2:
        axes.set_axis_off()
        image = axes.imshow(first.T.numpy(), origin="lower", **scale)
        return lambda values: image.set_data(values.T.numpy())
    along = range(len(first)) if film.pos is None else film.pos[:, 0].numpy()
    (line,) = axes.plot(along, first.numpy(), "." if film.pos is not None else "-")
    axes.set_ylim(-1.1 * limit, 1.1 * limit)
    return lambda values: line.set_ydata(values.numpy())
