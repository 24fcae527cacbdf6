"""What `evaluate_rollout` measures, as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno.diagnostics.film import Film, median_of
from neuralop_irno.diagnostics.report_files import as_json
from neuralop_irno.quantiles import quantile


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

    @classmethod
    def joined(cls, parts: Sequence[Self], counts: Sequence[Tensor]) -> Self:
        """Means over all samples of several spectra.

        Args:
            parts: with the same bands.
            counts: of each, the samples that have not blown up and all samples, ``(T, 2)``.
        """

        def mean(name: str, column: int) -> Tensor:
            weights = torch.stack([count[:, column] for count in counts])[:, :, None]
            values = torch.stack([getattr(part, name) for part in parts])
            # Without a sample the mean of a part is nan, with weight 0.
            return torch.where(weights > 0, values, 0).mul(weights).sum(0) / weights.sum(0)

        return cls(parts[0].frequency, mean("predicted", 0), mean("true", 1), mean("error", 0))


@dataclass(frozen=True)
class RolloutScores:
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
        return f"{type(self).__name__}({sizes}, median valid time {quantile(self.valid_time, 0.5):.4g})"

    @property
    def durations(self) -> dict[str, Tensor]:
        """For each sample, the times up to which it is good by several standards, by their titles."""
        return {
            f"valid time, VRMSE <= {self.threshold:g}": self.valid_time,
            f"correlation time, ACC >= {self.correlation:g}": self.correlation_time,
            "sound, neither huge nor not finite": self.sound.double() * self.step,
        }

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One report on all samples of several, which have the same fields, frames and options."""
        one = parts[0]
        scores = {name: torch.cat([part.scores[name] for part in parts]) for name in one.scores}
        return cls(
            fields=one.fields,
            step=one.step,
            threshold=one.threshold,
            correlation=one.correlation,
            scores=scores,
            drift={name: torch.cat([part.drift[name] for part in parts]) for name in one.drift},
            sound=torch.cat([part.sound for part in parts]),
            spectra=Spectra.joined([part.spectra for part in parts], [part.alive for part in parts]),
            film=median_of([part.film for part in parts], scores["vrmse"].mean((1, 2))),
        )

    @property
    def alive(self) -> Tensor:
        """For each frame, how many samples have not blown up, and how many there are, ``(T, 2)``."""
        left = self.samples - self.blown_up
        return torch.stack([left, torch.full_like(left, self.samples)], 1)

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

    def _time_while(self, good: Tensor) -> Tensor:
        return good.double().cumprod(1).sum(1) * self.step
