"""Training on several grids: each update is made on the grid of the data or on a coarser one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from neuralop_irno.domain.resampling import GridMaps
from neuralop_irno.domain.sphere_maps import SphereMaps
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner


class Coarsening:
    """Draws the grid of every update, the same one in all processes and after a resumption.

    Args:
        model: the model in training.
        recipe: its ``resolutions`` are the ratios of the cells of the data to those of the grid of an update.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.ratios, self.seed, self.model = recipe.resolutions, recipe.seed, model

    def maps(
        self, update: int, shape: Sequence[int], sphere: str | None = None
    ) -> GridMaps | SphereMaps | None:
        """The maps between the grid of the data and that of an update; None on the grid of the data.

        Args:
            update: its number.
            shape: of the fields.
            sphere: the grid on a sphere that the sample names; by default that of the model.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + update)
        ratio = self.ratios[int(torch.randint(len(self.ratios), (), generator=generator))]
        if ratio == 1 or not isinstance(self.model, IterativeRefiner):
            return None
        known, periodic = self.model.resolution, self.model.correction.periodic
        known = known if sphere is None else replace(known, sphere=sphere)
        coarse = [known.scaled(n, 1 / ratio, axis) for axis, n in enumerate(shape)]
        return known.maps(shape, coarse, periodic)
