"""Trials of a search: any number of processes and hosts share Optuna's journal in one folder.

Optuna chooses the options and decides which trial is pruned. A trial is done by the process that has claimed
it; another one takes it over if that process was killed: its options are in the journal, and its trainings
resume from their snapshots.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from neuralop_irno.errors import from_extra, one_line
from neuralop_irno.recipe import Recipe
from neuralop_irno.study.claims import claimed, forget, is_claimed, waited_for
from neuralop_irno.study.plan import Run
from neuralop_irno.study.space import PROBLEM, REFINED, Dimension, Search, search_of
from neuralop_irno.study.worker import DONE, FAILED, ONE_AT_A_TIME, TAKEN, Outcome, Say, Worker, best_score
from neuralop_irno.training.progress import to_stderr

JOURNAL = "journal.log"

MOST_EPOCHS = 1_000_000
"""Steps in the journal for each seed: those of the second one begin at this number."""

NOTE = "note"
"""The attribute of a trial with a remark for the reader of the table."""


def do_trial(search: str, folder: str, trained: str, device: str, last: int) -> Outcome:
    """Do one trial of a search, in any process that has the folders; see `Trials.attempt`.

    Args:
        search: the search as JSON.
        folder: the folder of the search.
        trained: the folder of trained models.
        device: device of the training.
        last: no trial of this number or above is begun.
    """
    with ONE_AT_A_TIME:
        return _trials(search, folder, trained, device).attempt(last)


@lru_cache(maxsize=1)
def _trials(search: str, folder: str, trained: str, device: str) -> Trials:
    """The trials of a search, which keep data and bases from one trial to the next."""
    return Trials(search_of(json.loads(search)), Path(folder), Path(trained), device)


def open_journal(search: Search, folder: Path) -> Any:
    """Optuna's study in the folder of a search; it is created if there is none."""
    with from_extra("optuna for a search", "optuna"):
        import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    pruner = _pruner(search)
    return optuna.create_study(storage=storage, study_name="search", pruner=pruner, load_if_exists=True)


def _pruner(search: Search) -> Any:
    from optuna import pruners

    if search.pruner == "median":
        return pruners.MedianPruner()
    if search.pruner == "halving":
        epochs = search.experiment({}).content["training"].get("epochs", Recipe().epochs)
        return pruners.SuccessiveHalvingPruner(min_resource=max(1, epochs // 8), reduction_factor=2)
    return pruners.NopPruner()


def options_of(search: Search, params: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a config that stand for a trial's parameters in the journal."""

    def value(space: Dimension, found: Any) -> Any:
        return space.values[space.choices.index(found)] if space.kind == "choice" else found

    return {name: value(space, params[name]) for name, space in search.space.items()}


def claims_of(folder: Path, number: int) -> Path:
    """The folder of a trial's claims in the folder of its search."""
    return folder / "claims" / f"trial{number}"


def is_running(trial: Any) -> bool:
    """Whether a trial has not been finished; its process may have been killed."""
    return not trial.state.is_finished()


class Trials:
    """Does trials of one search; the data and the trained bases are kept.

    Args:
        search: the search.
        folder: its folder.
        trained: folder of trained models.
        device: device of the training.
        say: called with progress messages.
        show: whether to draw progress bars.
    """

    def __init__(
        self,
        search: Search,
        folder: Path,
        trained: Path,
        device: str,
        say: Say = to_stderr,
        show: bool = False,
    ) -> None:
        self.search, self.folder, self.say = search, folder, say
        self._worker = Worker(search.study(), folder, trained, device, say, show)

    def attempt(self, last: int) -> Outcome:
        """Do a trial whose process was killed, or else a new one with a number below ``last``."""
        journal = open_journal(self.search, self.folder)
        for trial in journal.get_trials(deepcopy=False):
            claims = claims_of(self.folder, trial.number)
            if is_running(trial) and not is_claimed(claims):
                with claimed(claims) as own:
                    if own and is_running(journal.get_trials(deepcopy=False)[trial.number]):
                        return self._do(journal, trial.number)
        with self._new(journal, last) as number:
            return Outcome(TAKEN) if number is None else self._do(journal, number)

    @contextmanager
    def _new(self, journal: Any, last: int) -> Iterator[int | None]:
        """The number of a new trial, which is claimed while the block runs; None if there are enough.

        Trials are chosen by one process at a time, so that there are not more than ``last``. The options of a
        trial depend on its number and on the finished trials, and reach the journal in one piece.
        """
        from optuna import create_study
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState, create_trial

        with ExitStack() as held:
            with waited_for(self.folder / "claims" / "choice"):
                trials = journal.get_trials(deepcopy=False)
                number = len(trials)
                if number < last:
                    held.enter_context(waited_for(claims_of(self.folder, number)))
                    copy = create_study(sampler=TPESampler(seed=number))
                    copy.add_trials(trials)
                    space = _distributions(self.search)
                    params = copy.ask(space).params
                    journal.add_trial(
                        create_trial(state=TrialState.RUNNING, params=params, distributions=space)
                    )
            yield number if number < last else None

    def _do(self, journal: Any, number: int) -> Outcome:
        """Train the models of a trial, and write its score to the journal."""
        from optuna.trial import Trial, TrialState

        found = journal.get_trials(deepcopy=False)[number]
        trial = Trial(journal, found._trial_id)
        options = options_of(self.search, found.params)
        self.say(f"trial {number}: {', '.join(f'{name} {value}' for name, value in options.items())}")
        outcome = Outcome(DONE)
        try:
            score, pruned = self._score(trial, options)
        except Exception as error:
            outcome = Outcome(FAILED, f"{type(error).__name__}: {one_line(error)}")
            trial.set_user_attr(NOTE, outcome.why)
            journal.tell(trial, state=TrialState.FAIL)
        else:
            state = TrialState.PRUNED if pruned else TrialState.COMPLETE
            journal.tell(trial, None if pruned else score, state)
        forget(claims_of(self.folder, number))
        return outcome

    def _score(self, trial: Any, options: Mapping[str, Any]) -> tuple[float, bool]:
        """The mean of the best validation scores over the seeds, and whether the trial is pruned."""
        scores: list[float] = []
        variant = self.search.variant(options)
        for seed in self.search.seeds:
            run = Run(PROBLEM, "base", REFINED, seed)
            with waited_for(self.folder / "claims" / f"base.seed{seed}"):
                self._worker.bases_of(run)
            history, notes = self._worker.history(run, variant, [_Pruning(trial, scores)])
            best = best_score(history)
            if not math.isfinite(best):
                trial.set_user_attr(NOTE, "; ".join(notes) or "no finite validation score")
                return math.nan, True
            if "stopped" in history[-1]:
                return math.nan, True
            scores.append(best)
        return fmean(scores), False


class _Pruning:
    """A reporter that gives the validation score of every epoch to a trial, and ends it if it is pruned.

    With several seeds, the score is the mean over those that are finished and the current one.

    Args:
        trial: Optuna's trial.
        scores: of the seeds that are finished.
    """

    def __init__(self, trial: Any, scores: Sequence[float]) -> None:
        self._trial, self._scores = trial, tuple(scores)
        self._known = set(trial.storage.get_trial(trial._trial_id).intermediate_values)
        self._scored = False

    def start(self, config: Mapping[str, Any], folder: Path | None, update: int) -> None:
        pass

    def log(self, values: Mapping[str, float], update: int) -> None:
        scores = [value for name, value in values.items() if name.startswith("valid/")]
        if not scores:  # of an update
            return
        step = len(self._scores) * MOST_EPOCHS + int(values["epoch"])
        if step not in self._known:
            self._trial.report(fmean([*self._scores, scores[-1]]), step)
        self._scored = True

    def file(self, path: Path) -> None:
        pass

    def end(self, status: str) -> None:
        pass

    def should_stop(self) -> bool:
        pruned: bool = self._scored and self._trial.should_prune()  # not between two epochs
        self._scored = False
        return pruned


def _distributions(search: Search) -> dict[str, Any]:
    """The space of a search for Optuna."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def one(space: Dimension) -> Any:
        if space.kind == "choice":
            return CategoricalDistribution(space.choices)
        low, high = space.values
        numbers = IntDistribution if space.whole else FloatDistribution
        return numbers(low, high, log=space.kind == "log")

    return {name: one(space) for name, space in search.space.items()}
