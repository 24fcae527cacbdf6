"""Do runs of a study in this process: train a model or resume its training, and measure it."""

from __future__ import annotations

import copy
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from multiprocessing import current_process
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from neuralop_irno.claim import InUseError
from neuralop_irno.data.node_classes import NodeClasses
from neuralop_irno.diagnostics.base_check import check_base
from neuralop_irno.errors import one_line
from neuralop_irno.metrics import METRICS
from neuralop_irno.metrics.pointwise import own_metric
from neuralop_irno.study import record as records
from neuralop_irno.study.claims import claimed, forget
from neuralop_irno.study.contenders import Contender, Setting, contender, digest
from neuralop_irno.study.cost import answer_mib, megaflops, training_mib
from neuralop_irno.study.kinds import Trained, measure
from neuralop_irno.study.plan import BASE, Run, Study, Trial, Variant, study_of
from neuralop_irno.study.record import Record
from neuralop_irno.training import snapshot
from neuralop_irno.training.batches import at_a_time, at_once, load_all
from neuralop_irno.training.divergence import DivergenceError
from neuralop_irno.training.machines import machine
from neuralop_irno.training.progress import to_stderr
from neuralop_irno.training.reporting import Reporter
from neuralop_irno.training.trainer import History, Trainer

POLL = 0.5
"""Seconds between two checks whether another process has finished."""

SEARCHED = "on validation data"
"""In the note of a record whose training is the best of several."""

DONE, TAKEN, FAILED = "done", "taken", "failed"

Say = Callable[[str], None]


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        state: `DONE`, its record is written; `TAKEN`, another process does it; or `FAILED`.
        why: the last line of the traceback of a run that failed.
    """

    state: str
    why: str = ""


class _Done(NamedTuple):
    """A model after its training, with the bases of its problem, by name, and its history."""

    built: Contender
    bases: dict[str, nn.Module]
    history: History


def best_score(history: History) -> float:
    """The best validation score of a training; inf if there is no finite one.

    Example:
        >>> best_score([{"valid": [0.5, 0.2]}, {"valid": [0.5, 0.3]}]), best_score([])
        (0.2, inf)
    """
    return min(filter(math.isfinite, (record["valid"][-1] for record in history)), default=math.inf)


def file_of(folder: Path, run: Run) -> Path:
    """The file of a run's record in the folder of its study."""
    return folder / "runs" / f"{run.name}.json"


def claims_of(folder: Path, run: Run) -> Path:
    """The folder of a run's claims in the folder of its study."""
    return folder / "claims" / run.name


def do_run(study: str, folder: str, trained: str, run: Sequence[Any], device: str) -> Outcome:
    """Do one run, in any process that has the folders; everything that it depends on is plain data.

    Runs of one process are done one after the other, also if it has several threads: they draw random numbers
    from one generator.

    Args:
        study: the study as JSON; see `neuralop_irno.study.plan.plain_of`.
        folder: the folder of the study.
        trained: the folder of trained models.
        run: problem, base, variant and seed.
        device: device of the training.
    """
    with ONE_AT_A_TIME:
        return _worker(study, folder, trained, device).attempt(Run(*run))


ONE_AT_A_TIME = threading.Lock()
"""Held while a run is done in this process."""


@lru_cache(maxsize=1)
def _worker(study: str, folder: str, trained: str, device: str) -> Worker:
    """The worker of a study, which keeps data and bases from one run to the next."""
    return Worker(study_of(json.loads(study)), Path(folder), Path(trained), device)


class Worker:
    """Does runs of one study; the data of the last problem and its trained bases are kept.

    Args:
        study: the study.
        folder: its folder.
        trained: folder of trained models, one `Trainer` folder each.
        device: device of the training.
        say: called with progress messages.
        show: whether to draw progress bars.
    """

    def __init__(
        self, study: Study, folder: Path, trained: Path, device: str, say: Say = to_stderr, show: bool = False
    ) -> None:
        self.study, self.folder, self.trained, self.device = study, folder, trained, device
        self.say, self.show = say, show
        self._problem = ""
        self._splits: Any = None
        self._bases: dict[tuple[str, str, int], nn.Module] = {}

    def attempt(self, run: Run) -> Outcome:
        """Do a run and write its record, unless another process does it or has finished it."""
        file, claims = file_of(self.folder, run), claims_of(self.folder, run)
        with claimed(claims) as own:
            if not own:
                return Outcome(TAKEN)
            if not file.exists():
                runs = self.study.runs()
                place = f"[{runs.index(run) + 1}/{len(runs)}]"
                self.say(f"{place} {run.problem}, {run.base}, {run.variant}, seed {run.seed}")
                try:
                    records.write(file, self._do(run))
                except Exception as error:
                    return Outcome(FAILED, f"{type(error).__name__}: {one_line(error)}")
            forget(claims)
        return Outcome(DONE)

    def history(self, run: Run, variant: Variant, reporters: Sequence[Reporter]) -> tuple[History, list[str]]:
        """Train a model, or resume its training, without a record.

        Args:
            run: problem, base and seed, and the name of the variant.
            variant: the variant, in place of the study's own of this name.
            reporters: those of the training, which may end it.

        Returns:
            one record for each epoch, and notes; a training that diverged has a note and no history.
        """
        self._data(run.problem)
        setting = self._setting(run, variant, self.bases_of(run)[run.base])
        history, _, notes = self._train(contender(setting), self._work(run, setting), reporters)
        return history, notes

    def _do(self, run: Run) -> Record:
        """Train or resume one model, and measure it."""
        splits = self._data(run.problem)
        (built, bases, history), seconds, notes = self._best_of_trials(run)
        updates = history[-1]["update"] if history else 0
        of_fields = not isinstance(splits["valid"], NodeClasses)
        if run.variant == BASE and of_fields:
            size = at_once(built.model) or at_a_time(splits["valid"], most=16)
            validation = (batch for _, batch in load_all(splits["valid"], size))
            notes += check_base(built.model, validation).problems
        if run.variant == BASE:
            bases = {run.base: built.model}
            self._bases[run.problem, run.base, run.seed] = built.model
        trained = Trained(
            run, built.model, bases, self.study.problems[run.problem], splits["test"], self.device
        )
        torch.manual_seed(run.seed)  # for stochastic models; a loaded model has not set a seed
        found = records.finite(measure(self.study, trained))
        return Record(
            **run._asdict(),
            measured=found,
            parameters=sum(weight.numel() for weight in built.counted.parameters()),
            megaflops=megaflops(built.model, splits["test"]),
            updates=updates,
            notes=list(dict.fromkeys(notes + trained.notes)),
            seconds=seconds,
            training_mib=self._memory_of_training(built) if updates else None,
            answer_mib=answer_mib(built.model, splits["test"]),
            machine=machine(self.device),
        )

    def _best_of_trials(self, run: Run) -> tuple[_Done, float | None, list[str]]:
        """Do the trainings of a run's variant, and take the one with the best validation score.

        They are all done with the first seed of the study; the others train what is best with it.

        Returns:
            the model with its bases and history, the seconds of its training, and notes.
        """
        trials = self.study.variants[run.variant].trials
        if len(trials) == 1:
            return self._trial(run, trials[0])
        first = run._replace(seed=self.study.seeds[0])
        searched: dict[Trial, tuple[_Done, float | None, list[str]]] = {}
        found = self._found_by(first, trials)
        if found is None:
            searched = {trial: self._trial(first, trial) for trial in trials}
            scores = {trial: best_score(done.history) for trial, (done, *_) in searched.items()}
            best = min(scores, key=lambda trial: scores[trial])
            words = "; ".join(f"{trial}: {score:.4g}" for trial, score in scores.items())
            found = best, f"{best}: the best of {len(scores)} {SEARCHED} ({words})"
        best, note = found
        if run == first:
            done, seconds, notes = searched[best]
        else:
            done, seconds, notes = self._trial(run, best)
            note = note.replace(SEARCHED, f"{SEARCHED} with seed {first.seed}")
        return done, seconds, [*notes, note]

    def _found_by(self, first: Run, trials: Sequence[Trial]) -> tuple[Trial, str] | None:
        """The best trial and the note in the record of the first seed; None if it is not finished."""
        file = file_of(self.folder, first)
        notes = records.read(file).notes if file.exists() else []
        found = [(trial, note) for trial in trials for note in notes if note.startswith(f"{trial}: the best")]
        return found[0] if found else None

    def _trial(self, run: Run, trial: Trial) -> tuple[_Done, float | None, list[str]]:
        """One training of a run's variant, or its result if it is finished."""
        variant = self.study.variants[run.variant]
        bases = {} if run.variant == BASE else self.bases_of(run)
        setting = replace(self._setting(run, variant, bases.get(run.base)), trial=trial)
        built = contender(setting)
        history, seconds, notes = self._train(built, self._work(run, setting))
        return _Done(built, bases, history), seconds, notes

    def _work(self, run: Run, setting: Setting) -> Path:
        """The training folder of a model; its name ends in the digest of everything it depends on."""
        return (
            self.trained / f"{run.problem}.{run.base}.{setting.variant.role}.seed{run.seed}.{digest(setting)}"
        )

    def _train(
        self, built: Contender, work: Path, reporters: Sequence[Reporter] = ()
    ) -> tuple[History, float | None, list[str]]:
        """Train on the current problem; returns the history, seconds (None if interrupted) and notes."""
        built.model.to(self.device)
        if built.recipe is None:
            return [], None, []
        if current_process().daemon:  # a worker of Dask or of `LocalWorkers`
            current_process().daemon = False  # a daemon may not start the processes that load batches ahead
        begun = snapshot.exists(work)
        splits = self._splits
        metric = METRICS.lookup(own_metric(splits["test"]))
        trainer = Trainer(
            built.model, built.recipe, built.loss, work, metric, self.device, self.show, reporters
        )
        start = time.perf_counter()
        try:
            history, waited = self._fit_when_free(trainer)
        except DivergenceError as error:
            return [], None, [f"training diverged: {error}"]
        seconds = None if begun or waited else time.perf_counter() - start
        return history, seconds, []

    def _fit_when_free(self, trainer: Trainer) -> tuple[History, bool]:
        """Train, after waiting for another process in the same folder; also returns whether it waited."""
        waited = False
        while True:
            try:
                return trainer.fit(self._splits["train"], self._splits["valid"], resume=True), waited
            except InUseError:
                waited = True
                time.sleep(POLL)

    def bases_of(self, run: Run) -> dict[str, nn.Module]:
        """Copies of the trained bases of a run's problem and seed, by name.

        A refiner freezes its base, and what it was built around is part of the identity of its training: each
        has to be given the base as it is after its own training.
        """
        self._data(run.problem)
        found = {}
        for name in self.study.problems[run.problem].bases:
            key = (run.problem, name, run.seed)
            if key not in self._bases:  # trained by an earlier process: load it from its folder
                own = Run(run.problem, name, BASE, run.seed)
                setting = self._setting(own, self.study.variants[BASE], None)
                built = contender(setting)
                self._train(built, self._work(own, setting))
                self._bases[key] = built.model
            found[name] = copy.deepcopy(self._bases[key])
        return found

    def _setting(self, run: Run, variant: Variant, base: nn.Module | None) -> Setting:
        experiment = self.study.problems[run.problem].experiment(run.base, variant, run.seed)
        return Setting(experiment, variant, base, self._data(run.problem), run.seed)

    def _data(self, problem: str) -> Any:
        """The data of a problem; only one problem is kept in memory."""
        if problem != self._problem:
            self.say(f"preparing the data of {problem}")
            definition = self.study.problems[problem]
            variant = self.study.variants[BASE]
            self._splits = definition.experiment(next(iter(definition.bases)), variant, seed=0).splits()
            self._problem = problem
            self._bases = {}
        return self._splits

    def _memory_of_training(self, built: Contender) -> float | None:
        if built.recipe is None:
            return None
        return training_mib(built.model, built.recipe, built.loss, self._splits["train"])
