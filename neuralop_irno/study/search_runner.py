"""Run a search in a folder, and write the table of its trials and the best config."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralop_irno.checkpoint import write_bytes, write_json
from neuralop_irno.claim import claim
from neuralop_irno.errors import check_folder, one_line
from neuralop_irno.sealed import is_sealed, seal
from neuralop_irno.study.claims import is_claimed
from neuralop_irno.study.runner import SEARCH, STUDY, refuse_tables_of
from neuralop_irno.study.schedule import LOSSES, FailedRunsError
from neuralop_irno.study.space import Search
from neuralop_irno.study.table import as_csv, as_frame, as_markdown, as_text
from neuralop_irno.study.trials import NOTE, Trials, claims_of, do_trial, is_running, open_journal, options_of
from neuralop_irno.study.worker import POLL, TAKEN, Outcome, Say
from neuralop_irno.training.identity import refuse_other
from neuralop_irno.yaml_files import read_yaml, written

BEST = "best.yaml"


@dataclass(frozen=True)
class TrialTable:
    """The trials of a search.

    Attributes:
        trials: for each its number, state (complete, pruned, fail or running), epochs over all seeds, score
            (of a pruned one: its last), options, and a note.
        best: the row of the lowest score; None if no trial is complete.
    """

    trials: list[dict[str, Any]]
    best: dict[str, Any] | None

    def __str__(self) -> str:
        return as_text(self.trials) + "\n"

    def markdown(self) -> str:
        """The table in Markdown."""
        return as_markdown(self.trials) + "\n"

    def csv(self) -> str:
        """The trials as comma-separated values with a header, in full precision; this is ``table.csv``."""
        return as_csv(self.trials)

    def frame(self) -> Any:
        """The trials as a data frame of pandas, which ``pip install 'neuralop_irno[pandas]'`` installs."""
        return as_frame(self.trials)

    def to_plain(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))


class SearchRunner:
    """One search in one folder, which any number of processes and hosts may share.

    The folder gets ``search.yaml``; ``journal.log``, Optuna's; ``table.txt``, ``table.md``,
    ``table.csv`` and ``table.json``, updated after every trial; and ``best.yaml``, a config for
    ``irno train``.

    Args:
        search: the search.
        folder: its folder; it must not contain a different search. The number of trials may grow.
        device: device of the training.
        say: called with progress messages.
        show: whether to draw progress bars.
        trained: folder of trained models; by default ``trained/`` in the folder.
    """

    def __init__(
        self, search: Search, folder: Path, device: str, say: Say, show: bool, trained: Path | None = None
    ) -> None:
        self.search, self.folder, self.device = search, folder, device
        self.say, self.show = say, show
        self.trained = trained or folder / "trained"

    def run(self, executor: Executor | None = None) -> TrialTable:
        """Do the missing trials, and return all.

        Trials that failed in an earlier call are replaced by new ones.

        Args:
            executor: does the trials, several at a time; it stays open. None does them in this process.

        Raises:
            FailedRunsError: some trials failed, or lost their workers too often; all others are finished.
        """
        self._begin()
        before = self._failed()
        last = self.search.trials + len(before)
        submit = self._here(last) if executor is None else self._by(executor, last)
        in_order = iter if executor is None else as_completed
        losses = 0
        while (count := self._missing(last)) is not None:
            taken = 0
            futures, broken = _started(submit, count)
            for future in in_order(futures):
                error = CancelledError() if future.cancelled() else future.exception()
                if error is None:
                    taken += future.result().state == TAKEN
                    self._write_table()
                elif (losses := losses + 1) > LOSSES * self.search.trials:
                    why = f"{losses} were lost, at last by {type(error).__name__}: {one_line(error)}"
                    raise FailedRunsError({"workers": why}, last)
            if broken is not None:
                why = f"{type(broken).__name__}: {one_line(broken)}"
                raise FailedRunsError({"workers": why}, last) from broken
            if taken == count:  # other processes do the rest
                time.sleep(POLL)
        table = self._write_table()
        if failed := {name: why for name, why in self._failed().items() if name not in before}:
            raise FailedRunsError(failed, last)
        return table

    def _here(self, last: int) -> Callable[[], Future[Outcome]]:
        trials = Trials(self.search, self.folder, self.trained, self.device, self.say, self.show)

        def submit() -> Future[Outcome]:
            future = Future[Outcome]()
            future.set_result(trials.attempt(last))
            return future

        return submit

    def _by(self, executor: Executor, last: int) -> Callable[[], Future[Outcome]]:
        search = json.dumps(self.search.to_plain())
        folder, trained = str(self.folder.resolve()), str(self.trained.resolve())
        return lambda: executor.submit(do_trial, search, folder, trained, self.device, last)

    def _missing(self, last: int) -> int | None:
        """How many trials can be done: new ones, and those of killed processes; None if all are finished."""
        trials = open_journal(self.search, self.folder).get_trials(deepcopy=False)
        running = [trial.number for trial in trials if is_running(trial)]
        new = max(0, last - len(trials))
        if not new and not running:
            return None
        return new + sum(not is_claimed(claims_of(self.folder, number)) for number in running)

    def _failed(self) -> dict[str, str]:
        """The trials that failed, each with the last line of its traceback."""
        return {f"trial {row['trial']}": row["note"] for row in self._rows() if row["state"] == "fail"}

    def _begin(self) -> None:
        """Write the search to its folder, or compare it with the one that is there."""
        file, own = self.folder / SEARCH, self.search.to_plain()
        check_folder(self.trained)
        with claim(self.folder, wait=True):
            refuse_tables_of(self.folder / STUDY)
            if file.exists():
                stored = read_yaml(file)
                is_sealed(file.read_bytes(), file.name)
                wanted = f"the search that {self.folder} was started with"
                refuse_other(_of_a_trial(own), _of_a_trial(stored), wanted, "a new --folder")
            write_bytes(file, seal(written(own)))

    def _rows(self) -> list[dict[str, Any]]:
        """A row for each trial."""
        return [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "epochs": len(trial.intermediate_values),
                "score": trial.value if trial.value is not None else "",
                **options_of(self.search, trial.params),
                "note": trial.user_attrs.get(NOTE, ""),
            }
            for trial in open_journal(self.search, self.folder).get_trials(deepcopy=False)
        ]

    def _write_table(self) -> TrialTable:
        with claim(self.folder, wait=True):
            rows = self._rows()
            complete = [row for row in rows if row["state"] == "complete"]
            best = min(complete, key=lambda row: row["score"], default=None)
            table = TrialTable(rows, best)
            write_bytes(self.folder / "table.txt", str(table).encode())
            write_bytes(self.folder / "table.md", table.markdown().encode())
            write_bytes(self.folder / "table.csv", table.csv().encode())
            write_json(self.folder / "table.json", table.to_plain())
            if best is not None:
                options = {name: best[name] for name in self.search.space}
                content = self.search.experiment(options, self.search.seeds[0]).content
                write_bytes(self.folder / BEST, written(content))
        return table


def _started(
    submit: Callable[[], Future[Outcome]], count: int
) -> tuple[list[Future[Outcome]], BrokenExecutor | None]:
    """The futures of several trials; fewer with the error of an executor that has lost its workers."""
    futures: list[Future[Outcome]] = []
    for _ in range(count):
        try:
            futures.append(submit())
        except BrokenExecutor as error:
            return futures, error
    return futures, None


def _of_a_trial(search: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a single trial depends on; trials may be added to a search."""
    return {name: option for name, option in search.items() if name != "trials"}
