"""The units of a model's fields: a mean and a deviation of each channel, stored with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from neuralop_irno.annotations import hint_of_choice
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.errors import expected, shown

EXAMPLE = "units={'x': {'mean': [0.0], 'std': [1.0]}, 'y': {'mean': [1e5], 'std': [300.0]}}"


@dataclass(frozen=True)
class Units:
    r"""The units in which a correction works: x and h with mean 0 and deviation 1 in each channel.

    .. math:: \hat x = (x - m_x) / s_x \qquad \hat h = (h - m_y) / s_y

    The fields that a model takes and returns stay in the units of the data. The iteration, its losses, norms
    and tolerances are in these ones, in which fields of different magnitude weigh alike.

    Attributes:
        x: of the channels of x, those of every required input of the base, one after the other.
        y: of the channels of the answer.
        base: whether the base works in these units too: then its module is given scaled fields, and what it
            returns is converted to the units of the data. Else it is given x as it is.

    Example:
        >>> units = Units.of({"x": {"mean": [0.0], "std": [2.0]}, "y": {"mean": [100.0], "std": [5.0]}})
        >>> print(units)
        x mean 0 std 2, y mean 100 std 5, not for the base
        >>> Units.of(units.plain()) == units
        True
    """

    x: Scaling
    y: Scaling
    base: bool = False

    def __str__(self) -> str:
        pairs = (("x", self.x), ("y", self.y))
        each = [f"{name} mean {_short(side.mean)} std {_short(side.std)}" for name, side in pairs]
        return f"{', '.join(each)}, {'also' if self.base else 'not'} for the base"

    def __post_init__(self) -> None:
        if not isinstance(self.x, Scaling) or not isinstance(self.y, Scaling):
            got = f"{type(self.x).__name__} and {type(self.y).__name__}"
            raise TypeError(expected("a Scaling for x and one for y", got, "Scaling((0.0,), (1.0,))"))
        if not isinstance(self.base, bool):
            raise TypeError(
                expected(
                    "base of units as True or False", shown(self.base), hint_of_choice("base", self.base)
                )
            )

    @classmethod
    def of(cls, given: Units | Mapping[str, Any] | None) -> Units | None:
        """Units from themselves or from plain data; None if there are none."""
        if given is None or isinstance(given, Units):
            return given
        wanted = "units with a mean and a std for each channel of x and of y"
        if not isinstance(given, Mapping):
            raise TypeError(expected(wanted, shown(given), EXAMPLE))
        parts: list[Any] = [given.get(name) for name in ("x", "y")]
        if not all(isinstance(part, Mapping) and {*part} == {"mean", "std"} for part in parts):
            raise TypeError(expected(wanted, shown(given), EXAMPLE))
        unknown = sorted(map(str, given.keys() - {"x", "y", "base"}))
        if unknown:
            raise ValueError(expected(wanted, f"also {', '.join(unknown)}", EXAMPLE))
        try:
            x, y = (Scaling(*(tuple(map(float, part[name])) for name in ("mean", "std"))) for part in parts)
        except TypeError as error:
            raise TypeError(expected(wanted, shown(given), EXAMPLE)) from error
        return cls(x, y, given.get("base", False))

    def before(self, function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        """A function of x and h in the units of the data as one of scaled fields."""
        return lambda x, h: function(self.x.undo(x), self.y.undo(h))

    def plain(self) -> dict[str, Any]:
        """The units as plain data."""
        sides = {"x": self.x, "y": self.y}
        plain = {
            name: {key: list(part) for key, part in asdict(side).items()} for name, side in sides.items()
        }
        return {**plain, "base": True} if self.base else plain


def check_units(scaling: Scaling, field: Tensor, what: str, repeats: bool) -> None:
    """Raise ValueError for a field with other channels than those of its scaling.

    Args:
        scaling: of the field.
        field: ``(B, C, *S)`` or ``(N, C)``.
        what: its name.
        repeats: whether the scaling may be that of one frame, of which the field has several.
    """
    stated, channels = len(scaling.mean), field.shape[1]
    if channels != stated and not (repeats and stated and not channels % stated):
        got = f"{channels} channels, a field {tuple(field.shape)}"
        raise ValueError(
            expected(f"{what} with the {stated} channels of the model's units", got, "other units")
        )


def _short(numbers: Sequence[float]) -> str:
    """The number of one channel, or those of several in brackets."""
    words = [f"{number:.6g}" for number in numbers]
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"
