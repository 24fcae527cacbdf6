"""Pictures of the errors of a rollout. Every function writes one and returns its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from neuralop_irno.diagnostics.plots import COLOURS, save


def errors(path: Path, times: Sequence[float], scores: Mapping[str, tuple[Tensor, float]], note: str) -> Path:
    """Scores of every sample in time, with the median.

    Args:
        path: the PNG.
        times: of the frames.
        scores: by title ``(samples, T)``, and the limit to mark.
        note: the title of the picture.
    """
    figure = Figure(figsize=(4.5 * len(scores), 4), layout="constrained")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (title, (values, limit)) in zip(panels, scores.items(), strict=True):
        axes.plot(times, values.T, color="tab:blue", linewidth=0.5, alpha=0.4)
        axes.plot(times, values.nanmedian(0).values, color="black", linewidth=1.5, label="median")
        axes.axhline(limit, color="grey", linewidth=1, linestyle=":")
        # Scores far above 2 would compress the rest of the axis.
        axes.set(xlabel="time", title=title, ylim=(None, 2) if (values > 2).any() else None)
        axes.legend(fontsize=8)
    figure.suptitle(note, fontsize=10)
    return save(figure, path)


def spectra(path: Path, frequency: Tensor, predicted: Tensor, true: Tensor, error: Tensor) -> Path:
    """The energy of prediction, truth and error by frequency, in some of the frames.

    Shapes:
        - frequency: ``(bands,)``; the others: ``(T, bands)``
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    last = len(true) - 1
    shown = sorted({0, last // 4, last // 2, last})
    for place, frame in enumerate(shown):
        colour = COLOURS(place / max(len(shown) - 1, 1))
        left.plot(frequency, true[frame], ":", color=colour)
        left.plot(frequency, predicted[frame], color=colour)
        right.plot(frequency, error[frame], color=colour, label=f"frame {frame + 1}")
    if (true > 0).any():
        left.set_yscale("log")
    left.set(xlabel="frequency / Nyquist", title="energy, predicted and true (dotted)")
    right.set(xlabel="frequency / Nyquist", title="energy of the error")
    right.legend(fontsize=8)
    return save(figure, path)


def drifts(path: Path, times: Sequence[float], drift: Mapping[str, Tensor]) -> Path:
    """Each watched quantity minus that of the truth, ``(samples, T)``."""
    figure = Figure(figsize=(4 * len(drift), 3.4), layout="constrained")
    panels = figure.subplots(1, len(drift), squeeze=False)[0]
    for axes, (name, values) in zip(panels, drift.items(), strict=True):
        axes.plot(times, values.T, color="tab:blue", linewidth=0.7, alpha=0.6)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(xlabel="time", title=f"drift, {name}")
    return save(figure, path)
