"""The units of a run: the mean and deviation of the fields of its training set."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import sqrt
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.conditions import Conditions, conditioned
from neuralop_irno.base.layout import Axes
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.scaled_calls import take_units
from neuralop_irno.base.tuples import refuse_tuple
from neuralop_irno.base.units import Units
from neuralop_irno.config import Experiment
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.domain.condition import Condition, mask_in
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import at_key, expected
from neuralop_irno.precision import rounding
from neuralop_irno.training.batches import Sample, at_once, load_all

NOISE = 1e-5
"""The largest deviation of a component of a vector that is rounding, in units of the others' largest."""


def units_of_run(experiment: Experiment, base: Any, data: Dataset[Sample]) -> Units | None:
    """The units of the models of a config: those that it states, or those of data to be normalised, or none.

    A base that learns in the run works in these units too; one that comes trained is given x as it is, unless
    the data state ``normalise: all``.

    Args:
        experiment: the config.
        base: its base.
        data: its training set.
    """
    stated, wanted = experiment.content["model"].get("units"), getattr(data, "normalise", False)
    if stated is not None or not wanted:
        return Units.of(stated)
    if experiment.loss.options.get("cross_entropy"):
        with at_key("data.normalise"):
            hint = "normalise: false"
            raise ValueError(expected("fields to normalise", "classes, by loss.cross_entropy", hint))
    learns = wanted == "all" or experiment.trains_base
    return measured_units(alone(base, experiment), data, learns, experiment.model.options.get("condition"))


def alone(base: Any, experiment: Experiment, units: Units | None = None) -> nn.Module:
    """The base as it is trained alone: with the layout, output and units of the model, if there are any."""
    names = ("channels", "output", "layout")
    stated = {name: experiment.model.options[name] for name in names if name in experiment.model.options}
    if not stated and (units is None or not units.base):
        return base
    operator = wrap_operator(base, frozen=False, **stated)
    if units is not None and units.base:
        take_units(operator, units)
    return operator


class Moments:
    r"""The mean and the deviation of each channel, sample by sample in double precision.

    Every sample weighs alike, and within a sample its cells or nodes by their measure, as in the norms of
    losses and tolerances. The sums are those of deviations from the mean so far (Welford, Chan), which keep
    their digits where the mean is large.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> moments, field = Moments(), torch.tensor([[[1e9, 1e9 + 2.0]]], dtype=torch.float64)
        >>> moments.add(field, GridDomain.of(field))
        >>> moments.mean.item() - 1e9, moments.variance.item()
        (1.0, 1.0)
    """

    def __init__(self) -> None:
        self.samples = 0
        self.mean = self._squares = torch.zeros((), dtype=torch.float64)

    @property
    def variance(self) -> Tensor:
        """The mean square deviation from the mean, ``(C,)``."""
        return self._squares / max(self.samples, 1)

    def add(self, field: Tensor, domain: Domain) -> None:
        """Count the samples of a field, ``(B, C, *S)`` or ``(N, C)``."""
        channels = field.double().split(1, 1)
        means = torch.stack([domain.mean(channel) for channel in channels], 1)
        around = [
            domain.mean((channel - domain.spread(mean, channel)).square())
            for channel, mean in zip(channels, means.unbind(1), strict=True)
        ]
        new, own = means.mean(0), torch.stack(around, 1).sum(0) + (means - means.mean(0)).square().sum(0)
        count, change = self.samples + len(means), new - self.mean
        self._squares = self._squares + own + change.square() * (self.samples * len(means) / count)
        self.mean = self.mean + change * (len(means) / count)
        self.samples = count


@torch.no_grad()
def measured_units(
    model: nn.Module,
    data: Dataset[Sample],
    base: bool = False,
    condition: Sequence[str] | Mapping[str, str | int] | None = None,
) -> Units:
    """The mean and deviation of x and y over a data set, channel by channel; the model is not called.

    The frames of a window share one mean and deviation per field, and a constant channel has the deviation 1.
    A component that is constant but for rounding beside the others of its vector, such as the z of a velocity
    in a plane, has their largest deviation.
    Points outside of a mask do not count.

    Args:
        model: the base, or its adapter, which states how x and y are laid out.
        data: the training set.
        base: whether the base works in these units too; see `Units`.
        condition: as for the refiner.

    Example:
        >>> from neuralop_irno.data.fields import FieldDataset
        >>> x = torch.tensor([1.0, 3.0]).expand(4, 1, 2)
        >>> measured_units(nn.Conv1d(1, 1, 1), FieldDataset(x, 10 * x))
        Units(x=Scaling(mean=(2.0,), std=(1.0,)), y=Scaling(mean=(20.0,), std=(10.0,)), base=False)
    """
    operator = wrap_operator(model, frozen=False)
    refuse_tuple(operator, "a model with units")
    conditions, of_x, of_y = Conditions.of(condition), Moments(), Moments()
    for _, batch in load_all(data, at_once(operator)):
        sample = operator.from_batch(batch)
        call = _call(operator, conditions, sample)
        of_x.add(call.x, call.domain)
        of_y.add(call.start, call.domain)
    frames = (
        _frames(operator.layout.x, operator.input_of((), sample)),
        _frames(operator.layout.answer, sample["y"]),
    )
    labels = _labels(data, (call.x.shape[1], call.start.shape[1]), frames)
    vectors = [
        [labels[side][channel] for channel in parts]
        for side, own in enumerate(getattr(data, "vectors", ()))
        for parts in own
    ]
    x, y = _pooled((of_x, of_y), labels, rounding(call.start.dtype), vectors)
    return Units(x, y, base)


def _call(operator: BaseOperator, conditions: Conditions, sample: Mapping[str, Any]) -> BaseCall:
    """x and y of a sample, as the iteration sees them; y takes the place of the base's answer."""
    rest = {name: value for name, value in sample.items() if name != "y"}
    call = conditions.call(operator, (), rest, sample["y"])
    return call if conditions.mask else conditioned(call, Condition(mask=mask_in(call.start, sample)))


def _frames(axes: Axes, tensor: Tensor) -> int:
    return int(axes.frames(tensor))


def _labels(data: object, channels: tuple[int, int], frames: tuple[int, int]) -> list[list[Hashable]]:
    """For each channel of x and of y a label: channels with equal labels are one field at several times.

    Args:
        data: the data set; one of windows states how many frames are in x and in y.
        channels: of x and of y.
        frames: of x and of y, along axes of time.

    Example:
        >>> class Windows:
        ...     inputs, outputs = 2, 1
        >>> _labels(Windows(), (3, 1), (1, 1))  # two frames and a constant field
        [[('field', 0), ('field', 0), ('x', 2)], [('field', 0)]]
        >>> _labels(None, (4, 2), (2, 1))  # two frames of two fields, along an axis of time
        [[('x', 0), ('x', 1), ('x', 0), ('x', 1)], [('y', 0), ('y', 1)]]
    """
    inputs, outputs = (getattr(data, name, None) for name in ("inputs", "outputs"))
    if isinstance(inputs, int) and isinstance(outputs, int):
        fields = channels[1] // outputs
        own = [("field", n % fields) if n < inputs * fields else ("x", n) for n in range(channels[0])]
        return [list(own), [("field", n % fields) for n in range(channels[1])]]
    return [
        [(side, n % (count // times)) for n in range(count)]
        for side, count, times in zip("xy", channels, frames, strict=True)
    ]


def _pooled(
    sides: Sequence[Moments],
    labels: Sequence[Sequence[Hashable]],
    smallest: float,
    vectors: Sequence[Sequence[Hashable]] = (),
) -> list[Scaling]:
    """The scalings of x and of y, from the moments of their channels; those of equal labels are averaged.

    Args:
        sides: the moments of x and of y.
        labels: those of their channels.
        smallest: the deviation, relative to the mean, up to which a field is constant.
        vectors: the labels of the components of each vector.
    """
    found: dict[Hashable, list[tuple[float, float]]] = {}
    for moments, names in zip(sides, labels, strict=True):
        each = zip(names, moments.mean.tolist(), moments.variance.tolist(), strict=True)
        for name, mean, variance in each:
            found.setdefault(name, []).append((mean, variance))
    scales: dict[Hashable, tuple[float, float]] = {}
    for name, parts in found.items():
        mean = fmean(mean for mean, _ in parts)
        std = sqrt(fmean(variance + (own - mean) ** 2 for own, variance in parts))
        scales[name] = mean, std if std > smallest * abs(mean) else 0.0
    for components in vectors:
        largest = max(scales[name][1] for name in components)
        for name in components:
            mean, std = scales[name]
            scales[name] = mean, std if std > NOISE * largest else largest
    units = {name: (mean, std or 1.0) for name, (mean, std) in scales.items()}
    return [Scaling(*zip(*(units[name] for name in names), strict=True)) for names in labels]
