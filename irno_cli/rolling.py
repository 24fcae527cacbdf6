"""The rollouts of ``irno rollout``: batch after batch of flows, by the refiner and by its base."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from torch import Tensor

from neuralop_irno.assimilation.members import moments
from neuralop_irno.assimilation.starts import perturbed
from neuralop_irno.data.flows import Flow, Flows, side_by_side
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.diagnostics.projection import refuse_film
from neuralop_irno.diagnostics.rollout_comparison import compare_rollouts
from neuralop_irno.diagnostics.rollout_report import RolloutComparison
from neuralop_irno.errors import expected
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.rollouts import Clock, Rollout
from neuralop_irno.rollouts.files import SUFFIXES
from neuralop_irno.rollouts.labels import NAME, RESERVED
from neuralop_irno.rollouts.of_flows import clock_of, rollout_options
from neuralop_irno.rollouts.refinement import Refinement
from neuralop_irno.rollouts.rollout import rollout
from neuralop_irno.rollouts.sink import Memory, Until
from neuralop_irno.training.batches import at_once

NUMBERS = 2**26
"""The most numbers in the predicted frames of one batch: 256 MiB in single precision."""

NOISE = 0.01
"""The perturbations of an ensemble, in units of each field's deviation."""

TAKEN = RESERVED | {"x", "y", "z", "lat", "lon", "batch", "measure", "face", "cell_type"}
"""Names of coordinates and other variables in rollout files."""

REFINED = "refined"
"""The model whose frames are written."""


class Rolling:
    """The rollouts of one command.

    Args:
        options: of the command.
        model: the refiner.
        flows: where rollouts start.
        refinements: of each model, by name; in tables and pictures the last comes first.
        clock: of all flows; None for that of the times of each.
        stop: called after every frame; a true result ends the rollouts.

    Attributes:
        files: with the refined frames.
        refined: the rollouts of the refiner.
        report: None if the truth is not known.
        units: of the fields, by name, where the files of the data state them.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        model: IterativeRefiner,
        flows: Flows,
        refinements: Mapping[str, Refinement],
        clock: Clock | None,
        stop: Callable[[], bool],
    ) -> None:
        self._options, self._model, self._flows = options, model, flows
        self._refinements, self._clock, self._stop = refinements, clock, stop
        self.units = dict(flows.units)
        self.files: list[Path] = []
        self.refined: list[Rollout] = []
        self.report: RolloutComparison | None = None
        samples = len(flows) if options.samples is None else options.samples
        if samples > len(flows):
            hint = f"--samples {len(flows)}"
            raise ValueError(expected(f"--samples up to {len(flows)}, the trajectories", samples, hint))
        first = flows[0]
        video = None if options.video == "none" or first.frames is None else options.video
        pos = None if first.graph is None else first.graph.pos
        refuse_film(video, None if pos is None else pos.shape[1])
        size = options.batch_size or self._at_once(first)
        self._batches = [range(begin, min(begin + size, samples)) for begin in range(0, samples, size)]

    def run(self) -> Rollout:
        """All rollouts, or those until ``stop``; returns the last one."""
        parts: list[RolloutComparison] = []
        for number, places in enumerate(self._batches):
            flow = side_by_side([self._flows[place] for place in places])
            start, frames = self._members(flow), {}
            for name in self._refinements:
                sink = self._file(number) if name == REFINED and self._options.to else Memory()
                found = self._rollout(name, start, sink)
                if self._stop():
                    return found
                if name == REFINED:
                    self.refined.append(found)
                if flow.frames is not None:
                    series = found.frames if isinstance(sink, Memory) else sink.read().frames
                    assert series is not None
                    frames[name] = series.cpu()
            if flow.frames is not None:
                parts.append(self._compared(flow, start, dict(reversed(frames.items()))))
        if parts:
            self.report = RolloutComparison.joined(parts)
        return found

    def _at_once(self, first: Flow) -> int:
        """The flows in a batch: as many as memory allows."""
        numbers = first.start[:, -1].numel() * self._flows.steps * self._options.members
        return at_once(self._model) or max(1, NUMBERS // numbers)

    def _members(self, flow: Flow) -> Flow:
        """The perturbed starts of an ensemble of each flow, or the flows themselves."""
        members = self._options.members
        return flow if members == 1 else perturbed(flow, members, self._options.noise or NOISE)

    def _file(self, number: int) -> Any:
        """The file of a batch: that of the option, or numbered ones for several batches."""
        path, last = self._options.to, len(self._batches) - 1
        if last:
            path = path.with_name(f"{path.stem}-{number:0{len(str(last))}}{path.suffix}")
        self.files.append(path)
        axes = names_in_files(list(self._flows.coordinates), RESERVED)
        names = names_in_files(self._flows.fields, TAKEN | set(axes.values()))
        vectors = names_in_files(list(self._flows.vectors), TAKEN | {*axes.values(), *names.values()})
        attributes = {axes[name]: self._flows.attributes[name] for name in axes}
        if self._clock is None and "time" in self._flows.attributes:
            attributes["time"] = self._flows.attributes["time"]
        return SUFFIXES[path.suffix](
            path,
            self._options.existing,
            fields=list(names.values()),
            units={names[field]: unit for field, unit in self._flows.units.items()},
            coordinates={axes[name]: values for name, values in self._flows.coordinates.items()},
            attributes=attributes,
            vectors={
                vectors[name]: [names[each] for each in components]
                for name, components in self._flows.vectors.items()
            },
        )

    def _rollout(self, name: str, start: Flow, sink: Any) -> Rollout:
        there = start.to(self._options.device)
        return rollout(
            self._model,
            there.first,
            self._flows.steps,
            **rollout_options(self._flows, there, self._options.stepper, self._clock),
            refinement=self._refinements[name],
            to=Until(sink, self._stop),
        )

    def _compared(self, flow: Flow, start: Flow, frames: Mapping[str, Tensor]) -> RolloutComparison:
        """The rollouts against the truth; of an ensemble its mean, and its spread as another score."""
        assert flow.frames is not None
        spread, members = None, self._options.members
        if members > 1:
            batch = None if start.graph is None else start.graph.batch
            found = {name: moments(series, members, batch) for name, series in frames.items()}
            frames = {name: mean for name, (mean, _) in found.items()}
            spread = {name: width for name, (_, width) in found.items()}
        clock = self._clock or clock_of(flow.times)
        # Times that are irregular, or differ between flows, are counted in frames.
        regular = clock is not None and not isinstance(clock.step, Tensor)
        on_grid, resolution = flow.graph is None, self._model.resolution
        return compare_rollouts(
            frames,
            flow.frames,
            graph=flow.graph,
            fields=self._flows.fields,
            step=float(clock.step) if regular and clock is not None else 1.0,
            threshold=self._options.threshold,
            correlation=self._options.correlation,
            lengths=resolution.box(flow.frames.shape[3:]) if on_grid else None,
            sphere=self._flows.given.get("sphere", resolution.sphere) if on_grid else None,
            measure=self._flows.given.get("measure"),
            scale=self._scale,
            spread=spread,
        )

    @property
    def _scale(self) -> tuple[float, ...] | None:
        """The deviation of each field over the training set, in the units of the files; None if not known."""
        units, scaling = self._model.units, self._flows.scaling
        if units is None:
            return None
        of_frame = units.y.std[: len(self._flows.fields)]
        within = Scaling.none(len(of_frame)) if scaling is None else scaling
        return tuple(std * unit for std, unit in zip(of_frame, within.std, strict=True))


def names_in_files(fields: Sequence[str], taken: Set[str] = TAKEN) -> dict[str, str]:
    """Names of fields that a rollout file can have, by the names in the data, other than those ``taken``.

    Example:
        >>> names_in_files(["u", "T [K]", "T (K)", "x", "2m"])
        {'u': 'u', 'T [K]': 'T__K_', 'T (K)': 'T__K__', 'x': 'x_', '2m': '_2m'}
    """
    names: dict[str, str] = {}
    for field in fields:
        name = re.sub(r"\W", "_", field, flags=re.ASCII)
        name = name if NAME.match(name) else f"_{name}"
        while name in taken or name in names.values():
            name += "_"
        names[field] = name
    return names
