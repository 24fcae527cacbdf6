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
        hint = "a GIF, or pip install 'neuralop_irno[film]'"
        raise ValueError(expected("ffmpeg for an MP4", "no such program", hint))
    return MP4Writer(fps=PER_SECOND)


def refuse_film(video: str | None, dimensions: int | None) -> None:
    """Raise an error for a film that cannot be written here.

    Args:
        video: its format; None for no film.
        dimensions: of the points of a graph; None on grids.
    """
    if video is None:
        return
    writer_for(Path(f"rollout.{video}"))
    if dimensions == 3:
        from neuralop_irno.diagnostics.scene import pyvista

        pyvista()


def projector_for(path: Path, film: Film) -> Callable[[], Path]:
    """A function that writes a film; what is missing for it is refused now.

    Args:
        path: the file, a GIF or an MP4.
        film: its frames.
    """
    writer = writer_for(path)
    if film.pos is not None and film.pos.shape[1] == 3:
        from neuralop_irno.diagnostics.scene import Scene  # PyVista, an extra

        scene = Scene(film)
        return lambda: _written(path, film, writer, scene.panel)
    return lambda: _written(path, film, writer, _panel)


Panel = Callable[[Axes, Film, Tensor, float], Show]
"""Draws the first frame of a series in a panel, and returns the function for the others."""


def _written(path: Path, film: Film, writer: Any, panel: Panel) -> Path:
    """Write the truth and the prediction of each model side by side, and their differences below.

    One model has its difference beside it, and all panels have one row.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    models = len(film.predicted)
    rows = min(models, 2)
    figure = Figure(figsize=(9 if models == 1 else 3 * (1 + models), 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 3 if models == 1 else 1 + models, squeeze=False)
    series = {"truth": film.true, **film.predicted}
    differences = {f"{name} - truth": values - film.true for name, values in film.predicted.items()}
    first = [*series, *(differences if rows == 1 else ())]
    places = dict(zip(first, axes[0], strict=True))
    if rows > 1:
        axes[1, 0].set_axis_off()
        places |= dict(zip(differences, axes[1, 1:], strict=True))
    limit = max(film.true.abs().max().item(), 1e-12)
    shown = {**series, **differences}
    panels = {name: panel(places[name], film, shown[name][0], limit) for name in shown}
    for name, each in places.items():
        each.set_title(name, fontsize=10)
    with writer.saving(figure, path, DPI):
        for place, number in enumerate(film.numbers):
            for name, draw in panels.items():
                draw(shown[name][place])
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
        if film.cells is None or len(film.cells) != 3:
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
