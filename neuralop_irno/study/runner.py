"""Run a study; finished runs are skipped and interrupted ones resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from neuralop_irno.checkpoint import write_bytes, write_json
from neuralop_irno.claim import claim
from neuralop_irno.errors import check_folder, expected
from neuralop_irno.formats import current_study
from neuralop_irno.sealed import format_of, is_sealed, seal
from neuralop_irno.study import record as records
from neuralop_irno.study.kinds import check_kind
from neuralop_irno.study.plan import Run, Study, plain_of
from neuralop_irno.study.record import Record
from neuralop_irno.study.schedule import FailedRunsError, Schedule
from neuralop_irno.study.table import Table, table_of
from neuralop_irno.study.worker import Outcome, Say, Worker, do_run, file_of
from neuralop_irno.training.identity import refuse_other
from neuralop_irno.yaml_files import read_yaml, written

STUDY = "study.yaml"

SEARCH = "search.yaml"


class StudyRunner:
    """One study in one folder.

    The folder gets ``study.yaml``; ``runs/``, one JSON file per run; ``table.txt``, ``table.md``,
    ``table.csv`` and ``table.json``, updated after every run; and finally ``picture.png``, if the kind of
    study has a figure.

    Several processes and hosts may run one study in one folder: each run is done by one of them, which claims
    it in ``claims/`` meanwhile, and all of them return the whole table.

    Args:
        study: the study.
        folder: its folder; it must not contain a different study. Seeds may be added to a study later.
        device: device of the training.
        say: called with progress messages.
        show: whether to draw progress bars.
        trained: folder of trained models, one `Trainer` folder each, which studies can share so that no
            model is trained twice; by default ``trained/`` in the study's folder.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        device: str,
        say: Say,
        show: bool,
        trained: Path | None = None,
    ) -> None:
        check_kind(study)
        self.trained = trained or folder / "trained"
        self.study, self.folder, self.device = study, folder, device
        self.say, self.show = say, show

    def run(self, executor: Executor | None = None) -> Table:
        """Do the missing runs, and return the table of all runs.

        Args:
            executor: does the runs, several at a time, for example
                `neuralop_irno.study.executors.LocalWorkers`; it stays open. None does them in this process.

        Raises:
            FailedRunsError: some runs failed; all others are finished, and in the table.
        """
        self._begin()
        submit = self._here() if executor is None else self._by(executor)
        try:
            Schedule(self.study, self.folder, submit, self._write_table).run()
        except FailedRunsError:
            self._write_table()
            raise
        table = self._write_table()
        self._draw(table)
        return table

    def _here(self) -> Callable[[Run], Future[Outcome]]:
        worker = Worker(self.study, self.folder, self.trained, self.device, self.say, self.show)

        def submit(run: Run) -> Future[Outcome]:
            future = Future[Outcome]()
            future.set_result(worker.attempt(run))
            return future

        return submit

    def _by(self, executor: Executor) -> Callable[[Run], Future[Outcome]]:
        study = json.dumps(plain_of(self.study))
        folder, trained = str(self.folder.resolve()), str(self.trained.resolve())

        def submit(run: Run) -> Future[Outcome]:
            return executor.submit(do_run, study, folder, trained, list(run), self.device)

        return submit

    def _begin(self) -> None:
        """Write the study to its folder, or compare it with the one that is there."""
        file, own = self.folder / STUDY, plain_of(self.study)
        check_folder(self.trained)
        with claim(self.folder, wait=True):
            refuse_tables_of(self.folder / SEARCH)
            if file.exists():
                text, wanted = file.read_bytes(), f"the study that {self.folder} was started with"
                stored = current_study(read_yaml(file), format_of(text, file.name) or 1)
                is_sealed(text, file.name)
                refuse_other(_of_a_run(own), _of_a_run(stored), wanted, "a new --folder")
            write_bytes(file, seal(written(own)))

    def _write_table(self) -> Table:
        with claim(self.folder, wait=True):
            done = [self._read(run) for run in self.study.runs() if file_of(self.folder, run).exists()]
            table = table_of(self.study, done)
            if tuple(read_yaml(self.folder / STUDY)["seeds"]) != self.study.seeds:
                return table  # the files are those of a later command with other seeds
            write_bytes(self.folder / "table.txt", str(table).encode())
            write_bytes(self.folder / "table.md", table.markdown().encode())
            write_bytes(self.folder / "table.csv", table.csv().encode())
            write_json(self.folder / "table.json", table.to_plain())
        return table

    def _read(self, run: Run) -> Record:
        file = file_of(self.folder, run)
        found = records.read(file)
        if (found.problem, found.base, found.variant, found.seed) != run:
            got = f"that of {found.problem}.{found.base}.{found.variant}.seed{found.seed}"
            raise ValueError(expected(f"the record of {file.stem}", got, "removing it: it is run again"))
        return found

    def _draw(self, table: Table) -> None:
        from neuralop_irno.diagnostics.plots import save  # matplotlib is slow to import
        from neuralop_irno.study.pictures import PICTURES

        kind = self.study.kind
        if isinstance(kind, str) and kind in PICTURES and table.results:
            picture = PICTURES[kind](self.study, table)
            with claim(self.folder, wait=True):
                save(picture, self.folder / "picture.png")


def refuse_tables_of(file: Path) -> None:
    """Refuse a folder whose table is that of a search, for a study, or of a study, for a search.

    Args:
        file: of the other kind, if the folder has one.

    Raises:
        ValueError: it exists.
    """
    if file.exists():
        wanted = f"a folder without {file.name}, whose table would be overwritten"
        raise ValueError(expected(wanted, str(file), "a new --folder"))


def _of_a_run(study: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a single run depends on; seeds may be added to a study."""
    return {
        name: option for name, option in study.items() if name not in ("seeds", "about", "needs", "minutes")
    }
