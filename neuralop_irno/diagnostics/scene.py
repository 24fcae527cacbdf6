"""Fields on points and meshes in three dimensions, drawn off screen by PyVista."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from neuralop_irno.diagnostics.film import Film
from neuralop_irno.errors import from_extra

SIZE = 320
"""The side of a panel in pixels."""


def pyvista() -> Any:
    """The package PyVista.

    Raises:
        ImportError: it is not installed.
    """
    with from_extra("PyVista for films of points and meshes in three dimensions", "pyvista"):
        import pyvista as package

    return package


class Scene:
    """The points or cells of a film in three dimensions: a surface, the cut half of a solid, or a cloud.

    Args:
        film: with points ``(n, 3)``.

    Raises:
        ImportError: PyVista is not installed.
    """

    def __init__(self, film: Film) -> None:
        assert film.pos is not None
        self._pyvista = pv = pyvista()
        pos = film.pos.double().numpy()
        corners = 0 if film.cells is None else len(film.cells)
        if film.cells is None or corners not in (3, 4):
            mesh: Any = pv.PolyData(pos)
        elif corners == 3:
            mesh = pv.PolyData.from_regular_faces(pos, film.cells.T.numpy())
        else:
            mesh = pv.UnstructuredGrid({pv.CellType.TETRA: film.cells.T.numpy()}, pos)
        mesh["node"] = np.arange(len(pos))
        if corners == 4:
            mesh = mesh.clip("x", crinkle=True)  # whole cells, so that the nodes keep their numbers
        self._mesh, self._nodes, self._cloud = mesh, np.asarray(mesh["node"]), not corners

    def panel(self, axes: Axes, film: Film, first: Tensor, limit: float) -> Callable[[Tensor], object]:
        """Draw the first frame of a series; returns the function that draws another one."""
        mesh = self._mesh.copy()
        with self._pyvista.vtk_verbosity("off"):  # VTK warns of a missing screen, which is not needed
            plotter = self._pyvista.Plotter(off_screen=True, window_size=(SIZE, SIZE))
            mesh["field"] = first.numpy()[self._nodes]
            plotter.add_mesh(
                mesh,
                scalars="field",
                clim=(-limit, limit),
                cmap="RdBu_r",
                show_scalar_bar=False,
                point_size=6,
                render_points_as_spheres=self._cloud,
            )

        def picture(values: Tensor) -> Any:
            mesh["field"] = values.numpy()[self._nodes]
            with self._pyvista.vtk_verbosity("off"):
                return plotter.screenshot(return_img=True)

        axes.set_axis_off()
        image = axes.imshow(picture(first))
        return lambda values: image.set_data(picture(values))
