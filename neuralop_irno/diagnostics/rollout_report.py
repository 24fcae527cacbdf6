"""The results of `evaluate_rollout` and `compare_rollouts`, as tables, files and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from neuralop_irno.checkpoint import write_bytes
from neuralop_irno.diagnostics.film import Film, median_of
from neuralop_irno.diagnostics.report_files import Report, write_report
from neuralop_irno.diagnostics.rollout_scores import RolloutScores
from neuralop_irno.diagnostics.rollout_tables import as_csv, as_text


@dataclass(frozen=True)
class RolloutReport(RolloutScores):
    """Scores, valid times, drifts and spectra of a rollout; printed as a table."""

    def __repr__(self) -> str:
        return super().__repr__()

    def __str__(self) -> str:
        return as_text({"predicted": self})

    def write(self, folder: str | Path, video: str | None = "gif") -> Path:
        """``rollout.json``, ``rollout.csv``, ``rollout.txt``, pictures and a film.

        Args:
            folder: for the files.
            video: ``gif``; ``mp4`` with ffmpeg, which ``neuralop_irno[film]`` installs; or None for no film.
                Films of points and meshes in three dimensions need PyVista, ``neuralop_irno[pyvista]``.
        """
        return _write(self, {"predicted": self}, self.film, Path(folder), video)


@dataclass(frozen=True)
class RolloutComparison:
    """Rollouts of several models from the same starts, side by side.

    Attributes:
        reports: by the name of the model.
        film: of one sample, by all models.
    """

    reports: Mapping[str, RolloutReport]
    film: Film

    def __repr__(self) -> str:
        return f"RolloutComparison({', '.join(f'{name}: {each!r}' for name, each in self.reports.items())})"

    def __str__(self) -> str:
        return as_text(self.reports)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One comparison on all samples of several, which have the same fields, frames and options."""
        reports = {
            name: RolloutReport.joined([part.reports[name] for part in parts]) for name in parts[0].reports
        }
        errors = torch.stack([each.scores["vrmse"].mean((1, 2)) for each in reports.values()]).mean(0)
        return cls(reports, median_of([part.film for part in parts], errors))

    def to_plain(self) -> dict[str, Any]:
        """The reports as plain data, by the name of the model."""
        return {name: report.to_plain() for name, report in self.reports.items()}

    def write(self, folder: str | Path, video: str | None = "gif") -> Path:
        """The same files as those of `RolloutReport.write`, with all models in each."""
        return _write(self, self.reports, self.film, Path(folder), video)


def _write(
    report: Report, reports: Mapping[str, RolloutScores], film: Film, folder: Path, video: str | None
) -> Path:
    # matplotlib is slow to import, and only pictures need it
    from neuralop_irno.diagnostics import plots, projection

    target = None if video is None else folder / f"rollout.{video}"
    # Refuse what is missing for a film before anything is written.
    write_film = None if target is None else projection.projector_for(target, film)
    write_report(report, folder, "rollout")
    write_bytes(folder / "rollout.csv", as_csv(reports).encode())
    one = next(iter(reports.values()))
    times = [one.step * number for number in range(1, one.steps + 1)]
    scores = {
        "VRMSE": ({name: each.scores["vrmse"].mean(2) for name, each in reports.items()}, one.threshold),
        "ACC": ({name: each.scores["acc"].mean(2) for name, each in reports.items()}, one.correlation),
    }
    lost = [f"{int(each.blown_up[-1])} ({name})" for name, each in reports.items()]
    note = f"samples that have blown up in the end, of {one.samples}: {', '.join(lost)}"
    plots.rollout_errors(folder / "error_in_time.png", times, scores, note)
    plots.rollout_spectra(
        folder / "spectra.png", {name: vars(each.spectra) for name, each in reports.items()}
    )
    drifts = {name: {model: each.drift[name] for model, each in reports.items()} for name in one.drift}
    plots.rollout_drifts(folder / "drift.png", times, drifts)
    if write_film is not None:
        write_film()
    return folder
