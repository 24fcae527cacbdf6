"""Pictures of refinements and rollouts. Every function writes one and returns its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from neuralop_irno.diagnostics.convergence import Convergence
from neuralop_irno.diagnostics.spectral_error import BandErrors
from neuralop_irno.quantiles import quantile

COLOURS = matplotlib.colormaps["viridis"]


def error_per_step(
    path: Path, refined: Sequence[float], trained: int, others: Mapping[str, float], metric: str
) -> Path:
    """The error after each step, with a mark at K and a line for each other model.

    Args:
        path: the PNG.
        refined: the error of h_0, h_1, ..
        trained: K.
        others: the errors of other models, by name.
        metric: the label of the error.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(range(len(refined)), refined, "o-", color="tab:blue", label="refined, step by step")
    axes.axvline(trained, color="grey", linewidth=1, linestyle=":", label=f"K = {trained}")
    for place, (name, value) in enumerate(others.items()):
        axes.axhline(value, color=f"C{place + 1}", linewidth=1.2, linestyle="--", label=name)
    axes.set(xlabel="steps k", ylabel=metric, ylim=(0, None), title="Error on held-out flows")
    axes.legend(fontsize=8)
    return save(figure, path)


def error_spectrum(path: Path, bands: BandErrors, steps: Sequence[int]) -> Path:
    """The energy of the error by frequency, after some of the steps, under the energy of the truth."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.semilogy(bands.frequency, bands.truth, "k-", linewidth=1.5, label="truth")
    for place, step in enumerate(steps):
        colour = COLOURS(place / max(len(steps) - 1, 1))
        axes.semilogy(
            bands.frequency, bands.error[step], "o-", color=colour, markersize=3, label=f"error, k = {step}"
        )
    axes.set(xlabel="frequency / Nyquist", ylabel="energy", title="Where the error sits")
    axes.legend(fontsize=8)
    return save(figure, path)


def fields(path: Path, truth: Tensor, base: Tensor, refined: Tensor) -> Path:
    """Truth, base, refined and their differences, in one colour scale each.

    Shapes:
        - truth, base, refined: ``(n, m)``
    """
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.subplots(2, 3)
    span = truth.abs().max().item()
    worst = (base - truth).abs().max().item()
    shown = {
        (0, 0): ("truth", truth, span),
        (0, 1): ("base", base, span),
        (0, 2): ("refined", refined, span),
        (1, 1): ("base - truth", base - truth, worst),
        (1, 2): ("refined - truth", refined - truth, worst),
    }
    for axis in axes.flat:
        axis.set_axis_off()
    for (row, column), (title, field, limit) in shown.items():
        image = axes[row][column].imshow(field.T, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[row][column].set_title(title, fontsize=10)
        if column == 2:
            figure.colorbar(image, ax=axes[row], shrink=0.8)
    return save(figure, path)


def trajectories(path: Path, convergence: Convergence) -> Path:
    """The error of every sample, step by step, with the median and K."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    errors = convergence.errors
    axes.semilogy(errors, color="tab:blue", linewidth=0.5, alpha=0.3)
    axes.semilogy(quantile(errors, 0.5, dim=1), color="black", linewidth=1.5, label="median")
    axes.axvline(convergence.trained, color="grey", linewidth=1, linestyle=":", label="K")
    axes.set(xlabel="steps k", ylabel="|h - y|", title=f"The error of each of {errors.shape[1]} samples")
    axes.legend(fontsize=8)
    return save(figure, path)


def band_ratios(path: Path, frequency: Tensor, ratios: Tensor) -> Path:
    """The median error in each band in units of the base's, by step and by frequency.

    Shapes:
        - ratios: ``(steps + 1, samples, bands)``
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    median = quantile(ratios, 0.5, dim=1)
    steps = range(len(median))
    for place, name in enumerate(("low", "middle", "high")):
        third = (frequency / frequency.max() * 3).long().clamp(max=2) == place
        left.plot(steps, quantile(median[:, third], 0.5, dim=1), color=COLOURS(place / 2), label=name)
    left.set(xlabel="steps k", ylabel="error / the base's", ylim=(0, None), title="By third of the spectrum")
    left.legend(fontsize=8)
    shown = sorted({1, 2, 4, len(median) // 3, len(median) - 1} & set(steps))
    for place, k in enumerate(shown):
        colour = COLOURS(place / max(len(shown) - 1, 1))
        right.plot(frequency, median[k], "o-", markersize=3, color=colour, label=f"k = {k}")
    right.axhline(1, color="grey", linewidth=0.8)
    right.set(xlabel="frequency / Nyquist", ylim=(0, None), title="By frequency")
    right.legend(fontsize=8)
    return save(figure, path)


def reliability(path: Path, curve: Sequence[tuple[float, float]]) -> Path:
    """Stated against observed coverage of the error estimate."""
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot([stated for stated, _ in curve], [seen for _, seen in curve], "o-", markersize=4)
    axes.set(xlabel="stated coverage", ylabel="observed", xlim=(0, 1), ylim=(0, 1), title="error_estimate")
    return save(figure, path)


def rollout_errors(
    path: Path, times: Sequence[float], scores: Mapping[str, tuple[Mapping[str, Tensor], float]], note: str
) -> Path:
    """Scores of every sample in time, with the median of each model.

    Args:
        path: the PNG.
        times: of the frames.
        scores: by title ``(samples, T)`` by model, and the limit to mark.
        note: the title of the picture.
    """
    figure = Figure(figsize=(4.5 * len(scores), 4), layout="constrained")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (title, (models, limit)) in zip(panels, scores.items(), strict=True):
        for place, (name, values) in enumerate(models.items()):
            axes.plot(times, values.T, color=f"C{place}", linewidth=0.5, alpha=0.4)
            middle = quantile(values, 0.5)
            axes.plot(times, middle, color=f"C{place}", linewidth=2, label=f"median, {name}")
        axes.axhline(limit, color="grey", linewidth=1, linestyle=":")
        # Scores far above 2 would compress the rest of the axis.
        large = any((values > 2).any() for values in models.values())
        axes.set(xlabel="time", title=title, ylim=(None, 2) if large else None)
        axes.legend(fontsize=8)
    figure.suptitle(note, fontsize=10)
    return save(figure, path)


def rollout_spectra(path: Path, models: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """The energy of prediction, truth and error by frequency, in some of the frames; a row for each model.

    Args:
        path: the PNG.
        models: by name ``frequency``, ``(bands,)``, and ``predicted``, ``true``, ``error``, ``(T, bands)``.
    """
    figure = Figure(figsize=(9, 4 * len(models)), layout="constrained")
    panels = figure.subplots(len(models), 2, sharey=True, squeeze=False)
    for (left, right), (name, found) in zip(panels, models.items(), strict=True):
        last = len(found["true"]) - 1
        shown = sorted({0, last // 4, last // 2, last})
        for place, frame in enumerate(shown):
            colour = COLOURS(place / max(len(shown) - 1, 1))
            left.plot(found["frequency"], found["true"][frame], ":", color=colour)
            left.plot(found["frequency"], found["predicted"][frame], color=colour)
            label = f"frame {frame + 1}"
            right.plot(found["frequency"], found["error"][frame], color=colour, label=label)
        if (found["true"] > 0).any():
            left.set_yscale("log")
        left.set(xlabel="frequency / Nyquist", title=f"energy, {name} and true (dotted)")
        right.set(xlabel="frequency / Nyquist", title=f"energy of the error, {name}")
        right.legend(fontsize=8)
    return save(figure, path)


def rollout_drifts(path: Path, times: Sequence[float], drift: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """Each watched quantity minus that of the truth, ``(samples, T)`` by model."""
    figure = Figure(figsize=(4 * len(drift), 3.4), layout="constrained")
    panels = figure.subplots(1, len(drift), squeeze=False)[0]
    for axes, (quantity, models) in zip(panels, drift.items(), strict=True):
        for place, (name, values) in enumerate(models.items()):
            lines = axes.plot(times, values.T, color=f"C{place}", linewidth=0.7, alpha=0.6)
            lines[0].set_label(name)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(xlabel="time", title=f"drift, {quantity}")
        axes.legend(fontsize=8)
    return save(figure, path)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
    return path
