"""The base's answers to the samples of one process, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.errors import expected
from neuralop_irno.parallel import gathered
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.batches import Sample, at_a_time, at_once, grids_of, numbers_in, of_graphs
from neuralop_irno.training.placement import Placement
from neuralop_irno.training.states import States
from neuralop_irno.training.trainable import Trainable

FEW = 2**17
"""Numbers in one batch that are worth a larger one than that of an update."""


class CachedStarts:
    """Computes the base's answers, if the model has a frozen base whose answers are cached.

    Args:
        trainable: the model in training.
        recipe: its options.
        device: of this process.
        folder: of the run, for states on disk; None if it has none.
        world: the number of processes.
    """

    def __init__(
        self,
        trainable: Trainable,
        recipe: Recipe,
        device: torch.device,
        folder: Path | None,
        world: int = 1,
    ) -> None:
        self.trainable, self.recipe, self.device = trainable, recipe, device
        self.folder, self.world = folder, world

    def batch_size(self, dataset: Dataset[Sample]) -> int:
        """The batch size of evaluations in a training: for large samples that of an update in one process.

        So they need no more memory than updates do.
        """
        grids = grids_of(dataset)
        places = [0] if grids is None else [int((grids == grid).nonzero()[0]) for grid in grids.unique()]
        own = -(-self.recipe.batch_size // self.world)
        samples: list[Any] = [dataset[place] for place in places]
        most = (max(own, FEW // max(numbers_in(sample), 1)) for sample in samples)
        sizes = (at_a_time([sample]) for sample in samples)  # type: ignore[arg-type]
        return at_once(self.trainable.model) or min(*most, *sizes)

    def __call__(
        self, dataset: Dataset[Sample], numbers: Tensor, copies: int = 1
    ) -> tuple[States | None, Placement]:
        """The answers to some samples, and where they are.

        Args:
            dataset: of dicts or graphs.
            numbers: of the samples, ascending.
            copies: states of each sample to make room for; see `Placement`.

        Raises:
            ValueError: the recipe needs fields on one grid, and the data set has others.
        """
        got = "graphs" if of_graphs(dataset) else self.trainable.off_one_grid
        for option, off in (("shifts", False), ("resolutions", (1,))):
            if got is not None and getattr(self.recipe, option) != off:
                hint = f"{option}={[1] if off else off}"
                raise ValueError(expected(f"fields on one grid for {option}", got, hint))
        placement = Placement(self.recipe.states, self.device, self.folder, copies)
        kept = self.recipe.train_for == "solution" and (self.recipe.cache_base or self.recipe.replay)
        if not (self.trainable.has_frozen_base and kept):
            return None, placement
        with gathered(self.trainable.model):  # processes may have other numbers of batches
            answers = self.trainable.answers(dataset, self.device, self.batch_size(dataset), numbers)
            return placement.collected(answers, numbers), placement
