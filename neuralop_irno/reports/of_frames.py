"""The page of a file of frames, as a rollout without a truth writes it: HDF5, Zarr or for ParaView."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuralop_irno.diagnostics.film import LONGEST
from neuralop_irno.diagnostics.spectral_error import band_energy, band_middles
from neuralop_irno.domain.sphere import grid_domain
from neuralop_irno.reports.animation import animated
from neuralop_irno.reports.markup import Markup
from neuralop_irno.reports.page import Page, Section, paragraph
from neuralop_irno.reports.plots import Line, plot, ramp, side_by_side
from neuralop_irno.reports.tables import table
from neuralop_irno.rollouts.contents import ENDINGS, Contents
from neuralop_irno.rollouts.files import file_of
from neuralop_irno.spectrum.of_domain import spectrum_of

Array = NDArray[Any]

BANDS = 16

FLAT = ("z", "y", "x")
"""The axes of a grid in a flat box, which has spectra."""


@dataclass
class _Frames:
    """What is measured of the frames as they are read, one at a time.

    Attributes:
        names: of the fields.
        times: of the frames; their numbers without a clock.
        rows: for each frame and field its root mean square, minimum and maximum over all samples.
        frequency: the middle of each band.
        energies: of each frame, averaged over samples and fields; empty on meshes and spheres.
        film: the first field of the first sample.
    """

    names: tuple[str, ...]
    times: list[float]
    rows: list[list[tuple[float, float, float]]] = field(default_factory=list)
    frequency: list[float] = field(default_factory=list)
    energies: list[list[float]] = field(default_factory=list)
    film: list[Array] = field(default_factory=list)


def page_of_frames(file: Path, name: str) -> Page:
    """The page.

    Args:
        file: a rollout in any format of `neuralop_irno.rollouts.files`.
        name: of it, for the heading.
    """
    with file_of(file).contents() as contents:
        found = _read(contents)
        endings = [ENDINGS[code].name.lower().replace("_", " ") for code in contents.codes]
        lasted, steps, samples = contents.lasted.tolist(), contents.steps, contents.samples
    done = len(found.rows)
    lost = [ending for ending in endings if ending != "completed"]
    alerts = []
    if done < steps:
        alerts.append(f"{done} of {steps} frames are there: the rollout goes on, or was interrupted.")
    if lost:
        alerts.append(f"{len(lost)} of {samples} samples did not take all steps; see Samples.")
    return Page(
        kind="rollout",
        title=name,
        source=f"irno report {name}",
        about=f"{samples} samples, {done} frames of {', '.join(found.names)}; without a truth.",
        figures={"samples": samples, "frames": done, "not completed": f"{len(lost)} of {samples}"},
        alerts=alerts,
        sections=[
            Section("Film", [_film(found)]),
            Section("Fields in time", [side_by_side(_plots(found)), _table(found)]),
            Section("Spectra", [_spectra(found)]),
            Section("Samples", [table(("sample", "ending", "frames"), zip(count(), endings, lasted))]),
        ],
    )


def _read(contents: Contents) -> _Frames:
    first, parts = contents.frame(0), contents.parts
    channels = range(first.shape[1])
    names = parts.fields if parts.named else tuple(f"field {channel}" for channel in channels)
    times = contents.times if contents.times is not None and contents.times.ndim == 1 else None
    frames = contents.complete
    found = _Frames(names, list(range(1, frames + 1)) if times is None else times[:frames].tolist())
    space = [dim for dim in contents.layout.dims if dim not in ("sample", "channel")]
    flat = "sample" in contents.layout.dims and set(space) <= set(FLAT)
    every = -(-frames // LONGEST)
    for number in range(frames):
        frame = contents.frame(number)
        found.rows.append([_measured(frame[:, channel]) for channel in channels])
        if flat:
            _add_energy(found, torch.as_tensor(np.ascontiguousarray(frame)))
            if number % every == 0 and not np.iscomplexobj(frame):
                found.film.append(_plane(frame[0, 0]))
    return found


def _measured(values: Array) -> tuple[float, float, float]:
    """The root mean square, the minimum and the maximum of the finite values; nan without any."""
    known = np.abs(values) if np.iscomplexobj(values) else values
    known = known[np.isfinite(known)].astype(np.float64)
    if not known.size:
        return math.nan, math.nan, math.nan
    return float(np.sqrt(np.mean(known**2))), float(known.min()), float(known.max())


def _add_energy(found: _Frames, frame: torch.Tensor) -> None:
    spectrum = spectrum_of(grid_domain(frame, {}), frame.device)
    energy = band_energy(spectrum, frame, BANDS).mean(1)
    sound = energy.isfinite().all(1)
    mean = energy[sound].mean(0) if sound.any() else torch.full_like(energy[0], torch.nan)
    found.energies.append(mean.tolist())
    found.frequency = band_middles(spectrum, BANDS).tolist()


def _plane(values: Array) -> Array:
    """The middle layer of a three-dimensional grid."""
    while values.ndim > 2:
        values = values[values.shape[0] // 2]
    return values


def _film(found: _Frames) -> Markup:
    if not found.film:
        return paragraph("Meshes and spheres have no film here; ParaView opens .vtkhdf and .pvd.")
    about = f"{found.names[0]} of the first sample"
    return animated(found.film, about)


def _plots(found: _Frames) -> Iterator[Markup]:
    for place, name in enumerate(found.names):
        rms, low, high = (list(column) for column in zip(*(row[place] for row in found.rows), strict=True))
        line = Line("root mean square", found.times, rms, low, high)
        yield plot(name, [line], "time", name, log=False, note="Root mean square, from minimum to maximum.")


def _table(found: _Frames) -> Markup:
    rows = [
        (number, time, name, *values)
        for number, (time, row) in enumerate(zip(found.times, found.rows, strict=True), 1)
        for name, values in zip(found.names, row, strict=True)
    ]
    return table(("frame", "time", "field", "root mean square", "minimum", "maximum"), rows)


def _spectra(found: _Frames) -> Markup | None:
    if not found.energies:
        return None
    last = len(found.energies) - 1
    frames = sorted({0, last // 4, last // 2, last})
    lines = [
        Line(f"frame {frame + 1}", found.frequency, found.energies[frame], colour=ramp(place, len(frames)))
        for place, frame in enumerate(frames)
    ]
    note = "Mean over samples and fields; cells are taken as cubes."
    return side_by_side([plot("Energy", lines, "frequency / Nyquist", "energy", note=note)])
