"""Variables of a file in the order of axes of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neuralop_irno.data.readers.stored import Stored
from neuralop_irno.errors import expected

EVERYTHING = slice(None)


@dataclass(frozen=True)
class Variable:
    """An array of a file, and the role of each of its axes.

    Attributes:
        name: in the file.
        stored: the array.
        roles: of each axis: B (samples), T (time), C (channels), or the name of an axis of space.

    Example:
        >>> array = np.arange(12.0).reshape(2, 3, 2)
        >>> variable = Variable("u", Stored((2, 3, 2), array.__getitem__), ("B", "x", "C"))
        >>> variable.read(slice(0, 1), slice(None), ("x",)).tolist()
        [[[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]]]
    """

    name: str
    stored: Stored
    roles: tuple[str, ...]

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The length of each axis, by its role."""
        return dict(zip(self.roles, self.stored.shape, strict=True))

    @property
    def space(self) -> tuple[str, ...]:
        """The names of the axes of space, in the order of the file."""
        return tuple(role for role in self.roles if role not in ("B", "T", "C"))

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels: that of the variable, numbered if it has several."""
        count = self.sizes.get("C", 1)
        return (self.name,) if count == 1 else tuple(f"{self.name}{place}" for place in range(count))

    def read(
        self,
        samples: slice,
        times: slice,
        space: Sequence[str],
        flipped: Sequence[bool] = (),
        dtype: type = np.float32,
    ) -> Any:
        """Values in physical units, with nan where there are none.

        Args:
            samples: indices along the axis of samples, if the variable has one.
            times: indices along that of time.
            space: the names of the axes of space, in order.
            flipped: which of them are reversed.
            dtype: of the values.

        Shapes:
            - returns: ``(n, T, C, *S)``; axes that the variable lacks have length 1
        """
        place = tuple({"B": samples, "T": times}.get(role, EVERYTHING) for role in self.roles)
        values = self.stored.numbers(place, dtype)
        order = [role for role in ("B", "T", "C", *space) if role in self.roles]
        values = values.transpose([self.roles.index(role) for role in order])
        missing = [axis for axis, role in enumerate(("B", "T", "C", *space)) if role not in self.roles]
        values = np.expand_dims(values, missing)
        turned = [3 + axis for axis, flip in enumerate(flipped) if flip and values.shape[3 + axis] > 1]
        return np.ascontiguousarray(np.flip(values, tuple(turned)))


def names_in(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names of an option that takes one name or several.

    Example:
        >>> names_in("T"), names_in(["T", "q"]), names_in(None)
        (('T',), ('T', 'q'), ())
    """
    return (given,) if isinstance(given, str) else tuple(given or ())


def check_names(option: str, names: Sequence[str]) -> None:
    """Raise a ValueError if a name comes twice in an option.

    Example:
        >>> check_names("x", ["T", "q", "T"])
        Traceback (most recent call last):
        ValueError: expected each name once in x, got T twice or more; try x: [T, q]
    """
    more = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if more:
        got = f"{', '.join(more)} twice or more"
        hint = f"{option}: [{', '.join(dict.fromkeys(names))}]"
        raise ValueError(expected(f"each name once in {option}", got, hint))


def one_size(what: str, variables: Sequence[Variable], role: str) -> int:
    """The length of an axis that variables share; 1 if none has it.

    Raises:
        ValueError: they differ.
    """
    sizes = {variable.sizes[role] for variable in variables if role in variable.sizes}
    if len(sizes) > 1:
        got = ", ".join(f"{each.name} {each.sizes[role]}" for each in variables if role in each.sizes)
        raise ValueError(expected(f"variables with as many {what}", got, "one file for each"))
    return sizes.pop() if sizes else 1
