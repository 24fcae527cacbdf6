"""``irno study``: train many models over several seeds and write a table with confidence intervals."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from irno_cli.options import add_common, count, names, refused, result, say

HELP = "rerun a table: bases, refiners and controls over several seeds"
DESCRIPTION = (
    "Trains and evaluates every model of a study, and writes one JSON file per run and a table with "
    "95 % intervals over the seeds: table.txt, table.md, table.csv, table.json. An interrupted study resumes "
    "when it is started again in the same folder, and several processes and hosts may share it. Give the "
    "name of a study of the package, or the path of your own YAML file; --search searches options instead."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("name", nargs="?", help="a study of --list, or the path of a YAML file")
    command.add_argument(
        "--list", action="store_true", help="list the studies, what they need and how long they take"
    )
    command.add_argument(
        "--scale", default="small", help="small, for 2 CPU cores, or medium, for a GPU (default: small)"
    )
    command.add_argument("--folder", type=Path, help="output folder (default: runs/NAME-SCALE)")
    command.add_argument(
        "--trained",
        type=Path,
        help="folder of trained models, which studies can share (default: FOLDER/trained)",
    )
    command.add_argument(
        "--search",
        type=Path,
        metavar="FILE",
        help="search options of a refiner with Optuna, in place of a study: a config of irno train with the "
        "sections search, trials, seeds and pruner",
    )
    command.add_argument("--workers", type=count, help="processes of this machine; each takes its own GPU")
    command.add_argument(
        "--executor",
        metavar="WHERE",
        help="slurm, a job for each run; submitit-local, the same without Slurm; or dask://host:port, "
        "the scheduler of a Dask cluster. --workers limits the jobs at once",
    )
    command.add_argument(
        "--slurm",
        type=slurm_options,
        default={},
        metavar="NAME=VALUE,..",
        help="options of the jobs, as of sbatch: partition=gpu,time=120,gpus_per_node=1 (time in minutes)",
    )
    add_common(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno.errors import expected
    from neuralop_irno.study.catalogue import read_study
    from neuralop_irno.study.runner import StudyRunner

    if options.list:
        _list(options)
        return
    if options.search is not None:
        _search(options)
        return
    if options.name is None:
        raise ValueError(expected("the name of a study", "none", "irno study --list"))
    study = read_study(options.name, options.scale)
    folder = options.folder or Path("runs") / study.name
    runner = StudyRunner(study, folder, options.device, say, not options.json, options.trained)
    with _executor(options, folder) as executor:
        table = runner.run(executor)
    result(options, table.to_plain(), f"{table}\nThe table is in {folder}.")


def _search(options: argparse.Namespace) -> None:
    from neuralop_irno.errors import expected
    from neuralop_irno.study.search_runner import BEST, SearchRunner
    from neuralop_irno.study.space import read_search

    if options.name is not None:
        raise ValueError(expected("a study or a search", f"{options.name} and --search", "one of them"))
    search = read_search(options.search)
    folder = options.folder or Path("runs") / options.search.stem
    runner = SearchRunner(search, folder, options.device, say, not options.json, options.trained)
    with _executor(options, folder) as executor:
        table = runner.run(executor)
    text = f"{table}\nThe table is in {folder}."
    if table.best is not None:
        text += f" The best config: irno train {folder / BEST} --folder {folder / 'best'}"
    result(options, table.to_plain(), text)


def slurm_options(word: str) -> dict[str, Any]:
    """Parse ``name=value,..``, with the values in YAML."""
    from neuralop_irno.yaml_files import parsed

    pairs = [pair.partition("=") for pair in names(word)]
    if not all(name and equals and value for name, equals, value in pairs):
        raise refused("options of Slurm as name=value,..", repr(word), "partition=gpu,time=120")
    return {name: parsed(value) for name, _, value in pairs}


@contextmanager
def _executor(options: argparse.Namespace, folder: Path) -> Iterator[Executor | None]:
    """The executor of the options; None does the runs in this process. SIGTERM stops its runs."""
    from neuralop_irno.errors import expected
    from neuralop_irno.study.executors import MOST_JOBS, LocalWorkers, SubmititJobs, closing, dask_workers

    where, workers = options.executor, options.workers
    if options.slurm and where != "slurm":
        raise ValueError(expected("--executor slurm with --slurm", where, "--executor slurm"))
    if where is None and workers is None:
        yield None
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if where is None:
            with closing(LocalWorkers(workers, options.device)) as executor:
                yield executor
        elif where in ("slurm", "submitit-local"):
            cluster = where.removeprefix("submitit-")
            at_once = MOST_JOBS if workers is None else workers
            jobs = SubmititJobs(folder.resolve() / "jobs", cluster, options.slurm, at_once)
            with closing(jobs) as executor:
                yield executor
        elif where.startswith("dask://"):
            with dask_workers("tcp://" + where.removeprefix("dask://")) as executor:
                yield executor
        else:
            raise ValueError(
                expected("an executor", repr(where), "slurm, submitit-local or dask://host:port")
            )
    finally:
        signal.signal(signal.SIGTERM, before)


def _list(options: argparse.Namespace) -> None:
    from neuralop_irno.study.catalogue import SCALES, names, read_study

    content: dict[str, Any] = {}
    lines = []
    for name in names():
        studies = {scale: read_study(name, scale) for scale in SCALES}
        content[name] = {
            scale: {
                "about": study.about, "kind": study.kind, "needs": study.needs, "minutes": study.minutes,
                "runs": len(study.runs()),
            }
            for scale, study in studies.items()
        }  # fmt: skip
        lines.append(f"{name}: {studies['small'].about}")
        for scale, study in studies.items():
            time = "time unknown" if study.minutes is None else f"about {study.minutes:g} minutes"
            lines.append(f"  {scale:6}  {len(study.runs()):3} runs, {study.needs}, {time}")
    result(options, content, "\n".join(lines))
