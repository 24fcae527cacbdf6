"""Scores of a rollout: valid times, errors, drifts and spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.diagnostics.film import Film
from neuralop_irno.diagnostics.rollout_report import RolloutReport
from neuralop_irno.diagnostics.rollout_scores import Spectra
from neuralop_irno.diagnostics.spectral_error import band_energy, band_middles
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.sphere import SphereDomain, grid_domain
from neuralop_irno.errors import expected
from neuralop_irno.metrics import acc, relative_l1, relative_l2, vrmse
from neuralop_irno.registry import accepts
from neuralop_irno.spectrum.of_domain import spectrum_of

SCORES: dict[str, Callable[..., Tensor]] = {
    "vrmse": vrmse,
    "relative_l2": relative_l2,
    "relative_l1": relative_l1,
    "acc": acc,
}
BANDS = 16

EXPLODED = 10.0
"""A sample has blown up in a frame that is this many times larger than any of the truth."""

Quantity = Callable[[Tensor], Tensor]
"""From a frame, ``(B, C, *S)`` or ``(N, C)``, to a number for each sample."""


def evaluate_rollout(
    frames: Tensor,
    truth: Tensor,
    *,
    graph: Any = None,
    fields: Sequence[str] | None = None,
    step: float = 1.0,
    threshold: float = 0.4,
    correlation: float = 0.8,
    quantities: Mapping[str, Quantity] | None = None,
    lengths: Sequence[float] | None = None,
    sphere: str | None = None,
    measure: Tensor | None = None,
    scale: Sequence[float] | None = None,
    spread: Tensor | None = None,
) -> RolloutReport:
    """Compare a rollout with the truth, frame by frame, field by field and sample by sample.

    No sample is dropped: samples that blow up have scores before that, and are counted after it. In
    scores the nodes of a graph have equal weights; in means, norms and spectra their measure. On a sphere
    all of them are by its quadrature.

    Args:
        frames: the predicted ones.
        truth: the true ones.
        graph: of PyTorch Geometric, on whose nodes frames ``(N, T, C)`` live.
        fields: their names.
        step: the time between two frames.
        threshold: of the VRMSE, averaged over the fields, up to which a frame is valid.
        correlation: of the anomalies, averaged over the fields, down to which a frame is correlated.
        quantities: functions of a frame whose drift is measured, besides the mean of each field.
        lengths: the sides of the box of a grid, for its spectra; without them the cells are taken as cubes.
        sphere: the grid of fields on a sphere; see `neuralop_irno.domain.sphere.SphereDomain`.
        measure: of the cells of a grid, which broadcasts with ``S``; it weights all scores.
        scale: of each field, its deviation over the training set; see `neuralop_irno.metrics.vrmse`.
        spread: of an ensemble whose mean ``frames`` is, its standard deviation at each point. The report then
            has the score ``spread`` in units of the VRMSE, which it should equal.

    Shapes:
        - frames, truth, spread: ``(B, T, C, *S)`` or ``(N, T, C)``

    Example:
        >>> truth = torch.sin(torch.arange(8.0)).expand(2, 3, 1, 8)
        >>> error = torch.tensor([0.0, 0.1, 1.0])[:, None, None]
        >>> report = evaluate_rollout(truth + error, truth, fields=["u"], step=0.5)
        >>> report.valid_time.tolist(), report.drift["mean of u"][0]
        ([1.0, 1.0], tensor([0.0000, 0.1000, 1.0000]))
    """
    box = {"lengths": lengths, "sphere": sphere, "measure": measure}
    names, domain = checked_domain(frames, truth, graph, fields, box)
    steps = frames.shape[1]
    parts = [_by_sample(series, domain) for series in (frames, truth)]
    by = {"weights": _quadrature(domain, measure)}
    scores = {
        name: torch.stack(
            [
                metric(p, t, space=1, **by, **({"scale": scale} if accepts(metric, "scale") else {}))
                for p, t in zip(*parts, strict=True)
            ]
        ).cpu()
        for name, metric in SCORES.items()
    }
    if spread is not None:
        pairs = zip(_by_sample(spread, domain), parts[1], strict=True)
        wide = [vrmse(t + s, t, space=1, weights=by["weights"], scale=scale) for s, t in pairs]
        scores["spread"] = torch.stack(wide).cpu()
    size = torch.stack([domain.norm(frame) for frame in frames.unbind(1)], 1)
    largest = torch.stack([domain.norm(frame) for frame in truth.unbind(1)]).amax(0)
    # False for nan, and after the first frame in which a sample has blown up.
    sound = (size <= EXPLODED * largest[:, None]).long().cumprod(1).bool()
    watched = {f"mean of {name}": _mean_of(domain, place) for place, name in enumerate(names)}
    drift = {
        name: torch.stack([q(p) - q(t) for p, t in zip(frames.unbind(1), truth.unbind(1), strict=True)], 1)
        for name, q in (watched | dict(quantities or {})).items()
    }
    for name, values in drift.items():
        if values.shape != (domain.samples, steps):
            wanted = f"'{name}' as {domain.samples} numbers"
            hint = "one for each sample"
            raise ValueError(expected(wanted, tuple(values.shape[:1] + values.shape[2:]), hint))
    error = scores["vrmse"].mean((1, 2))
    return RolloutReport(
        fields=names,
        step=step,
        threshold=threshold,
        correlation=correlation,
        scores=scores,
        drift={name: values.cpu() for name, values in drift.items()},
        sound=sound.sum(1).cpu(),
        spectra=_spectra(frames, truth, domain, sound),
        film=Film.of({"predicted": frames}, truth, domain, error, names[0]),
    )


def checked_domain(
    frames: Tensor,
    truth: Tensor,
    graph: Any,
    fields: Sequence[str] | None,
    box: Mapping[str, Any],
) -> tuple[tuple[str, ...], Domain]:
    """The names of the fields, and their domain."""
    if frames.shape != truth.shape:
        wanted = f"frames like the truth, {tuple(truth.shape)}"
        raise ValueError(expected(wanted, tuple(frames.shape), "truth[:, :steps]"))
    if frames.dim() < (4 if graph is None else 3) or not frames.numel():
        wanted = "frames (B, T, C, ...), or (N, T, C) with graph="
        raise ValueError(expected(wanted, tuple(frames.shape), "graph=data"))
    if not truth.isfinite().all():
        wanted = "a finite truth"
        raise ValueError(expected(wanted, f"{int((~truth.isfinite()).sum())} NaN or inf", "fewer frames"))
    names = tuple(fields or (f"field {place}" for place in range(frames.shape[2])))
    if len(names) != frames.shape[2]:
        wanted = f"names of {frames.shape[2]} fields"
        raise ValueError(expected(wanted, list(names), "one name for each field"))
    if graph is None:
        return names, grid_domain(frames[:, 0], box)
    return names, GraphDomain.of(frames[:, 0], graph.to_dict(), getattr(graph, "num_graphs", None))


def _by_sample(series: Tensor, domain: Domain) -> list[Tensor]:
    """The frames of each sample, ``(T, C, points)``."""
    if isinstance(domain, GraphDomain):
        own = [series[domain.batch == sample] for sample in range(domain.samples)]
        return [part.permute(1, 2, 0) for part in own]
    return [part.flatten(2) for part in series.unbind(0)]


def _quadrature(domain: Domain, measure: Tensor | None) -> Tensor | None:
    """The weight of each point of a sphere, or of a grid with measures, ``(points,)``; None for others."""
    if isinstance(domain, SphereDomain):
        weights = domain.quadrature if measure is None else domain.quadrature * measure
    elif measure is not None and isinstance(domain, GridDomain):
        weights = measure
    else:
        return None
    return weights.expand(domain.shape).flatten()


def _mean_of(domain: Domain, channel: int) -> Quantity:
    return lambda frame: domain.mean(frame[:, channel : channel + 1])


def _spectra(frames: Tensor, truth: Tensor, domain: Domain, sound: Tensor) -> Spectra:
    """Energies by band, frame by frame, averaged over the samples that are sound."""
    spectrum = spectrum_of(domain, frames.device)

    def energies(frame: Tensor, keep: Tensor) -> Tensor:
        whole = torch.where(domain.spread(keep, frame), frame, 0)
        energy = band_energy(spectrum, whole, BANDS).mean(1)
        return (energy[keep].mean(0) if keep.any() else torch.full_like(energy[0], torch.nan)).cpu()

    rows = [
        (energies(p, keep), energies(t, torch.ones_like(keep)), energies(p - t, keep))
        for p, t, keep in zip(frames.unbind(1), truth.unbind(1), sound.unbind(1), strict=True)
    ]
    predicted, true, error = (torch.stack(column) for column in zip(*rows, strict=True))
    return Spectra(band_middles(spectrum, BANDS).cpu(), predicted, true, error)
