"""Normalisation of fields: one mean and one standard deviation per field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from neuralop_irno.errors import expected, shown

Normalise = bool | Literal["all"]
"""Whether a run scales the fields of a data set by the mean and deviation of its training set.

``all``: also for a base that comes trained.
"""

Data = TypeVar("Data")


def to_normalise(splits: Mapping[str, Data], normalise: Normalise) -> dict[str, Data]:
    """Data sets that state, in their attribute ``normalise``, whether a run scales their fields.

    Raises:
        ValueError: it is no such value.
    """
    if normalise not in (True, False, "all"):
        wanted, got = "normalise as true, false or all", shown(normalise)
        raise ValueError(expected(wanted, got, "normalise: true"))
    each: Any
    for each in splits.values():
        each.normalise = normalise
    return dict(splits)


@dataclass(frozen=True)
class Scaling:
    """(field - mean) / std, channel by channel.

    Attributes:
        mean: mean of each field.
        std: standard deviation of each field.

    Example:
        >>> scaling = Scaling((1.0, 0.0), (2.0, 10.0))
        >>> frames = torch.tensor([[[5.0], [30.0]]])
        >>> scaling.apply(frames).tolist(), torch.equal(scaling.undo(scaling.apply(frames)), frames)
        ([[[2.0], [3.0]]], True)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        usable = all(map(math.isfinite, self.mean)) and all(0 < std < math.inf for std in self.std)
        if len(self.mean) != len(self.std) or not usable:
            got = f"mean {list(self.mean)}, std {list(self.std)}"
            raise ValueError(expected("one finite mean and std > 0 for each field", got, "std: [1.0]"))

    @classmethod
    def none(cls, fields: int) -> Scaling:
        """The identity scaling."""
        return cls((0.0,) * fields, (1.0,) * fields)

    def apply(self, fields: Tensor) -> Tensor:
        """Convert fields to scaled units.

        Shapes:
            - fields, returns: ``(B, C, *S)``, or ``(B, k C, *S)`` for k frames, one after the other
        """
        mean, std = self._columns(fields)
        return (fields - mean) / std

    def undo(self, fields: Tensor) -> Tensor:
        """Convert back to the units of the file; shapes as in `apply`."""
        mean, std = self._columns(fields)
        return fields * std + mean

    def split(self, sizes: Sequence[int]) -> list[Scaling]:
        """The scaling of each of several fields, from their numbers of channels."""
        ends = list(accumulate(sizes))
        if ends[-1:] != [len(self.mean)]:
            wanted = f"fields of {len(self.mean)} channels together"
            raise ValueError(expected(wanted, list(sizes), "the scaling of these fields"))
        places = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        return [Scaling(self.mean[place], self.std[place]) for place in places]

    def undo_change(self, change: Tensor) -> Tensor:
        """Convert a difference of two scaled fields back, exactly 0 to 0; shapes as in `apply`."""
        return change * self._columns(change)[1]

    def _columns(self, fields: Tensor) -> tuple[Tensor, Tensor]:
        frames, rest = divmod(fields.shape[1], max(len(self.mean), 1))
        if rest:
            wanted = f"a multiple of {len(self.mean)} channels"
            hint = "the scaling of this data set"
            raise ValueError(expected(wanted, f"a field {tuple(fields.shape)}", hint))
        shape = [-1, *[1] * (fields.dim() - 2)]
        mean, std = (
            torch.tensor(values, dtype=fields.dtype, device=fields.device).repeat(frames).reshape(shape)
            for values in (self.mean, self.std)
        )
        return mean, std
