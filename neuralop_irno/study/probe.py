"""Memory and time of a few updates, and of a batch of answers, extended to larger batches.

They are measured on m samples, the batch or, of large samples, fewer, and on half of them; from there they
are extended to b samples, which is exact where all samples cost the same:

    a(b) = a(m) + (b - m) (a(m) - a(m / 2)) / (m / 2)
"""

from __future__ import annotations

import copy
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Sized
from dataclasses import replace
from functools import cache, cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from neuralop_irno.data.fields import Splits
from neuralop_irno.devices import device_of
from neuralop_irno.losses.loss import Loss
from neuralop_irno.recipe import MANY, Recipe
from neuralop_irno.rollouts.training import RolloutModel
from neuralop_irno.study.cost import MIB, peak_mib
from neuralop_irno.training.batches import Sample, numbers_in
from neuralop_irno.training.cached_starts import CachedStarts
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.optimizer_state import flat_state
from neuralop_irno.training.optimizers import optimizer_for
from neuralop_irno.training.reporting import Reporter, Values
from neuralop_irno.training.states import States
from neuralop_irno.training.trainable import Trainable
from neuralop_irno.training.trainer import Trainer

NUMBERS = 2**18
"""Numbers in the samples that are measured; at least two samples are."""

UPDATES = 3
"""Updates that are timed."""

LONG = 5.0
"""Seconds of timed updates after which no more are made: those of slow networks are not repeated."""


class Probe:
    """Measurements of a model in training, by copies of it.

    Args:
        model: the model, on the device of the measurements.
        recipe: its recipe.
        loss: its loss.
        splits: data sets ``train`` and ``valid``.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, loss: Loss, splits: Splits) -> None:
        self.model, self.recipe, self.loss, self.splits = model, recipe, loss, splits
        self.device = device_of(model)
        self.samples = {split: len(cast(Sized, splits[split])) for split in ("train", "valid")}
        self.few = NUMBERS // max(numbers_in(splits["train"][0]), 1)
        self._peak_of_updates = cache(self._measured_peak_of_updates)
        self._peak_of_scores = cache(self._measured_peak_of_scores)
        self._peak_of_starts = cache(self._measured_peak_of_starts)
        self._seconds_of_updates = cache(self._measured_seconds_of_updates)

    @cached_property
    def bytes_of_a_state(self) -> float:
        """Those of the base's answer to a sample, if answers are kept."""
        trainable = Trainable(self.model)
        if not trainable.has_frozen_base or not (self.recipe.cache_base or self.recipe.replay):
            return 0.0
        few = self._few("train", 2)
        return bytes_of([self._starts(few).values]) / len(cast(Sized, few))

    @cached_property
    def bytes_of_the_optimizer(self) -> int:
        """Those of its state after an update."""
        model = copy.deepcopy(self.model)
        optimizer = optimizer_for(model, self.recipe)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        return bytes_of(flat_state(optimizer)[0].values())

    def memory_of_updates(self, samples: int, kept: float, state: float) -> float:
        """Bytes of the activations and gradients of an update on some samples.

        Args:
            samples: of the update.
            kept: bytes that stay between updates, without states.
            state: bytes of the states of a sample.
        """
        return self._extended(lambda few: self._peak_of_updates(few) - kept - few * state, samples)

    def memory_of_scores(self, samples: int, processes: int) -> float:
        """Bytes of a batch of the validation of some samples."""
        return self._extended(self._peak_of_scores, self._answered_at_once("valid", samples, processes))

    def memory_of_starts(self, samples: int, processes: int) -> float:
        """Bytes of a batch of the base's answers to some samples, if answers are kept."""
        if not self.bytes_of_a_state:
            return 0.0
        return self._extended(self._peak_of_starts, self._answered_at_once("train", samples, processes))

    def _measured_peak_of_scores(self, few: int) -> float:
        data, device = self._few("valid", few), str(self.device)
        starts = self._starts(data) if self.bytes_of_a_state else None

        def work() -> object:
            return scores_per_step(self.model, data, batch_size=few, device=device, starts=starts)

        return MIB * peak_mib(work, device)

    def _measured_peak_of_starts(self, few: int) -> float:
        data = self._few("train", few)
        peak = peak_mib(lambda: self._starts(data), str(self.device))
        return MIB * peak - few * self.bytes_of_a_state

    def _answered_at_once(self, split: str, samples: int, processes: int) -> int:
        starts = CachedStarts(Trainable(self.model), self.recipe, self.device, None, processes)
        return min(starts.batch_size(self.splits[split]), samples)

    def seconds_of_updates(self, samples: int) -> float:
        """Seconds of an update on some samples."""
        return self._extended(self._seconds_of_updates, samples)

    def _measured_peak_of_updates(self, few: int) -> float:
        return MIB * peak_mib(self._training(few, updates=2), str(self.device))

    def _measured_seconds_of_updates(self, few: int) -> float:
        clock = _Clock()
        self._training(few, 1 + UPDATES, clock)()
        return statistics.median(later - earlier for earlier, later in itertools.pairwise(clock.times))

    def _training(self, samples: int, updates: int, *reporters: Reporter) -> Callable[[], object]:
        """A training of a copy of the model by updates on the same samples."""
        recipe = replace(
            self.recipe, epochs=updates, batch_size=samples, accumulate=1, resolutions=(1,), patience=None,
            states="device",
        )  # fmt: skip
        model, loss = copy.deepcopy(self.model), copy.deepcopy(self.loss)
        if isinstance(model, RolloutModel):
            model.updates.fill_(MANY)  # a curriculum needs most memory and time at its end
        trainer = Trainer(model, recipe, loss, device=self.device, show=False, reporters=reporters)
        return lambda: trainer.fit(self._few("train", samples))

    def _starts(self, data: Dataset[Sample]) -> States:
        """The base's answers, on the device of the model."""
        few = len(cast(Sized, data))
        recipe = replace(self.recipe, states="device", batch_size=few, accumulate=1)
        starts, _ = CachedStarts(Trainable(self.model), recipe, self.device, None)(data, torch.arange(few))
        assert starts is not None
        return starts

    def _extended(self, used: Callable[[int], float], samples: int) -> float:
        """What some samples use, from a measurement on a few and on half of them."""
        few = min(samples, max(self.few, 2))
        at_few = used(few)
        if samples == few:
            return at_few
        return at_few + (samples - few) * max(at_few - used(few // 2), 0.0) / (few - few // 2)

    def _few(self, split: str, samples: int) -> Dataset[Sample]:
        return Subset(self.splits[split], range(min(samples, self.samples[split])))


class _Clock(Reporter):
    """Keeps the time at the end of every epoch, which has one update; ends a training of long ones."""

    def __init__(self) -> None:
        self.times = list[float]()

    def log(self, values: Values, update: int) -> None:
        self.times.append(time.perf_counter())

    def should_stop(self) -> bool:
        return len(self.times) > 1 and self.times[-1] - self.times[0] > LONG


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """The size of tensors in memory.

    Example:
        >>> bytes_of([torch.zeros(2), torch.zeros(2, dtype=torch.float64)])
        24
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
