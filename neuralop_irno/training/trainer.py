"""The trainer: resumable to the bit, distributed, in mixed precision, and honest about each step."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence, Sized
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno import checkpoint
from neuralop_irno.errors import expected
from neuralop_irno.losses.loss import Loss, matching
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.metrics import summarise, vrmse
from neuralop_irno.recipe import PRECISIONS, Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.training import snapshot
from neuralop_irno.training.batches import Sample, draw_roll, epoch_order, load, of_graphs, roll, to_device
from neuralop_irno.training.distributed import Peers
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.precision import resolve
from neuralop_irno.training.progress import Display, display
from neuralop_irno.training.replay import Replay
from neuralop_irno.training.snapshot import Progress, Run
from neuralop_irno.training.states import States
from neuralop_irno.training.trainable import Trainable, optimizer_for

LOOK_EVERY = 20
"""Updates between two looks at the loss: each look waits for the device."""

History = list[dict[str, Any]]


class Trainer:
    """Trains a refiner, or any model that maps x to y.

    Args:
        model: trained in place; after `fit` it holds the weights that scored best.
        recipe: how.
        loss: on trajectories and fields; by default the mean square error of every supervised step.
        folder: where the best model, the history and the snapshots go; None keeps nothing.
        metric: prediction and target to ``(B, ...)``; the score is its mean at the last step.
        device: where to train.
        show: whether to show progress on standard error: a bar on a terminal, elsewhere a line every 30
            seconds at most.

    Example:
        >>> from neuralop_irno.data.dataset import FieldDataset
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
    ) -> None:
        self.recipe = recipe or Recipe()
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.loss = (loss or RefinementLoss()).to(self.device)
        self.folder = None if folder is None else Path(folder)
        self.metric = metric
        self.show = show
        self._best: dict[str, Tensor] | None = None
        self._trainable = Trainable(self.model)
        if self.recipe.replay and not self._trainable.has_frozen_base:
            raise ValueError(
                expected("a refiner with a frozen base for replay", type(self.model).__name__, "replay=0")
            )
        if self.recipe.shifts and self._trainable.periodic is None:
            raise ValueError(
                expected("a model that knows its periodic axes", "none", "shifts=False, or a unet")
            )

    def fit(
        self, train: Dataset[Sample], valid: Dataset[Sample] | None = None, resume: bool = False
    ) -> History:
        """Train, and return one record for each epoch.

        Args:
            train: of dicts with x and y.
            valid: scored after every epoch; the best weights are those that are kept.
            resume: go on from the folder's last snapshot, if there is one. Without it a folder that
                holds a run is refused, and left as it is.
        """
        recipe = self.recipe
        self._refuse_used_folder(resume)
        self.peers = Peers.join(self.device)
        torch.manual_seed(recipe.seed)
        starts = self._starts(train)
        replay = Replay(starts, recipe.replay) if recipe.replay and starts is not None else None
        precision, about_precision = resolve(recipe.precision, self.device, self._called_in_updates())
        run = Run(self.model, optimizer_for(self.model, recipe), self.loss, replay, Progress(), precision)
        if resume:
            self._resume(run)
            if run.precision != precision:
                about_precision = f"precision: {run.precision} (as the run was started)"
        valid_starts = None if valid is None else self._starts(valid)
        call = self.peers.together(self._trainable)
        samples = len(cast(Sized, train))
        updates = -(-samples // recipe.batch_size) * recipe.epochs
        show = self.show and self.peers.first
        with closing(display(updates, run.progress.update, show)) as bar:
            if about_precision:
                bar.say(about_precision)
            while run.progress.epoch < recipe.epochs and not self._patience_is_over(run.progress):
                order = epoch_order(samples, recipe.batch_size, recipe.seed, run.progress.epoch)
                self._train_epoch(run, call, train, order, starts, updates, bar)
                self._finish_epoch(run, valid, valid_starts, updates)
        if self._best is not None:
            self.model.load_state_dict(self._best)
        self._write_model(run.progress)
        return run.progress.history

    def _train_epoch(
        self,
        run: Run,
        call: nn.Module,
        train: Dataset[Sample],
        order: Sequence[Tensor],
        starts: States | None,
        updates: int,
        bar: Display,
    ) -> None:
        self.model.train()
        self.loss.train()
        progress = run.progress
        rest = order[progress.batch :]
        shares = [self.peers.share(index) for index in rest]
        total = torch.tensor(progress.loss_sum, dtype=torch.float64, device=self.device)
        for whole, (index, sample) in zip(rest, load(train, shares), strict=True):
            rate = self.recipe.rate(progress.update, updates)
            total += self._update(run, call, index, sample, starts, rate, len(whole))
            progress.batch, progress.update = progress.batch + 1, progress.update + 1
            progress.loss_count += len(index)
            loss = None
            save_now = bool(self.recipe.save_every) and progress.update % self.recipe.save_every == 0
            if progress.update % LOOK_EVERY == 0 or progress.batch == len(order) or save_now:
                progress.loss_sum = total.item()
                self._refuse_divergence(progress)
                loss = progress.loss_sum / max(progress.loss_count, 1)
            bar.update(loss)
            if save_now:
                self._snapshot(run)

    def _update(
        self,
        run: Run,
        call: nn.Module,
        index: Tensor,
        sample: Sample,
        starts: States | None,
        rate: float,
        batch_size: int,
    ) -> Tensor:
        """One step of the optimizer; returns the loss, summed over this process's samples."""
        sample = to_device(sample, self.device)
        fields = {"x": sample.pop("x"), "y": sample.pop("y")}
        taken = None
        if run.replay is not None:
            fields["start"], taken = run.replay.take(index)
        elif starts is not None:
            fields["start"] = starts[index]
        moved = draw_roll(fields["x"], self._trainable.periodic or ()) if self.recipe.shifts else []
        fields = {name: roll(field, moved) for name, field in fields.items()}

        precision = PRECISIONS[run.precision]
        with torch.autocast(self.device.type, dtype=precision, enabled=precision is not None):
            trajectory = call({"x": fields["x"], **sample}, fields["y"], fields.get("start"), taken)
        losses = self.loss.per_sample(trajectory, matching(trajectory, fields["y"]))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        run.optimizer.zero_grad(set_to_none=True)
        # DDP averages over processes, whose shares of a last batch may differ in size.
        (losses.sum() * (self.peers.world / batch_size)).backward()
        nn.utils.clip_grad_norm_(
            [p for group in run.optimizer.param_groups for p in group["params"]], self.recipe.clip
        )
        run.optimizer.step()
        if run.replay is not None:
            reached = trajectory.as_answer(trajectory.last.detach())
            run.replay.put(index, roll(reached, [-amount for amount in moved]))
        return losses.detach().sum()

    def _finish_epoch(
        self, run: Run, valid: Dataset[Sample] | None, starts: States | None, updates: int
    ) -> None:
        progress = run.progress
        sums = torch.tensor([progress.loss_sum, progress.loss_count], dtype=torch.float64)
        loss_sum, count = self.peers.total(sums.to(self.device)).tolist()
        record: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "update": progress.update,
            "rate": self.recipe.rate(progress.update - 1, updates),
            "loss": loss_sum / max(count, 1),
        }
        if valid is not None:
            scores = scores_per_step(self.model, valid, metric=self.metric, device=self.device, starts=starts)
            summaries = [summarise(step) for step in scores]
            record["valid"] = [summary.mean for summary in summaries]
            record["not_finite"] = summaries[-1].not_finite
            if summaries[-1].mean < progress.best and not summaries[-1].not_finite:
                progress.best, progress.waited = summaries[-1].mean, 0
                state = checkpoint.tensors_only(self.model.state_dict())
                self._best = {name: tensor.clone() for name, tensor in state.items()}
                self._write_model(progress)
            else:
                progress.waited += 1
        progress.history.append(record)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        progress.loss_sum, progress.loss_count = 0.0, 0
        self._snapshot(run)

    def _starts(self, dataset: Dataset[Sample]) -> States | None:
        if self.recipe.shifts and of_graphs(dataset):
            raise ValueError(expected("fields on one grid for shifts", "graphs", "shifts=False"))
        if self._trainable.has_frozen_base and (self.recipe.cache_base or self.recipe.replay):
            return self._trainable.starts(dataset, self.device)
        return None

    def _called_in_updates(self) -> nn.Module:
        """What every update computes anew: not a frozen base whose answers are cached."""
        cached = self.recipe.cache_base or self.recipe.replay
        if isinstance(self.model, IterativeRefiner) and self._trainable.has_frozen_base and cached:
            return self.model.correction
        return self.model

    def _patience_is_over(self, progress: Progress) -> bool:
        return self.recipe.patience is not None and progress.waited > self.recipe.patience

    def _refuse_divergence(self, progress: Progress) -> None:
        if not torch.isfinite(torch.tensor(progress.loss_sum)):
            raise RuntimeError(
                expected(
                    "a finite loss",
                    f"{progress.loss_sum} before update {progress.update}",
                    "a smaller learning_rate; the last snapshot and the best model are intact",
                )
            )

    def _refuse_used_folder(self, resume: bool) -> None:
        if self.folder and not resume and snapshot.main_file(self.folder).exists():
            raise ValueError(
                expected("a folder without a run", str(self.folder), "resume=True, or another folder")
            )

    def _resume(self, run: Run) -> None:
        if self.folder is None:
            raise ValueError(expected("a folder to resume from", "none", "Trainer(..., folder='runs/a')"))
        if not snapshot.main_file(self.folder).exists():
            return
        snapshot.load(self.folder, run, self.recipe, self.peers)
        model = self.folder / f"model{checkpoint.SUFFIX}"
        if run.progress.best < float("inf") and model.exists():
            self._best = checkpoint.read(model)[0]

    def _snapshot(self, run: Run) -> None:
        if self.folder is not None:
            snapshot.save(self.folder, run, self.recipe, self.peers)

    def _write_model(self, progress: Progress) -> None:
        if self.folder is None or not self.peers.first:
            return
        notes = {"epoch": progress.epoch, "score": progress.best if progress.history else None}
        path = self.folder / f"model{checkpoint.SUFFIX}"
        if isinstance(self.model, IterativeRefiner):
            self.model.save(path, notes)
        else:
            checkpoint.write(path, checkpoint.tensors_only(self.model.state_dict()), {"notes": notes})
        history = json.dumps(progress.history, indent=1).encode()
        checkpoint.write_bytes(self.folder / "history.json", history)
