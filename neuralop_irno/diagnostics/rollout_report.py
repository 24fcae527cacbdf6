"""The result of `evaluate_rollout`, as numbers, a table and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from neuralop_irno.diagnostics.film import Film
from neuralop_irno.diagnostics.report_files import as_json, write_report
from neuralop_irno.metrics import summarise

SHOWN = (1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000)
"""The frames in the table, if the rollout has them; the last frame is always included."""


@dataclass(frozen=True)
class Spectra:
    """Energies in radial bands, averaged over fields and over samples that have not blown up.

    Attributes:
        frequency: the middle of each band, relative to the Nyquist frequency, ``(bands,)``.
        predicted: of the predicted frames, ``(T, bands)``.
        true: of the true ones.
        error: of their differences.
    """

    frequency: Tensor
    predicted: Tensor
    true: Tensor
    error: Tensor


@dataclass(frozen=True)
class RolloutReport:
    """Scores, valid times, drifts and spectra of a rollout.

    Attributes:
        fields: their names.
        step: the time between two frames.
        threshold: the VRMSE up to which a frame is valid.
        correlation: the anomaly correlation down to which a frame is correlated.
        scores: by name, ``(samples, T, C)``; not finite where a sample has blown up.
        drift: of each watched quantity, its difference from the truth's, ``(samples, T)``.
        sound: for each sample, the number of frames before the first that is not finite, or ten times
            larger than any of the truth, ``(samples,)``.
        spectra: energies by frequency.
        film: of the median sample.
    """

    fields: tuple[str, ...]
    step: float
    threshold: float
    correlation: float
    scores: Mapping[str, Tensor]
    drift: Mapping[str, Tensor]
    sound: Tensor
    spectra: Spectra
    film: Film

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.sound)

    @property
    def steps(self) -> int:
        """The number of frames."""
        return self.scores["vrmse"].shape[1]

    @property
    def valid_time(self) -> Tensor:
        """For each sample, the time up to which the VRMSE stays below the threshold, ``(samples,)``."""
        return self._time_while(self.scores["vrmse"].mean(2) <= self.threshold)

    @property
    def correlation_time(self) -> Tensor:
        """For each sample, the time up to which it stays correlated with the truth, ``(samples,)``."""
        return self._time_while(self.scores["acc"].mean(2) >= self.correlation)

    @property
    def blown_up(self) -> Tensor:
        """For each frame, how many samples have blown up by then, ``(T,)``."""
        return (self.sound[None] <= self.sound.new_tensor(range(self.steps))[:, None]).sum(1)

    def __repr__(self) -> str:
        sizes = f"{self.samples} samples, {self.steps} frames of {', '.join(self.fields)}"
        return f"RolloutReport({sizes}, median valid time {self.valid_time.median():.4g})"

    def __str__(self) -> str:
        return "\n".join([*self._table(), "", *self._times(), "", *self._drifts()])

    def to_plain(self) -> dict[str, Any]:
        """The report without the film, as plain data."""
        return {
            "fields": list(self.fields),
            "samples": self.samples,
            "steps": self.steps,
            "step": self.step,
            "scores": {name: as_json(values) for name, values in self.scores.items()},
            "threshold": self.threshold,
            "valid_time": as_json(self.valid_time),
            "correlation": self.correlation,
            "correlation_time": as_json(self.correlation_time),
            "sound_frames": self.sound.tolist(),
            "blown_up": self.blown_up.tolist(),
            "drift": {name: as_json(values) for name, values in self.drift.items()},
            "spectra": {name: as_json(values) for name, values in vars(self.spectra).items()},
        }

    def write(self, folder: str | Path, video: str = "gif") -> Path:
        """``rollout.json``, ``rollout.txt``, pictures and a film.

        Args:
            folder: for the files.
            video: ``gif``, or ``mp4`` with ffmpeg, which ``neuralop_irno[film]`` installs.
        """
        # matplotlib is slow to import, and only pictures need it
        from neuralop_irno.diagnostics import plots, projection

        target = Path(folder)
        film = target / f"rollout.{video}"
        writer = projection.writer_for(film)  # refuses before anything is written
        write_report(self, target, "rollout")
        times = [self.step * number for number in range(1, self.steps + 1)]
        scores = {
            "VRMSE": (self.scores["vrmse"].mean(2), self.threshold),
            "ACC": (self.scores["acc"].mean(2), self.correlation),
        }
        lost = f"{int(self.blown_up[-1])} of {self.samples} samples have blown up in the end"
        plots.rollout_errors(target / "error_in_time.png", times, scores, lost)
        plots.rollout_spectra(target / "spectra.png", **vars(self.spectra))
        plots.rollout_drifts(target / "drift.png", times, self.drift)
        projection.show(film, self.film, writer)
        return target

    def _time_while(self, good: Tensor) -> Tensor:
        return good.double().cumprod(1).sum(1) * self.step

    def _table(self) -> list[str]:
        lines = [f"{self.samples} samples, {self.steps} frames, means over the samples with finite scores"]
        shown = sorted({number for number in SHOWN if number <= self.steps} | {self.steps})
        for place, field in enumerate(self.fields):
            lines += [
                "",
                f"{field:20} {'time':>8} {'blown up':>9}" + "".join(f"{n:>13}" for n in self.scores),
            ]
            for number in shown:
                cells = [summarise(s[:, number - 1, place]).mean for s in self.scores.values()]
                counted = f"{int(self.blown_up[number - 1])} of {self.samples}"
                row = f"  frame {number:<12} {number * self.step:8.4g} {counted:>9}"
                lines.append(row + "".join(f"{cell:13.4f}" for cell in cells))
        return lines

    def _times(self) -> list[str]:
        end = self.steps * self.step
        rows = {
            f"valid time, VRMSE <= {self.threshold:g}": self.valid_time,
            f"correlation time, ACC >= {self.correlation:g}": self.correlation_time,
            "sound, neither huge nor not finite": self.sound.double() * self.step,
        }
        lines = [f"{'time up to which a sample is':38} {'least':>9} {'median':>9} {'most':>9}  to the end"]
        for name, times in rows.items():
            low, middle, high = times.min(), times.median(), times.max()
            through = f"{int((times >= end).sum())} of {self.samples}"
            lines.append(f"  {name:36} {low:9.4g} {middle:9.4g} {high:9.4g}  {through}")
        return lines

    def _drifts(self) -> list[str]:
        lines = [f"{'drift, against the truth':38} {'median':>9} {'largest':>9}  at the last sound frame"]
        last = (self.sound - 1).clamp(min=0)[:, None]
        for name, values in self.drift.items():
            size = values.gather(1, last)[self.sound > 0, 0].abs()
            lines.append(f"  {name:36} {size.median():9.2e} {max(size.tolist(), default=math.nan):9.2e}")
        return lines
