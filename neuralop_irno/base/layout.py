"""The axes of a base's input and answer, as a pattern: ``"B T C H W -> B C H W"``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from einops import rearrange
from torch import Tensor

from neuralop_irno.errors import expected, shown

ANY = "*S"
"""The name that stands for all spatial axes."""

CHANNELS = {"first": f"B C {ANY}", "last": f"B {ANY} C"}
"""The layouts with short names."""

OTHER_NAMES = {"b": "B", "n": "B", "N": "B", "t": "T", "c": "C", "1": "T", "...": ANY, "*": ANY}
"""Names from elsewhere that would be read as spatial axes, and the names to use."""

EXAMPLE = "layout='B T C H W -> B C H W'"


@dataclass(frozen=True)
class Axes:
    """The axes of one tensor.

    A tensor in this layout is *folded* to a field ``(B, T * C, *S)``, with time before channels, and a field
    is unfolded again.

    Attributes:
        names: of the axes, in order: B, T, C or none of these, and the spatial ones. Without any name it is
            every tensor as it stands.
        spatial: the names of the spatial axes in the order of the field.

    Example:
        >>> import torch
        >>> axes = Layout.of("X Y T C").x
        >>> field = axes.fold(torch.zeros(8, 9, 5, 2))
        >>> field.shape, axes.unfold(field, frames=5).shape
        (torch.Size([1, 10, 8, 9]), torch.Size([8, 9, 5, 2]))
    """

    names: tuple[str, ...]
    spatial: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.names)

    @property
    def plain(self) -> bool:
        """Whether a tensor in this layout is a field as it stands."""
        return self.names in ((), ("B", "C", *self.spatial))

    @property
    def patterns(self) -> tuple[str, str]:
        """The layout of a tensor, and that of its field, for einops."""
        batch = "B" if "B" in self.names else "1"
        channels = " ".join(name for name in ("T", "C") if name in self.names)
        field = f"{batch} ({channels}) {' '.join(self.spatial)}"
        return str(self).replace(ANY, "..."), field.replace(ANY, "...")

    @property
    def channels_last(self) -> bool:
        """Whether the channels come after the spatial axes."""
        return "C" in self.names and self.names.index("C") > self.names.index(self.spatial[-1])

    def channels(self, stated: int | None) -> int | None:
        """The channels of a field, where each frame has ``stated`` ones; None if that is not known."""
        if "T" in self.names:
            return None
        return stated if self.plain or "C" in self.names else 1

    def axis(self, name: str) -> int | None:
        """The position of an axis, counted from the end if it is behind a number of spatial ones."""
        if name not in self.names:
            return None
        index = self.names.index(name)
        return index - len(self.names) if ANY in self.names[:index] else index

    def fits(self, tensor: Tensor) -> bool:
        """Whether a tensor has as many axes as the layout."""
        named = len(self.names)
        return tensor.dim() >= named if ANY in self.names or not named else tensor.dim() == named

    def fold(self, tensor: Any) -> Tensor:
        """The field of a tensor; raises ValueError if it does not have as many axes as the layout."""
        if not self.fits(tensor):
            hint = f"x[None] for one sample, or {EXAMPLE}"
            raise ValueError(expected(f"a tensor with the axes '{self}'", tuple(tensor.shape), hint))
        if self.plain:
            return tensor
        own, field = self.patterns
        return rearrange(tensor, f"{own} -> {field}")

    def frames(self, tensor: Any) -> Any:
        """What `unfold` needs besides the field: the length of the time axis; 1 without one."""
        axis = self.axis("T")
        return 1 if axis is None else tensor.shape[axis]

    def unfold(self, field: Tensor, frames: Any = 1) -> Any:
        """The inverse of `fold`.

        Args:
            field: ``(B, T * C, *S)``.
            frames: T, if the layout has a time axis.
        """
        if self.plain:
            return field
        if field.dim() < 3 or (ANY not in self.spatial and field.dim() != 2 + len(self.spatial)):
            wanted = f"a field (B, C, {', '.join(self.spatial)}) for the layout '{self}'"
            raise ValueError(expected(wanted, tuple(field.shape), "fields with these axes"))
        timed = "T" in self.names
        if "B" not in self.names:
            self._alone(field)
        if timed and field.shape[1] % frames:
            got = f"{field.shape[1]} channels for T = {frames}"
            raise ValueError(expected(f"T times as many channels in the layout '{self}'", got, "another T"))
        own, folded = self.patterns
        return rearrange(field, f"{folded} -> {own}", **({"T": frames} if timed else {}))

    def from_batch(self, batch: Tensor) -> Tensor:
        """A tensor in this layout from a collated batch, which has the axis of samples first."""
        if self.plain or self.names[0] == "B":
            return batch
        axis = self.axis("B")
        return self._alone(batch)[0] if axis is None else batch.movedim(0, axis)

    def _alone(self, batch: Tensor) -> Tensor:
        """A batch for a base without an axis of samples; raises ValueError if it has several samples."""
        if len(batch) != 1:
            wanted = f"one sample at a time for the layout '{self}', which has no B"
            raise ValueError(expected(wanted, f"{len(batch)} samples", "a batch size of 1"))
        return batch


@dataclass(frozen=True)
class Layout:
    """The axes of x and of the answer of a base.

    Attributes:
        x: those of x.
        answer: those of the answer.
    """

    x: Axes
    answer: Axes

    @classmethod
    def of(cls, pattern: str) -> Layout:
        """A layout from its pattern.

        Args:
            pattern: the names of the axes, separated by spaces: ``B`` samples, ``T`` times, ``C`` channels;
                all other names are spatial, and ``*S`` is any number of spatial axes. One pattern for x and
                the answer, or two with ``->`` between them. The order of the spatial axes is that of the
                answer.

        Example:
            >>> Layout.of("T B C H W -> B C H W").x.names
            ('T', 'B', 'C', 'H', 'W')
            >>> Layout.of("B H W C -> B C H")
            Traceback (most recent call last):
            ValueError: expected the spatial axes of x, H W, in the answer, got H; try the same names in both
        """
        if not isinstance(pattern, str):
            raise TypeError(expected("a layout as text", shown(pattern), EXAMPLE))
        sides = [tuple(side.split()) for side in pattern.split("->")]
        if len(sides) > 2:
            raise ValueError(expected("a layout of x, or of x -> answer", shown(pattern), EXAMPLE))
        for names in sides:
            _check(names, pattern)
        x, answer = sides[0], sides[-1]
        spaces = [[name for name in names if name not in ("B", "T", "C")] for names in (x, answer)]
        if set(spaces[0]) != set(spaces[1]):
            wanted = f"the spatial axes of x, {' '.join(spaces[0])}, in the answer"
            raise ValueError(expected(wanted, " ".join(spaces[1]), "the same names in both"))
        order = tuple(spaces[1])
        return cls(Axes(x, order), Axes(answer, order))

    @property
    def plain(self) -> bool:
        """Whether x and the answer are fields as they stand."""
        return self.x.plain and self.answer.plain

    def from_batch(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """A collated sample, with y, x and the tensors with as many axes as x laid out as in a call.

        Loaders put the axis of samples first, whatever the layout.
        """
        x, moved = sample.get("x"), dict(sample)
        for name, value in sample.items():
            if name == "y":
                moved[name] = self.answer.from_batch(value)
            elif isinstance(value, Tensor) and isinstance(x, Tensor) and value.dim() == x.dim():
                moved[name] = self.x.from_batch(value)
        return moved

    @property
    def dim(self) -> int | None:
        """The number of spatial axes; None if the pattern does not state it."""
        return None if ANY in self.answer.spatial else len(self.answer.spatial)


AS_IT_STANDS = Layout(Axes((), ()), Axes((), ()))
"""The layout of values on points and graphs, and of models whose fields have channels first."""


def _check(names: tuple[str, ...], pattern: str) -> None:
    """Raise ValueError if the names of one side of a pattern cannot be read."""
    for name in names:
        if name in OTHER_NAMES:
            hint = f"{OTHER_NAMES[name]} (B samples, T times, C channels, other names are spatial)"
            raise ValueError(expected(f"names of axes in the layout {shown(pattern)}", shown(name), hint))
        if name != ANY and not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
            raise ValueError(expected("names of axes, separated by spaces", shown(pattern), EXAMPLE))
    spatial = [name for name in names if name not in ("B", "T", "C")]
    if not spatial or len(set(names)) < len(names) or (ANY in spatial and len(spatial) > 1):
        wanted = f"a layout with each axis once, and with spatial ones: by name, or as {ANY}"
        raise ValueError(expected(wanted, shown(pattern), EXAMPLE))
