"""Scores of a rollout: valid times, errors, drifts and spectra."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.diagnostics.film import Film
from neuralop_irno.diagnostics.rollout_frames import Series, frame_of
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
    frames: Series,
    truth: Series,
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
    spread: Series | None = None,
) -> RolloutReport:
    """Compare a rollout with the truth, frame by frame, field by field and sample by sample.

    No sample is dropped: samples that blow up have scores before that, and are counted after it. In
    scores the nodes of a graph have equal weights; in means, norms and spectra their measure. On a sphere
    all of them are by its quadrature. One frame at a time is in memory: frames may be tensors, or arrays in
    files, such as numpy's ``memmap``, datasets of h5py, and arrays of Zarr, Dask or xarray.

    Args:
        frames: the predicted ones, of which ``frames[:, t]`` is read once, and a second time for the film.
        truth: the true ones, read once more.
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
    largest = largest_of(truth, domain)
    watched = {f"mean of {name}": _mean_of(domain, place) for place, name in enumerate(names)}
    by = {"weights": _quadrature(domain, measure), "scale": scale}
    compared = _Compared(domain, by, largest, watched | dict(quantities or {}))
    for index in range(truth.shape[1]):
        compared.add(*(None if each is None else frame_of(each, index) for each in (frames, truth, spread)))
    scores = compared.scores
    error = scores["vrmse"].mean((1, 2))
    return RolloutReport(
        fields=names,
        step=step,
        threshold=threshold,
        correlation=correlation,
        scores=scores,
        drift=compared.drift,
        sound=compared.sound,
        spectra=compared.spectra,
        film=Film.of({"predicted": frames}, truth, domain, error, names[0]),
    )


def checked_domain(
    frames: Series,
    truth: Series,
    graph: Any,
    fields: Sequence[str] | None,
    box: Mapping[str, Any],
) -> tuple[tuple[str, ...], Domain]:
    """The names of the fields, and their domain."""
    shape = tuple(frames.shape)
    if shape != tuple(truth.shape):
        wanted = f"frames like the truth, {tuple(truth.shape)}"
        raise ValueError(expected(wanted, shape, "truth[:, :steps]"))
    if len(shape) < (4 if graph is None else 3) or not prod(shape):
        wanted = "frames (B, T, C, ...), or (N, T, C) with graph="
        raise ValueError(expected(wanted, shape, "graph=data"))
    names = tuple(fields or (f"field {place}" for place in range(shape[2])))
    if len(names) != shape[2]:
        wanted = f"names of {shape[2]} fields"
        raise ValueError(expected(wanted, list(names), "one name for each field"))
    first = frame_of(frames, 0)
    if graph is None:
        return names, grid_domain(first, box)
    return names, GraphDomain.of(first, graph.to_dict(), getattr(graph, "num_graphs", None))


def largest_of(truth: Series, domain: Domain) -> Tensor:
    """The largest norm of the true frames of each sample, ``(samples,)``.

    Raises:
        ValueError: a frame is not finite.
    """
    largest = None
    for index in range(truth.shape[1]):
        frame = frame_of(truth, index)
        if not frame.isfinite().all():
            got = f"{int((~frame.isfinite()).sum())} NaN or inf in frame {index}"
            raise ValueError(expected("a finite truth", got, "fewer frames"))
        norm = domain.norm(frame)
        largest = norm if largest is None else torch.maximum(largest, norm)
    assert largest is not None
    return largest


class _Compared:
    """Scores, drifts and spectra of frames that are added one by one.

    Args:
        domain: of a frame.
        by: options of scores, by name; each score gets those that it takes.
        largest: see `largest_of`.
        watched: quantities by name.
    """

    def __init__(
        self, domain: Domain, by: Mapping[str, Any], largest: Tensor, watched: Mapping[str, Quantity]
    ) -> None:
        self._domain, self._by, self._largest, self._watched = domain, by, largest, watched
        self._sound = torch.ones_like(largest, dtype=torch.bool)
        self._scores: defaultdict[str, list[Tensor]] = defaultdict(list)
        self._drift: defaultdict[str, list[Tensor]] = defaultdict(list)
        self._counts: list[Tensor] = []
        self._energies: list[tuple[Tensor, ...]] = []
        self._spectrum = spectrum_of(domain, largest.device)

    def add(self, predicted: Tensor | None, true: Tensor | None, spread: Tensor | None) -> None:
        """Compare the next frame."""
        assert predicted is not None
        assert true is not None
        # False for nan, and after the first frame in which a sample has blown up.
        self._sound = self._sound & (self._domain.norm(predicted) <= EXPLODED * self._largest)
        self._counts.append(self._sound)
        for name, metric in SCORES.items():
            self._scores[name].append(self._score(metric, predicted, true))
        if spread is not None:
            self._scores["spread"].append(self._score(vrmse, true + spread, true))
        for name, quantity in self._watched.items():
            values = quantity(predicted) - quantity(true)
            if values.shape != (self._domain.samples,):
                wanted = f"'{name}' as {self._domain.samples} numbers"
                raise ValueError(expected(wanted, tuple(values.shape), "one for each sample"))
            self._drift[name].append(values.cpu())
        every = torch.ones_like(self._sound)
        pairs = ((predicted, self._sound), (true, every), (predicted - true, self._sound))
        self._energies.append(tuple(self._energy(*pair) for pair in pairs))

    @property
    def scores(self) -> dict[str, Tensor]:
        """By name, ``(samples, T, C)``."""
        return {name: torch.stack(rows, 1) for name, rows in self._scores.items()}

    @property
    def drift(self) -> dict[str, Tensor]:
        """By name, ``(samples, T)``."""
        return {name: torch.stack(rows, 1) for name, rows in self._drift.items()}

    @property
    def sound(self) -> Tensor:
        """For each sample, the number of frames before it has blown up, ``(samples,)``."""
        return torch.stack(self._counts, 1).sum(1).cpu()

    @property
    def spectra(self) -> Spectra:
        """Energies by band, frame by frame, averaged over the samples that are sound."""
        predicted, true, error = (torch.stack(column) for column in zip(*self._energies, strict=True))
        return Spectra(band_middles(self._spectrum, BANDS).cpu(), predicted, true, error)

    def _score(self, metric: Callable[..., Tensor], predicted: Tensor, true: Tensor) -> Tensor:
        """A score of each sample and field, ``(samples, C)``."""
        by = {name: value for name, value in self._by.items() if accepts(metric, name)}
        pairs = zip(*(_by_sample(frame, self._domain) for frame in (predicted, true)), strict=True)
        return torch.stack([metric(p[None], t[None], space=1, **by)[0] for p, t in pairs]).cpu()

    def _energy(self, frame: Tensor, keep: Tensor) -> Tensor:
        whole = torch.where(self._domain.spread(keep, frame), frame, 0)
        energy = band_energy(self._spectrum, whole, BANDS).mean(1)
        return (energy[keep].mean(0) if keep.any() else torch.full_like(energy[0], torch.nan)).cpu()


def _by_sample(frame: Tensor, domain: Domain) -> list[Tensor]:
    """A frame of each sample, ``(C, points)``."""
    if isinstance(domain, GraphDomain):
        return [frame[domain.batch == sample].T for sample in range(domain.samples)]
    return list(frame.flatten(2).unbind(0))


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
