"""One interface for all trained models: refiners, and any model from x to y."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from neuralop_irno.base.layout import AS_IT_STANDS
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.devices import to_device
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.losses.loss import as_trajectory
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.rollouts.training import RolloutModel
from neuralop_irno.solution import Trajectory
from neuralop_irno.training.batches import Sample, load_all
from neuralop_irno.training.states import States


class Trainable(nn.Module):
    """A model with a single call from sample, y and start to a trajectory.

    The trainer works on fields with channels first, `fields`; `laid_out` brings them to the layout of a call.

    Args:
        model: a refiner, an `RolloutModel`, or any module that is called with the sample except y.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        answers_itself = isinstance(model, (IterativeRefiner, RolloutModel))
        self.model = model if answers_itself else wrap_operator(model, frozen=False)
        layout = model.base.layout if isinstance(model, IterativeRefiner) else AS_IT_STANDS
        self.layout = AS_IT_STANDS if layout.plain else layout

    def forward(self, sample: Sample, y: Tensor, start: Tensor | None, taken: Tensor | None) -> Trajectory:
        """The supervised iterates of one batch."""
        if isinstance(self.model, IterativeRefiner):
            trajectory: Trajectory = self.model(**sample, y=y, start=start, taken=taken)
            return trajectory
        if isinstance(self.model, RolloutModel):
            return as_trajectory(self.model(**sample, y=y), sample)
        model: Any = self.model
        return as_trajectory(model.split(model(**sample))[0], sample)

    def from_batch(self, batch: Sample) -> Sample:
        """A collated sample with x and y laid out as in a call of the model."""
        return self.model.base.from_batch(batch) if isinstance(self.model, IterativeRefiner) else batch

    def fields(self, sample: Mapping[str, Any]) -> dict[str, Tensor]:
        """x and y of a sample with channels first, ``(B, C, *S)`` on grids."""
        return {"x": self.layout.x.fold(sample["x"]), "y": self.layout.answer.fold(sample["y"])}

    def laid_out(self, fields: Mapping[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Fields in the layouts of a call.

        Args:
            fields: x, y and perhaps a start.
            sample: the call from which x and y come.
        """
        answer = (self.layout.answer, self.layout.answer.frames(sample["y"]))
        sides = {"x": (self.layout.x, self.layout.x.frames(sample["x"])), "y": answer, "start": answer}
        return {name: sides[name][0].unfold(field, sides[name][1]) for name, field in fields.items()}

    @property
    def has_frozen_base(self) -> bool:
        """Whether every sample starts from the same state in every epoch."""
        return isinstance(self.model, IterativeRefiner) and self.model.base.frozen

    @property
    def periodic(self) -> tuple[bool, ...] | None:
        """Which axes are periodic; None if the model does not state it."""
        return self.model.correction.periodic if isinstance(self.model, IterativeRefiner) else None

    def take_resolution(self, dataset: Dataset[Sample]) -> None:
        """Complete what a refiner knows of its grid by what the data set states."""
        if isinstance(self.model, IterativeRefiner):
            parts = dataset.datasets if isinstance(dataset, ConcatDataset) else [dataset]
            for part in parts:
                stated = Resolution.of(getattr(part, "resolution", None))
                self.model.resolution = self.model.resolution.completed(stated)

    @torch.no_grad()
    def starts(self, dataset: Dataset[Sample], device: torch.device, batch_size: int | None = None) -> States:
        """The base's output h_0 for every sample of a data set, with channels first on grids."""
        refiner: Any = self.model
        answers, sizes = [], []
        for index, batch in load_all(dataset, batch_size):
            sample = self.from_batch(to_device(batch, device))
            sample.pop("y")
            problem = refiner.problem((), sample)
            answers.append(refiner.base.as_field(problem.as_answer(problem.start)))
            owner = sample.get("batch")
            ones = torch.ones(len(index), dtype=torch.long)
            sizes.append(ones if owner is None else owner.bincount(minlength=len(index)).cpu())
        return States.of(answers, torch.cat(sizes))
