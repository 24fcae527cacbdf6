"""Reports as HTML: one page for a run, a study, a rollout or a diagnosis."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from neuralop_irno.checkpoint import write_bytes
from neuralop_irno.errors import expected, in_grammar
from neuralop_irno.reports.of_diagnosis import DIAGNOSIS, page_of_diagnosis
from neuralop_irno.reports.of_frames import page_of_frames
from neuralop_irno.reports.of_rollout import ROLLOUT, page_of_rollout
from neuralop_irno.reports.of_run import page_of_run
from neuralop_irno.reports.of_study import SEARCH, STUDY, TABLE, page_of_study
from neuralop_irno.reports.page import GENERATOR, Page
from neuralop_irno.rollouts.files import SUFFIXES
from neuralop_irno.training.folder import CONFIG, HISTORY
from neuralop_irno.training.identity import DIGESTS

REPORT = "report.html"

PAGE = (".html", ".htm")
"""The ends of the path of a page."""

KINDS: dict[str, tuple[str, ...]] = {
    "run": (HISTORY, CONFIG, DIGESTS),
    "study": (STUDY, SEARCH, TABLE),
    "rollout": (ROLLOUT,),
    "diagnosis": (DIAGNOSIS,),
}
"""The files by which a folder is recognised."""

FRAMES = "rollout file"

WANTED = "a run, study, rollout or diagnosis"


def report(place: str | os.PathLike[str], to: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a run, study, rollout or diagnosis as one HTML file.

    The page has plots, tables that a click sorts, films and pictures in itself, and loads nothing. It is
    made of the files in the folder alone: neither the data nor the base are read, and the same files give
    the same page, byte for byte. All text from files is escaped.

    Args:
        place: the folder of a run (``irno train`` or `Trainer`), of a study or search, of a rollout
            (``RolloutReport.write``) or of a diagnosis (``Diagnosis.write``); the frames of a rollout,
            ``run.h5``, ``run.zarr``, ``run.vtkhdf`` or ``run.pvd``; or ``rollout.json`` or
            ``diagnosis.json``, if a folder has both.
        to: the page; by default ``report.html`` in the folder, and for a file or frames the same name with
            ``.html``.

    Returns:
        the path of the page.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: it is neither, or a file is damaged, or ``to`` does not end in ``.html`` or ``.htm``, or
            is a file that is no report.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from neuralop_irno.diagnostics.rollout import evaluate_rollout
        >>> truth = torch.sin(torch.arange(8.0)).expand(2, 3, 1, 8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = evaluate_rollout(truth + 0.1, truth, fields=["u"]).write(folder)
        ...     page = report(folder)
        ...     page.name, "VRMSE" in page.read_text()
        ('report.html', True)
    """
    source = Path(place)
    if not source.exists():
        raise FileNotFoundError(expected(f"the folder of {WANTED}", f"none at {source}", "runs/a"))
    kind, file = _recognised(source)
    target = Path(to) if to is not None else _beside(source)
    _check_page(target)
    name = "/".join(source.resolve().parts[-1 if kind in ("run", "study") else -2 :])
    with in_grammar(f"the files of a {kind} in {source}", f"the command that wrote it again: {AGAIN[kind]}"):
        page = PAGES[kind](file, name).html()
    return write_bytes(target, page.encode())


PAGES: dict[str, Callable[[Path, str], Page]] = {
    "run": page_of_run,
    "study": page_of_study,
    "rollout": page_of_rollout,
    FRAMES: page_of_frames,
    "diagnosis": page_of_diagnosis,
}

AGAIN = {
    "run": "irno train --resume",
    "study": "irno study",
    "rollout": "irno rollout RUN",
    FRAMES: "irno rollout RUN --to FILE",
    "diagnosis": "irno diagnose RUN",
}


def _recognised(source: Path) -> tuple[str, Path]:
    """The kind of a folder or file, and what its page is made of: the folder, or the JSON of its report."""
    if source.suffix in SUFFIXES:
        return FRAMES, source
    if source.is_file():
        kind = next((kind for kind in ("rollout", "diagnosis") if source.name in KINDS[kind]), None)
        if kind is None:
            wanted, hint = f"a folder, {ROLLOUT}, {DIAGNOSIS} or frames", f"the folder of {WANTED}"
            raise ValueError(expected(wanted, f"the file {source}", hint))
        return kind, source
    found = [kind for kind, names in KINDS.items() if any((source / name).is_file() for name in names)]
    if len(found) == 1:
        kind = found[0]
        return kind, source if kind in ("run", "study") else source / KINDS[kind][0]
    if found:
        files = ", ".join(name for kind in found for name in KINDS[kind] if (source / name).is_file())
        wanted = "a folder of one kind"
        raise ValueError(expected(wanted, f"{source} with {files}", f"the path of {ROLLOUT} or {DIAGNOSIS}"))
    inside = sorted(
        str(path)
        for path in source.iterdir()
        if path.is_dir() and any((path / name).is_file() for names in KINDS.values() for name in names)
    )
    hint = " or ".join(inside[:3]) or "a folder that irno train, study, rollout or diagnose wrote"
    raise ValueError(expected(f"the folder of {WANTED}", f"{source}, which has none of their files", hint))


def _beside(source: Path) -> Path:
    one = source.is_file() or source.suffix in SUFFIXES
    return source.with_suffix(".html") if one else source / REPORT


def _check_page(target: Path) -> None:
    """Refuse a path that is none of a page, and to replace a file that is no report."""
    if target.is_dir():
        raise ValueError(expected("the path of a page", f"the folder {target}", str(target / REPORT)))
    if target.suffix not in PAGE:
        hint = str(target.with_suffix(PAGE[0]))
        raise ValueError(expected(f"a path that ends in {' or '.join(PAGE)}", target, hint))
    if target.is_file() and f'content="{GENERATOR}"'.encode() not in target.read_bytes()[:1000]:
        raise ValueError(
            expected("a new path or an earlier report", f"{target}, another file", "--to other.html")
        )
