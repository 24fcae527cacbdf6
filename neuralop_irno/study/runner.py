"""Run a study; finished runs are skipped and interrupted ones resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuralop_irno.checkpoint import write_bytes, write_json
from neuralop_irno.claim import InUseError, claim
from neuralop_irno.data.node_classes import NodeClasses
from neuralop_irno.diagnostics.base_check import check_base
from neuralop_irno.errors import expected
from neuralop_irno.formats import current_study
from neuralop_irno.metrics import METRICS
from neuralop_irno.metrics.pointwise import own_metric
from neuralop_irno.sealed import format_of, is_sealed, seal
from neuralop_irno.study import record as records
from neuralop_irno.study.contenders import Contender, Setting, contender, digest
from neuralop_irno.study.cost import answer_mib, machine, megaflops, training_mib
from neuralop_irno.study.kinds import Trained, check_kind, measure
from neuralop_irno.study.plan import BASE, Run, Study
from neuralop_irno.study.record import Record
from neuralop_irno.study.table import Table, table_of
from neuralop_irno.training import snapshot
from neuralop_irno.training.batches import at_a_time, at_once, load_all
from neuralop_irno.training.divergence import DivergenceError
from neuralop_irno.training.identity import refuse_other
from neuralop_irno.training.trainer import History, Trainer
from neuralop_irno.yaml_files import read_yaml, written

STUDY = "study.yaml"

POLL = 0.5
"""Seconds between two checks whether another process has finished."""

Say = Callable[[str], None]


class StudyRunner:
    """One study in one folder.

    The folder gets ``study.yaml``; ``runs/``, one JSON file per run; ``table.txt``, ``table.md`` and
    ``table.json``, updated after every run; and finally ``picture.png``, if the kind of study has a figure.

    Several processes may run one study in one folder: each run is done by one of them, which locks its folder
    in ``claims/`` meanwhile, and all of them return the whole table.

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
        self._problem = ""
        self._splits: Any = None
        self._bases: dict[tuple[str, str, int], nn.Module] = {}

    def run(self) -> Table:
        """Do the missing runs, and return the table of all runs."""
        self._begin()
        runs = self.study.runs()
        while missing := [run for run in runs if not self._file(run).exists()]:
            done = [self._do_unless_claimed(run, runs) for run in missing]
            if not any(done):
                time.sleep(POLL)
        table = self._write_table(runs)
        self._draw(table)
        return table

    def _do_unless_claimed(self, run: Run, runs: list[Run]) -> bool:
        """Do a run unless another process does it or has finished it; returns whether it was done here."""
        try:
            with claim(self.folder / "claims" / run.name):
                if self._file(run).exists():
                    return False
                place = runs.index(run) + 1
                self.say(f"[{place}/{len(runs)}] {run.problem}, {run.base}, {run.variant}, seed {run.seed}")
                records.write(self._file(run), self._do(run))
        except InUseError:
            return False
        self._write_table(runs)
        return True

    def _do(self, run: Run) -> Record:
        """Train or resume one model, and measure it."""
        splits = self._data(run.problem)
        bases = self._bases_of(run)
        setting = self._setting(run, bases.get(run.base))
        built = contender(setting)
        updates, seconds, notes = self._train(built, self._work(run, setting))
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

    def _work(self, run: Run, setting: Setting) -> Path:
        """The training folder of a model; its name ends in the digest of everything it depends on."""
        return (
            self.trained / f"{run.problem}.{run.base}.{setting.variant.role}.seed{run.seed}.{digest(setting)}"
        )

    def _train(self, built: Contender, work: Path) -> tuple[int, float | None, list[str]]:
        """Train on the current problem; returns updates, seconds (None if interrupted) and notes."""
        built.model.to(self.device)
        if built.recipe is None:
            return 0, None, []
        begun = snapshot.exists(work)
        splits = self._splits
        metric = METRICS.lookup(own_metric(splits["test"]))
        trainer = Trainer(built.model, built.recipe, built.loss, work, metric, self.device, self.show)
        start = time.perf_counter()
        try:
            history, waited = self._fit_when_free(trainer)
        except DivergenceError as error:
            return 0, None, [f"training diverged: {error}"]
        seconds = None if begun or waited else time.perf_counter() - start
        return history[-1]["update"] if history else 0, seconds, []

    def _fit_when_free(self, trainer: Trainer) -> tuple[History, bool]:
        """Train, after waiting for another process in the same folder; also returns whether it waited."""
        waited = False
        while True:
            try:
                return trainer.fit(self._splits["train"], self._splits["valid"], resume=True), waited
            except InUseError:
                waited = True
                time.sleep(POLL)

    def _bases_of(self, run: Run) -> dict[str, nn.Module]:
        """The trained bases of a run's problem and seed; empty for the run of a base."""
        if run.variant == BASE:
            return {}
        found = {}
        for name in self.study.problems[run.problem].bases:
            key = (run.problem, name, run.seed)
            if key not in self._bases:  # trained by an earlier process: load it from its folder
                own = Run(run.problem, name, BASE, run.seed)
                setting = self._setting(own, None)
                built = contender(setting)
                self._train(built, self._work(own, setting))
                self._bases[key] = built.model
            found[name] = self._bases[key]
        return found

    def _setting(self, run: Run, base: nn.Module | None) -> Setting:
        variant = self.study.variants[run.variant]
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

    def _begin(self) -> None:
        """Write the study to its folder, or compare it with the one that is there."""
        file, own = self.folder / STUDY, json.loads(json.dumps(asdict(self.study)))  # plain data for YAML
        with claim(self.folder, wait=True):
            if file.exists():
                text, wanted = file.read_bytes(), f"the study that {self.folder} was started with"
                stored = current_study(read_yaml(file), format_of(text, file.name) or 1)
                is_sealed(text, file.name)
                refuse_other(_of_a_run(own), _of_a_run(stored), wanted, "a new --folder")
            write_bytes(file, seal(written(own)))

    def _file(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.name}.json"

    def _write_table(self, runs: list[Run]) -> Table:
        with claim(self.folder, wait=True):
            done = [self._read(run) for run in runs if self._file(run).exists()]
            table = table_of(self.study, done)
            write_bytes(self.folder / "table.txt", str(table).encode())
            write_bytes(self.folder / "table.md", table.markdown().encode())
            write_json(self.folder / "table.json", table.to_plain())
        return table

    def _read(self, run: Run) -> Record:
        file = self._file(run)
        found = records.read(file)
        if (found.problem, found.base, found.variant, found.seed) != run:
            got = f"that of {found.problem}.{found.base}.{found.variant}.seed{found.seed}"
            raise ValueError(expected(f"the record of {file.stem}", got, "removing it: it is run again"))
        return found

    def _draw(self, table: Table) -> None:
        from neuralop_irno.diagnostics.plots import save  # matplotlib is slow to import
        from neuralop_irno.study.pictures import PICTURES

        if self.study.kind in PICTURES and table.results:
            picture = PICTURES[self.study.kind](self.study, table)
            with claim(self.folder, wait=True):
                save(picture, self.folder / "picture.png")


def _of_a_run(study: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a single run depends on; seeds may be added to a study."""
    return {
        name: option for name, option in study.items() if name not in ("seeds", "about", "needs", "minutes")
    }
