"""One update of the weights, in one process or in many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.devices import to_device
from neuralop_irno.domain.condition import where_inside
from neuralop_irno.domain.grid import measure_on
from neuralop_irno.domain.resampling import GridMaps
from neuralop_irno.domain.sphere import grid_of
from neuralop_irno.domain.sphere_maps import SphereMaps
from neuralop_irno.draws import drawn_for, key
from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import matching
from neuralop_irno.parallel import sum_gradients
from neuralop_irno.recipe import PRECISIONS, Recipe
from neuralop_irno.sharded import is_part, whole_tensor
from neuralop_irno.training import preconditioner
from neuralop_irno.training.batches import Sample, draw_roll, roll
from neuralop_irno.training.coarsening import Coarsening
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.divergence import DivergenceError
from neuralop_irno.training.evaluation import inside_in
from neuralop_irno.training.shards import Shards
from neuralop_irno.training.states import States
from neuralop_irno.training.trainable import Trainable
from neuralop_irno.training.training_run import TrainingRun


@dataclass(frozen=True)
class Update:
    """The result of one update.

    Attributes:
        loss: summed over the samples of the batch, in all processes.
        skipped: whether the weights were left as they are, because a gradient was not finite.
        stop: whether a process has received a signal to stop.
    """

    loss: float
    skipped: bool
    stop: bool


def parts(whole: Tensor, number: int) -> list[Tensor]:
    """A batch of sample numbers in ``number`` parts, or in as many as it has samples.

    Example:
        >>> parts(torch.arange(3), 2)
        [tensor([0, 1]), tensor([2])]
    """
    return list(whole.tensor_split(min(number, len(whole))))


class Updater:
    """Makes updates: the call, the loss, the gradients of all processes, and the optimizer.

    Args:
        run: changed in place, except its progress, which the caller counts.
        trainable: the run's model.
        recipe: the options of the training.
        peers: the processes that train together.
        shards: the samples of this process.
        device: of this process.
        starts: the base's outputs for the training set, if they are cached.
    """

    def __init__(
        self,
        run: TrainingRun,
        trainable: Trainable,
        recipe: Recipe,
        peers: Peers,
        shards: Shards,
        device: torch.device,
        starts: States | None,
    ) -> None:
        self.run, self.trainable, self.recipe = run, trainable, recipe
        self.peers, self.shards, self.device, self.starts = peers, shards, device, starts
        self.coarsening = Coarsening(trainable.model, recipe)
        self.parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
        sum_gradients(trainable.model)
        shared = (*trainable.parameters(), *trainable.buffers(), *run.loss.buffers())
        peers.share_out(tensor for tensor in shared if not is_part(tensor))

    def __call__(self, whole: Tensor, samples: Iterable[Sample], rate: float, stop: bool) -> Update:
        """One update.

        Args:
            whole: the sample numbers of the batch.
            samples: this process's share of each of its `parts`, collated.
            rate: the learning rate.
            stop: whether this process has received a signal to stop.

        Raises:
            DivergenceError: the loss is not finite, in any process; the weights are left as they are.
        """
        self.run.optimizer.zero_grad(set_to_none=True)
        seed_generators(self.device, self.recipe.seed, self.run.progress.update, self.peers.rank)
        losses = [
            self._backward(part, sample, len(whole))
            for part, sample in zip(parts(whole, self.recipe.accumulate), samples, strict=True)
        ]
        self.run.loss.count()
        loss, stops = self._add_up(torch.stack(losses).sum(), stop)
        skipped = not self._step(rate)
        if self.run.average is not None:
            self.run.average.update(self.run.progress.update + 1)
        return Update(loss, skipped, stops)

    def _backward(self, part: Tensor, sample: Sample, batch: int) -> Tensor:
        """Accumulate the gradients of a part of a batch; returns its summed loss."""
        index, weight = self.shards.share(part)
        with drawn_for(index, self.recipe.seed, self.run.progress.update):
            return self._backward_share(index, weight, sample, batch)

    def _backward_share(self, index: Tensor, weight: float, sample: Sample, batch: int) -> Tensor:
        """The same for this process's share of the part, with a weight of 0 for padding."""
        sample = self.trainable.from_batch(to_device(sample, self.device))
        precision = PRECISIONS[self.run.precision]
        autocast = torch.autocast(self.device.type, dtype=precision, enabled=precision is not None)
        if self.recipe.train_for == "preconditioner":
            with autocast:
                losses = weight * preconditioner.losses(self.trainable.model, sample).sum()
            (losses / batch).backward()
            return losses.detach()
        fields, taken, moved = self._fields(index, sample)
        maps = self.coarsening.maps(self.run.progress.update, fields["y"].shape[2:], grid_of(sample))
        before = fields
        rest = {name: value for name, value in sample.items() if name not in fields}
        if maps is not None:
            inside = inside_in(self.trainable.model, fields, fields["y"])
            fields = {name: _restricted(field, maps, inside) for name, field in fields.items()}
            if rest.get("measure") is not None:
                rest["measure"] = measure_on(rest["measure"], fields["y"].shape[2:])
        with autocast:
            call = {**rest, **self.trainable.laid_out(fields, sample)}
            y, start = call.pop("y"), call.pop("start", None)
            trajectory = self.trainable(call, y, start, taken)
        losses = weight * self.run.loss.per_sample(trajectory, matching(trajectory, y)).sum()
        (losses / batch).backward()
        if self.run.replay is not None and weight:
            reached = trajectory.as_field(trajectory.as_answer(trajectory.last.detach()))
            reached = self.trainable.in_units_of_data(reached, fields["start"])
            if maps is not None:  # one step of P Phi(R x, R h)
                reached = before["start"] + maps.prolong(reached - fields["start"])
            back = [-amount for amount in moved]
            truth = before["y"].to(reached).reshape(reached.shape)
            self.run.replay.put(index, roll(reached, back), roll(truth, back))
        return losses.detach()

    def _fields(
        self, index: Tensor, sample: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], Tensor | None, list[int]]:
        """All fields of a sample, shifted together; the steps taken to the start; and the shifts."""
        fields, taken = self.trainable.fields(sample), None
        if self.run.replay is not None:
            fields["start"], taken = self.run.replay.take(index)
        elif self.starts is not None:
            fields["start"] = self.starts[index]
        moved = draw_roll(fields["x"], self.trainable.periodic or ()) if self.recipe.shifts else []
        return {name: roll(field, moved) for name, field in fields.items()}, taken, moved

    def _add_up(self, loss: Tensor, stop: bool) -> tuple[float, bool]:
        """Sum the gradients of all processes; returns the summed loss, and whether one is to stop."""
        numbers = torch.tensor([0.0, float(stop)], dtype=torch.float64, device=self.device)
        numbers[0] = loss
        whole = [weight for weight in self.parameters if not is_part(weight)]  # FSDP2 has summed the others'
        total, stops = self.peers.add_gradients(whole, numbers).tolist()
        self.peers.share_out(self._moving_buffers())
        if not torch.isfinite(torch.tensor(total)):
            raise DivergenceError(
                expected(
                    "a finite loss",
                    f"{total} before update {self.run.progress.update + 1}",
                    "a smaller learning_rate; the last snapshot and the best model are intact",
                )
            )
        return total, stops > 0

    def _step(self, rate: float) -> bool:
        """Clip, and step if every gradient is finite; returns whether it was."""
        norm = whole_tensor(nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip))
        if not norm.isfinite():
            return False
        for group in self.run.optimizer.param_groups:
            group["lr"] = rate
        self.run.optimizer.step()
        return True

    def _moving_buffers(self) -> list[Tensor]:
        """Buffers that forward passes may change: statistics of norms, counters; not a frozen base's."""
        model: Any = self.trainable.model
        parts = (model.correction, model.solver) if self.trainable.has_frozen_base else (model,)
        return [buffer for part in (*parts, self.run.loss) for buffer in part.buffers()]


def seed_generators(device: torch.device, *numbers: int) -> None:
    """Seed torch's generators of the CPU and of a device, for models and data sets that draw from them."""
    seed = key(*numbers)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _restricted(field: Tensor, maps: GridMaps | SphereMaps, inside: Tensor | None) -> Tensor:
    """A field on a coarser grid, ``(B, C, *S)`` or ``(B, *S)``, without what is outside of a mask."""
    if field.dim() < maps.dim + 2:
        return _restricted(field[:, None], maps, inside)[:, 0]
    return maps.restrict(where_inside(inside, field))
