"""A correction that commutes with every shift of a periodic grid, not only with multiples of its strides.

A U-Net that halves its grid d times samples its coarse grids at other cells after a shift by one cell, and
a grid of odd size has its seam at another cell: it commutes with shifts by 2^d cells at best. Here the
origin of the grid is computed from x. x and h are rolled to that origin, corrected, and the update is rolled
back, so that

    Phi(S x, S h) = S Phi(x, h)     for every shift S, at every size, bit for bit.

The origin depends on x only, so that Phi is as smooth in h as the inner correction. An x whose longest wave
along an axis vanishes (x is constant along the axis, or repeats within it) has no defined origin there: it
is set by rounding, and Phi commutes only with the shifts of the inner correction.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuralop_irno.correction.correction import Correction, step_argument
from neuralop_irno.correction.grid import require_grid
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected


class RolledInput(NamedTuple):
    """What `ShiftEquivariant` prepares of x.

    Attributes:
        inner: the result of the inner correction's ``prepare`` for the rolled x.
        origin: the cell at which each sample's grid begins, ``(B, d)``.
    """

    inner: Any
    origin: Tensor


class ShiftEquivariant(Correction):
    """A correction on grids made equivariant to shifts along its periodic axes.

    Args:
        correction: the inner correction; its attribute ``periodic`` names the axes.

    Example:
        >>> from neuralop_irno.correction.unet import UNet
        >>> inner = UNet(in_channels=1, out_channels=1, width=4, depth=2).double()
        >>> _ = torch.nn.init.normal_(inner.last.weight)
        >>> phi = ShiftEquivariant(inner)
        >>> x, h = torch.randn(2, 2, 1, 13, 8, dtype=torch.float64)
        >>> shifted = phi(x.roll((3, 5), (2, 3)), h.roll((3, 5), (2, 3)))
        >>> torch.equal(shifted, phi(x, h).roll((3, 5), (2, 3)))
        True
    """

    def __init__(self, correction: Correction) -> None:
        super().__init__()
        periodic = correction.periodic or ()
        if not any(periodic):
            got, hint = f"periodic={correction.periodic}", "padding='circular', or the correction as it is"
            raise ValueError(expected("a correction with a periodic axis", got, hint))
        self.correction = correction
        self.periodic: tuple[bool, ...] = periodic
        self.in_channels, self.out_channels = correction.in_channels, correction.out_channels
        self.stepwise, self.resolution_free = correction.stepwise, correction.resolution_free
        self.scalars = correction.scalars

    def prepare(self, x: Tensor, domain: Domain) -> RolledInput:
        require_grid(domain, "this correction")
        origin = origin_of(x, self.periodic)
        return RolledInput(self.correction.prepare(roll_each(x, -origin), domain), origin)

    def conditioned(self, prepared: RolledInput, scalars: Tensor) -> RolledInput:
        return prepared._replace(inner=self.correction.conditioned(prepared.inner, scalars))

    def forward(self, x: Tensor | RolledInput, h: Tensor, taken: Tensor | None = None) -> Tensor:
        if not isinstance(x, RolledInput):
            origin = origin_of(x, self.periodic)
            x = RolledInput(roll_each(x, -origin), origin)
        when = step_argument(self.correction, taken)
        return roll_each(self.correction(x.inner, roll_each(h, -x.origin), *when), x.origin)


FRAME = """frame: compute the origin of the grid from x along periodic axes, see `ShiftEquivariant`: Phi
            then commutes with every shift, but depends on the whole field, and jumps where the origin moves.
"""


def with_frame_option(constructor: Callable[..., Correction]) -> Callable[..., Correction]:
    """A constructor with one more option, ``frame: bool = False``: whether to apply `ShiftEquivariant`.

    Without a periodic axis the option has no effect.
    """

    def build(*args: Any, frame: bool = False, **options: Any) -> Correction:
        plain = constructor(*args, **options)
        return ShiftEquivariant(plain) if frame and any(plain.periodic or ()) else plain

    about, example = (constructor.__doc__ or "").split("\n    Example:")
    build.__doc__ = f"{about.rstrip()}\n        {FRAME}\n    Example:{example}"
    own = inspect.signature(constructor, eval_str=True)
    option = inspect.Parameter("frame", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    build.__dict__["__signature__"] = own.replace(parameters=[*own.parameters.values(), option])
    return build


def origin_of(x: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The cell at which each sample's grid begins: the phase of the longest wave along each axis.

    Shapes:
        - x: ``(B, C, *S)``
        - returns: ``(B, d)``; 0 along axes that are not periodic
    """
    if x.dim() != 2 + len(periodic):
        wanted = f"x of shape (B, C, {', '.join('n' * len(periodic))})"
        raise ValueError(expected(wanted, tuple(x.shape), f"a correction with dim={x.dim() - 2}"))
    # The squares break the symmetry of fields that are even about a point.
    content = x.detach().double()
    content = (content + content.square()).sum(1)
    cells = []
    for axis, (size, closed) in enumerate(zip(x.shape[2:], periodic, strict=True), start=1):
        if not closed:
            cells.append(torch.zeros(len(x), dtype=torch.long, device=x.device))
            continue
        others = [a for a in range(1, content.dim()) if a != axis]
        profile = content.sum(others) if others else content
        place = torch.arange(size, device=x.device, dtype=torch.float64) * (2 * math.pi / size)
        angle = torch.atan2((profile * place.sin()).sum(1), (profile * place.cos()).sum(1))
        # Offset by a quarter of a cell: symmetric fields have their phase at whole and half cells, where
        # rounding would otherwise choose between two cells.
        cells.append((angle * (size / (2 * math.pi)) + 0.25).floor().long() % size)
    return torch.stack(cells, 1)


def roll_each(field: Tensor, amounts: Tensor) -> Tensor:
    """Roll each sample by its own amounts, in cells.

    Shapes:
        - field: ``(B, C, *S)``
        - amounts: ``(B, d)``

    Example:
        >>> roll_each(torch.tensor([[[1, 2, 3]], [[1, 2, 3]]]), torch.tensor([[1], [-1]]))
        tensor([[[3, 1, 2]],
        <BLANKLINE>
                [[2, 3, 1]]])
    """
    samples, shape = len(field), field.shape[2:]
    row = torch.arange(samples, device=field.device).reshape(-1, *[1] * len(shape))
    for axis, size in enumerate(shape):
        cell = (torch.arange(size, device=field.device) - amounts[:, axis, None]) % size
        row = row * size + cell.reshape(samples, *[size if a == axis else 1 for a in range(len(shape))])
    rows = field.movedim(1, -1).flatten(0, -2)
    return rows.index_select(0, row.flatten()).reshape(samples, *shape, field.shape[1]).movedim(-1, 1)
