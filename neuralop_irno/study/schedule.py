"""The order of a study's runs: each when those that it needs are finished."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from pathlib import Path
from typing import Any

from neuralop_irno.errors import expected, one_line
from neuralop_irno.study.claims import is_claimed
from neuralop_irno.study.plan import Run, Study
from neuralop_irno.study.worker import FAILED, POLL, TAKEN, Outcome, claims_of, file_of

LOSSES = 3
"""How often a run may lose its worker before it counts as failed."""


class FailedRunsError(RuntimeError):
    """Some runs failed, after all others were finished."""

    def __init__(self, failures: dict[str, str], runs: int) -> None:
        by_reason: dict[str, list[str]] = {}
        for name, why in failures.items():
            by_reason.setdefault(why, []).append(name)
        lines = "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items())
        hint = "the same command again, which does only these"
        super().__init__(expected(f"{runs} finished runs", f"{len(failures)} that failed: {lines}", hint))


class Schedule:
    """Submits the missing runs of a study as soon as their bases are finished.

    Args:
        study: the study whose runs are done, each after those that it needs.
        folder: the folder of the study.
        submit: starts a run; its future has an `Outcome`, or the error that ended its worker.
        collect: called after each run that has been finished, here or by another process.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        submit: Callable[[Run], Future[Outcome]],
        collect: Callable[[], object],
    ) -> None:
        self.study, self.runs, self.folder = study, study.runs(), folder
        self.failures: dict[Run, str] = {}
        self._submit, self._collect = submit, collect
        self._waiting = [run for run in self.runs if not self._is_finished(run)]
        self._started: dict[Future[Outcome], Run] = {}
        self._losses: Counter[Run] = Counter()

    def run(self) -> None:
        """Finish all runs that can be finished; `failures` has the others.

        Raises:
            FailedRunsError: some runs failed.
        """
        while self._waiting or self._started:
            moved = [self._advance(run) for run in list(self._waiting)]
            if self._started:
                wait(self._started, timeout=POLL, return_when=FIRST_COMPLETED)
                self._take_in()
            elif not any(moved):
                time.sleep(POLL)
        if self.failures:
            failures = {run.name: why for run, why in self.failures.items()}
            raise FailedRunsError(failures, len(self.runs))

    def _advance(self, run: Run) -> bool:
        """Start a run if it can be started; returns whether this process has nothing more to wait for."""
        needed = self.study.needed(run)
        if self._is_finished(run):
            self._waiting.remove(run)
            self._collect()
        elif lost := [other.name for other in needed if other in self.failures]:
            self._fail(run, f"needs {', '.join(lost)}")
            self._waiting.remove(run)
        elif is_claimed(claims_of(self.folder, run)) or not all(map(self._is_finished, needed)):
            return False
        else:
            self._waiting.remove(run)
            self._start(run)
            self._take_in()
            return run not in self._waiting
        return True

    def _start(self, run: Run) -> None:
        try:
            self._started[self._submit(run)] = run
        except BrokenExecutor as error:
            self._fail(run, f"{type(error).__name__}: {one_line(error)}")

    def _take_in(self) -> None:
        """Sort the runs whose futures are done into finished, failed, and still to do."""
        for future in [future for future in self._started if future.done()]:
            run = self._started.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            if error is not None:
                self._lose(run, error)
                continue
            outcome = future.result()
            if outcome.state == TAKEN:
                self._waiting.append(run)
            elif outcome.state == FAILED:
                self._fail(run, outcome.why)
            else:
                self._collect()

    def _lose(self, run: Run, error: Any) -> None:
        """Repeat a run whose worker ended without an outcome: it resumes from its last snapshot."""
        self._losses[run] += 1
        if self._losses[run] < LOSSES:
            self._waiting.append(run)
        else:
            last = f"{type(error).__name__}: {one_line(error)}"
            self._fail(run, f"lost its worker {LOSSES} times, at last by {last}")

    def _fail(self, run: Run, why: str) -> None:
        self.failures[run] = why

    def _is_finished(self, run: Run) -> bool:
        return file_of(self.folder, run).exists()
