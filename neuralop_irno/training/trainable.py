"""One interface for all trained models: refiners, and any model from x to y."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from neuralop_irno.base.conditions import conditioned
from neuralop_irno.base.layout import AS_IT_STANDS, Axes
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.points import PointOperator
from neuralop_irno.base.sizes import on_its_grid
from neuralop_irno.base.tuples import TupleOperator
from neuralop_irno.devices import to_device
from neuralop_irno.domain.condition import Condition, mask_in
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.losses.loss import as_trajectory
from neuralop_irno.precision import for_weights
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.rollouts.training import RolloutModel
from neuralop_irno.solution import Trajectory
from neuralop_irno.training.batches import Sample, at_once, load_all
from neuralop_irno.training.distributed import Peers


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
        base: Any = model.base if isinstance(model, IterativeRefiner) else self.model
        layout = base.layout if isinstance(base, BaseOperator) else AS_IT_STANDS
        self.layout = AS_IT_STANDS if layout.plain else layout

    def forward(self, sample: Sample, y: Tensor, start: Tensor | None, taken: Tensor | None) -> Trajectory:
        """The supervised iterates of one batch."""
        if isinstance(self.model, IterativeRefiner):
            trajectory: Trajectory = self.model(**sample, y=y, start=start, taken=taken)
            return trajectory
        if isinstance(self.model, RolloutModel):
            return as_trajectory(self.model(**sample, y=y), sample)
        model: Any = self.model
        if isinstance(model, PointOperator) or not self.layout.plain or model.units is not None:
            call = model.problem((), sample)
            if model.units is not None:
                call = conditioned(call, Condition(mask=mask_in(call.start, sample))).in_units(
                    model.units, model
                )
            whole = torch.ones(call.domain.samples, device=call.start.device)
            return Trajectory((call.start,), (whole,), call.domain, as_field=call.as_field)
        return as_trajectory(model.split(model(**sample))[0], on_its_grid(model.module, sample))

    def in_units_of_data(self, states: Tensor, like: Tensor) -> Tensor:
        """Fields of a refiner's trajectory in the units and the precision of fields of the data."""
        states = states.to(like.dtype)
        units = self.model.units if isinstance(self.model, IterativeRefiner) else None
        return states if units is None else units.y.undo(states)

    def from_batch(self, batch: Sample) -> Sample:
        """A collated sample with x and y laid out as in a call of the model."""
        model: Any = self.model.model if isinstance(self.model, RolloutModel) else self.model
        return for_weights(self.layout.from_batch(batch), model)

    def fields(self, sample: Mapping[str, Any]) -> dict[str, Tensor]:
        """x, y and the fields of the conditions, with channels first, ``(B, C, *S)`` on grids.

        Conditions with fewer axes than x, such as a mask ``(B, *S)``, are left as they are.
        """
        like_x = [name for name in ("x", *self.on_grid) if name in sample]
        fields = {name: self._like_x(name, sample).fold(sample[name]) for name in like_x}
        return {**fields, "y": self.layout.answer.fold(sample["y"])}

    def laid_out(self, fields: Mapping[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Fields in the layouts of a call.

        Args:
            fields: those of `fields`, and perhaps a start.
            sample: the call from which they come.
        """
        answer = (self.layout.answer, self.layout.answer.frames(sample["y"]))
        sides = {"y": answer, "start": answer}
        for name in fields.keys() - sides.keys():
            axes = self._like_x(name, sample)
            sides[name] = axes, axes.frames(sample[name])
        return {name: sides[name][0].unfold(field, sides[name][1]) for name, field in fields.items()}

    def _like_x(self, name: str, sample: Mapping[str, Any]) -> Axes:
        """The axes of x, for x and what has as many axes; else those of a field as it stands."""
        like_x = "x" in sample and sample[name].dim() == sample["x"].dim()
        return self.layout.x if like_x else AS_IT_STANDS.x

    @property
    def has_frozen_base(self) -> bool:
        """Whether every sample starts from the same state in every epoch."""
        return isinstance(self.model, IterativeRefiner) and self.model.base.frozen

    @property
    def periodic(self) -> tuple[bool, ...] | None:
        """Which axes are periodic; None if the model does not state it."""
        return self.model.correction.periodic if isinstance(self.model, IterativeRefiner) else None

    @property
    def off_one_grid(self) -> str | None:
        """What fields are on that are not on one grid, also where samples are no graphs; else None."""
        base = self.model.base if isinstance(self.model, IterativeRefiner) else self.model
        if isinstance(base, TupleOperator):
            return "tuples of fields"
        return "sets of points" if isinstance(base, PointOperator) else None

    @property
    def on_grid(self) -> tuple[str, ...]:
        """The entries of a sample besides x and y that are laid out over its grid or mesh."""
        if not isinstance(self.model, IterativeRefiner):
            return ()
        known = self.model.conditions
        return (*known.fields, *([known.mask] if known.mask else []))

    def take_resolution(self, dataset: Dataset[Sample]) -> None:
        """Complete what a refiner knows of its grid by what the data set states."""
        if isinstance(self.model, IterativeRefiner):
            parts = dataset.datasets if isinstance(dataset, ConcatDataset) else [dataset]
            for part in parts:
                stated = Resolution.of(getattr(part, "resolution", None))
                self.model.resolution = self.model.resolution.completed(stated)

    def join_resolution(self, peers: Peers) -> None:
        """Collect the grids and spacings that the other processes met in training."""
        if isinstance(self.model, IterativeRefiner):
            for other in peers.gather(self.model.resolution.plain()):
                self.model.resolution = self.model.resolution.joined(Resolution.of(other))

    @torch.no_grad()
    def answers(
        self,
        dataset: Dataset[Sample],
        device: torch.device,
        batch_size: int | None = None,
        numbers: Tensor | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The base's outputs h_0 for samples of a data set, and the rows of each, batch by batch.

        Args:
            dataset: of dicts or graphs.
            device: of the model.
            batch_size: that of an evaluation by default.
            numbers: of the samples; all by default.
        """
        refiner: Any = self.model
        for index, batch in load_all(dataset, batch_size or at_once(self.model), numbers):
            sample = self.from_batch(to_device(batch, device))
            sample.pop("y")
            problem = refiner.problem((), sample)
            owner = sample.get("batch")
            ones = torch.ones(len(index), dtype=torch.long)
            sizes = ones if owner is None else owner.bincount(minlength=len(index)).cpu()
            yield refiner.base.as_field(problem.as_answer(problem.start)), sizes
