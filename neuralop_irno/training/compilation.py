"""The gain of a training with ``compile: true``, measured before its first update."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno.compiling import eager
from neuralop_irno.devices import to_device
from neuralop_irno.losses.loss import matching
from neuralop_irno.recipe import PRECISIONS, Recipe
from neuralop_irno.training import preconditioner
from neuralop_irno.training.batches import Sample, at_once, load_all
from neuralop_irno.training.trainable import Trainable
from neuralop_irno.training.training_run import TrainingRun

PAIRS = 5


def gain_of_compiling(
    run: TrainingRun, trainable: Trainable, train: Dataset[Sample], recipe: Recipe, device: torch.device
) -> str:
    """One line: the time of a forward and backward pass with graphs over that without, and that to make them.

    The passes are of the first samples of the training set, with the same random numbers, alternately with
    and without graphs; the base is called in both. Weights, buffers and generators are left as they were.

    Args:
        run: its loss and precision are used.
        trainable: the model of the run, within `compiled`.
        train: the samples.
        recipe: the options of the training.
        device: where it runs.
    """
    _, sample = next(load_all(train, at_once(trainable.model) or recipe.batch_size))
    sample = trainable.from_batch(to_device(sample, device))
    parts: tuple[nn.Module, ...] = (trainable, run.loss)
    before = [(part, part.training, [buffer.clone() for buffer in part.buffers()]) for part in parts]

    def seconds() -> float:
        torch.manual_seed(recipe.seed)
        _wait(device)
        begun = time.perf_counter()
        _loss(run, trainable, sample, recipe, device).backward()
        _wait(device)
        return time.perf_counter() - begun

    try:
        for part in parts:
            part.train()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            making, ratios = seconds(), []
            for _ in range(PAIRS):
                with_graphs = seconds()
                with eager():
                    ratios.append(with_graphs / seconds())
    finally:
        for part, mode, buffers in before:
            part.train(mode)
            for buffer, value in zip(part.buffers(), buffers, strict=True):
                buffer.copy_(value)
        trainable.zero_grad(set_to_none=True)
    ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
    return f"compile: a pass takes {ratio} of its time without, {PAIRS} pairs; graphs made in {making:.0f} s"


def _loss(
    run: TrainingRun, trainable: Trainable, sample: Sample, recipe: Recipe, device: torch.device
) -> Tensor:
    precision = PRECISIONS[run.precision]
    with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        if recipe.train_for == "preconditioner":
            return preconditioner.losses(trainable.model, sample).sum()
        call = {**sample, **trainable.laid_out(trainable.fields(sample), sample)}
        y = call.pop("y")
        trajectory = trainable(call, y, None, None)
    return run.loss.per_sample(trajectory, matching(trajectory, y)).sum()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
