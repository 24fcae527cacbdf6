"""Trainer with bit-exact resumption, several processes, mixed precision, and a score of every step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Sized
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno import checkpoint, digest
from neuralop_irno.compiling import compiled
from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss
from neuralop_irno.messages import log, messages_shown
from neuralop_irno.metrics import summarise, vrmse
from neuralop_irno.parallel import check_processes, is_sharded
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.sharded import divided_like
from neuralop_irno.training import base_errors
from neuralop_irno.training.average import Average
from neuralop_irno.training.batches import Sample, grids_of, refuse_empty
from neuralop_irno.training.best_model import held_tensors
from neuralop_irno.training.cached_starts import CachedStarts
from neuralop_irno.training.checks import check_options, checked_loss
from neuralop_irno.training.compilation import gain_of_compiling
from neuralop_irno.training.distributed import Peers, local_device
from neuralop_irno.training.divergence import DivergenceError
from neuralop_irno.training.folder import RunFolder
from neuralop_irno.training.identity import identify
from neuralop_irno.training.loading import Loader
from neuralop_irno.training.optimizers import optimizer_for
from neuralop_irno.training.placement import Placement
from neuralop_irno.training.precision import resolve
from neuralop_irno.training.progress import Display, display
from neuralop_irno.training.replay import Replay
from neuralop_irno.training.reporting import Reporter, Reports, checked, name_of
from neuralop_irno.training.shards import Shards
from neuralop_irno.training.states import States
from neuralop_irno.training.stopping import Stopped, StopRequest, stop_request
from neuralop_irno.training.trainable import Trainable
from neuralop_irno.training.training_log import TrainingLog
from neuralop_irno.training.training_run import Progress, TrainingRun
from neuralop_irno.training.updates import Updater, parts
from neuralop_irno.training.validation import Validation

History = list[dict[str, Any]]


class Trainer:
    """Trains a refiner, or any model that maps x to y.

    Args:
        model: trained in place; after `fit` it has the weights with the best validation score. It may be
            divided among the processes of torchrun by `neuralop_irno.parallel.shard`.
        recipe: the options of the training.
        loss: of a trajectory and y; by default the mean square error of every supervised step. None with
            ``train_for="preconditioner"``.
        folder: for the best model, the history, digests and snapshots; used by one run at a time.
            None writes nothing.
        metric: prediction and target to ``(B, ...)``; the score is its mean at the last step.
        device: where to train; under torchrun ``cuda`` uses one GPU for each process.
        show: whether to show progress on standard error: a bar on a terminal, elsewhere a line every 30
            seconds at most.
        reporters: are given the numbers of each epoch and of every ``report_every``-th update, and the files;
            they may end the training after an epoch. See docs/tracking.md.
        report_every: updates between two of their logs; 0 logs epochs only.

    Example:
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> base = nn.Conv1d(1, 1, 3, padding=1)
        >>> model = IterativeRefiner(base, {"name": "unet", "width": 4, "depth": 1})
        >>> x = torch.randn(8, 1, 16)
        >>> data = FieldDataset(x, x.roll(1, -1))
        >>> history = Trainer(model, Recipe(epochs=2, batch_size=4), show=False).fit(data, data)
        >>> [record["epoch"] for record in history]
        [1, 2]
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe | None = None,
        loss: Loss | None = None,
        folder: str | Path | None = None,
        metric: Callable[[Tensor, Tensor], Tensor] = vrmse,
        device: torch.device | str = "cpu",
        show: bool = True,
        reporters: Sequence[Reporter] = (),
        report_every: int = 50,
    ) -> None:
        self.recipe = recipe or Recipe()
        self.device = local_device(device)
        self.model = model.to(self.device)
        self.loss = checked_loss(loss, self.recipe).to(self.device)
        self.folder = None if folder is None else Path(folder)
        self.metric = metric
        self.show = show
        self.reporters, self.report_every = checked(reporters), report_every
        self._best: dict[str, Tensor] | None = None
        self._trainable = Trainable(self.model)
        check_options(self._trainable, self.recipe, self.loss)

    def fit(
        self, train: Dataset[Sample], valid: Dataset[Sample] | None = None, resume: bool = False
    ) -> History:
        """Train, and return one record for each epoch.

        SIGTERM and SIGHUP end a training that has a folder after its next update: with a snapshot, and with
        `Stopped`, on which the process exits with 143.

        Args:
            train: of dicts with x and y; y may be left out with ``train_for="preconditioner"``.
            valid: scored after every epoch; the weights with the best score are kept.
            resume: continue from the folder's last snapshot, if there is one. Otherwise a folder that
                holds a run is refused, and left as it is.

        Raises:
            ValueError: a set is empty; the folder is in use, holds a run, or holds one with other data,
                model, loss or recipe, which the error lists.
            DivergenceError: the loss is not finite, or no update of an epoch had finite gradients.
        """
        refuse_empty(training=train, validation=valid)
        self.peers = Peers.join(self.device)
        check_processes(self.model, self.peers.world)
        self._shards = Shards(
            len(cast(Sized, train)), self.recipe.shards, grids_of(train), self.peers.rank, self.peers.world
        )
        self._files = RunFolder(self.folder, self.peers)
        with (
            messages_shown(self.show and self.peers.first),
            self._files.claimed(resume),
            stop_request(heeded=self.folder is not None) as stop,
            Reports(self.reporters if self.peers.first else ()) as reports,
            compiled(self.model, self.recipe.compile),
        ):
            self._log = TrainingLog(reports, self.report_every, self.device)
            return self._fit(train, valid, resume, stop)

    def _fit(
        self, train: Dataset[Sample], valid: Dataset[Sample] | None, resume: bool, stop: StopRequest
    ) -> History:
        recipe, shards = self.recipe, self._shards
        self._trainable.take_resolution(train)
        torch.manual_seed(recipe.seed)
        starts_of = CachedStarts(self._trainable, recipe, self.device, self.folder, self.peers.world)
        starts, placement = starts_of(train, shards.own, copies=2 if recipe.replay else 1)
        base_errors.measure(self.loss, self._trainable, train, self.device)
        run = self._begin(train, valid, starts, placement, resume)
        self._files.add_machine(self.device)
        begun = run.progress.update
        self._log.start(run, recipe, train, self.folder, self.peers.world)
        validation = None if valid is None else Validation(valid, starts_of, self.metric, self.peers)
        update = Updater(run, self._trainable, recipe, self.peers, shards, self.device, starts)
        if recipe.compile:
            self._tell(logging.INFO, gain_of_compiling(run, self._trainable, train, recipe, self.device))
        load = Loader(train, recipe.workers, self.device, recipe.seed)
        updates = recipe.epochs * len(shards.order(recipe.batch_size, recipe.seed, 0))
        with closing(display(updates, begun, self.show and self.peers.first)) as bar:
            while run.progress.epoch < recipe.epochs and not self._is_over(run.progress):
                order = shards.order(recipe.batch_size, recipe.seed, run.progress.epoch)
                ending = self._train_epoch(run, update, load, order, updates, bar, stop)
                self._trainable.join_resolution(self.peers)
                with run.averaged():
                    record = self._score(run.progress, validation, updates)
                    solves = validation.solves(run.progress.update) if validation and self.reporters else {}
                self._log.epoch(record, solves)
                record |= ending or self._ending(f"epoch {run.progress.epoch + 1}")
                run.progress.finish_epoch(record)
                self._files.write_history(run.progress.history)
                self._files.snapshot(run)
            self._files.wait()
        self._keep(run, begun)
        # The first process alone draws pictures: it cannot call a sharded model without the others.
        undrawn = is_sharded(self.model) or recipe.train_for == "preconditioner"  # it has no truth
        self._log.finish(self.model, None if undrawn else valid, self.folder)
        return run.progress.history

    def _keep(self, run: TrainingRun, begun: int) -> None:
        """Load the best weights into the model, or the last ones (their average, with ``ema``)."""
        if self._best is not None:
            own = checkpoint.tensors_only(self.model.state_dict())  # with a frozen base
            self.model.load_state_dict(divided_like({**own, **self._best}, own))
            return
        if run.average is not None:
            self.model.load_state_dict(run.average.values, strict=False)
        if run.progress.update > begun or not run.progress.history:
            self._files.write_model(self.model, {"epoch": run.progress.epoch, "score": None})
            self._files.write_history(run.progress.history)

    def _begin(
        self,
        train: Dataset[Sample],
        valid: Dataset[Sample] | None,
        starts: States | None,
        placement: Placement,
        resume: bool,
    ) -> TrainingRun:
        """A new run, or the one that the folder holds."""
        recipe = self.recipe
        optimizer = optimizer_for(self.model, recipe)
        replay = None
        if recipe.replay and starts is not None:
            file = self._files.states_file() if placement.place == "disk" else None
            replay = Replay(starts, recipe.replay, file)
        precision, about = resolve(recipe.precision, self.device, self._called_in_updates())
        average = Average(self.model, recipe.ema) if recipe.ema else None
        run = TrainingRun(self.model, optimizer, self.loss, replay, average, Progress(), precision)
        self._best = self._files.begin(
            run,
            lambda: identify(self.model, self.loss, recipe, self.metric, train, valid),
            resume,
            lambda text: self._tell(logging.WARNING, text),
        )
        if run.precision != precision:
            about = f"precision: {run.precision} (as the run was started)"
        for text in filter(None, (about, "" if starts is None else str(placement))):
            self._tell(logging.INFO, text)
        return run

    def _train_epoch(
        self,
        run: TrainingRun,
        update: Updater,
        load: Loader,
        order: Sequence[Tensor],
        updates: int,
        bar: Display,
        stop: StopRequest,
    ) -> dict[str, str]:
        """Make the updates of an epoch; returns that of `_ending`, if a reporter ends it at a snapshot."""
        self.model.train()
        self.loss.train()
        self.loss.begin_epoch(run.progress.epoch + 1)
        progress, ending = run.progress, dict[str, str]()
        self._log.begin_epoch()
        rest = order[progress.batch :]
        divided = [parts(whole, self.recipe.accumulate) for whole in rest]
        shares = [self._shards.share(part)[0] for batch in divided for part in batch]
        samples = load(shares, progress.epoch)
        for whole, batch in zip(rest, divided, strict=True):
            rate = self.recipe.rate(progress.update, updates)
            own = (sample for _, sample in islice(samples, len(batch)))
            done = update(whole, own, rate, bool(stop))
            progress.add(done.loss, len(whole), done.skipped)
            self._log.update(done.loss / len(whole), rate, done.skipped, len(whole), progress.update)
            bar.update(progress.loss)
            save_now = bool(self.recipe.save_every) and progress.update % self.recipe.save_every == 0
            within = save_now and not done.stop and progress.batch < len(order)
            if within and (ending := self._ending(f"update {progress.update}")):
                break
            if save_now or done.stop:
                self._trainable.join_resolution(self.peers)
                self._files.snapshot(run)
            if done.stop:
                self._files.wait()
                self._stop(progress, stop)
        self._log.end_updates()
        return ending

    def _score(self, progress: Progress, validation: Validation | None, updates: int) -> dict[str, Any]:
        """The record of an epoch; the model is stored if its score is the best so far."""
        record: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "update": progress.update,
            "rate": self.recipe.rate(progress.update - 1, updates),
            "loss": progress.loss,
            "skipped": progress.skipped,
        }
        self._report_skipped(progress)
        if validation is not None:
            summaries = [summarise(step) for step in validation(progress.update)]
            record["valid"] = [summary.mean for summary in summaries]
            record["not_finite"] = summaries[-1].not_finite
            if summaries[-1].mean < progress.best and not summaries[-1].not_finite:
                progress.best, progress.waited = summaries[-1].mean, 0
                state = held_tensors(self.model)
                self._best = {name: tensor.clone() for name, tensor in state.items()}
                progress.best_weights = digest.of_tensors(state) if self.folder is not None else ""
                self._files.write_model(self.model, {"epoch": progress.epoch + 1, "score": progress.best})
            else:
                progress.waited += 1
        return record

    def _report_skipped(self, progress: Progress) -> None:
        if not progress.skipped:
            return
        if progress.skipped == progress.batch:
            raise DivergenceError(
                expected(
                    "finite gradients",
                    f"none in epoch {progress.epoch + 1}",
                    "a smaller learning_rate; the last snapshot and the best model are intact",
                )
            )
        count = f"{progress.skipped} of {progress.batch} updates"
        text = f"training: {count} of epoch {progress.epoch + 1} skipped: gradients that are not finite"
        self._tell(logging.WARNING, text)

    def _called_in_updates(self) -> nn.Module:
        """The module that every update calls: without a frozen base whose outputs are cached."""
        cached = self.recipe.cache_base or self.recipe.replay
        if isinstance(self.model, IterativeRefiner) and self._trainable.has_frozen_base and cached:
            return self.model.correction
        return self.model

    def _is_over(self, progress: Progress) -> bool:
        """Whether patience is over, or a reporter has ended the training."""
        stopped = bool(progress.history) and "stopped" in progress.history[-1]
        return stopped or (self.recipe.patience is not None and progress.waited >= self.recipe.patience)

    def _ending(self, when: str) -> dict[str, str]:
        """The entry ``stopped`` of an epoch's record, if a reporter of the first process asks for the end."""
        place = self._log.reports.should_stop()
        shared = self.peers.total(torch.tensor(0 if place is None else place + 1, device=self.device)).item()
        if not shared:
            return {}
        reason = f"{name_of(self.reporters[int(shared) - 1])} after {when}"
        self._tell(logging.INFO, f"training: stopped by {reason}")
        return {"stopped": reason}

    def _stop(self, progress: Progress, stop: StopRequest) -> None:
        reason = f"stopped by {stop.signal or 'a signal to another process'} at update {progress.update}"
        text = f"training: {reason}; it can be resumed from the snapshot in {self.folder}"
        self._tell(logging.WARNING, text)
        raise Stopped(reason)

    def _tell(self, level: int, text: str) -> None:
        """Log a message, in the first process."""
        if self.peers.first:
            log.log(level, "%s", text)
