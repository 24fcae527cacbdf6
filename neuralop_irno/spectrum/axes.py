"""How the axes of a grid are transformed: as waves, as cosines between walls, or as waves in a window."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected

AXES = ("fourier", "cosine", "windowed")

Axes = str | Sequence[str]
"""A kind of transform for all axes, or one for each axis."""


def checked_axes(axes: Axes) -> str | tuple[str, ...]:
    """The kinds of transforms, as a hashable value; raises ValueError for an unknown one.

    Example:
        >>> checked_axes(["fourier", "cosine"])
        ('fourier', 'cosine')
    """
    kinds = axes if isinstance(axes, str) else tuple(axes)
    for kind in (kinds,) if isinstance(kinds, str) else kinds:
        if kind not in AXES:
            wanted = f"axes of {', '.join(AXES)}"
            raise ValueError(expected(wanted, repr(kind), did_you_mean(str(kind), AXES)))
    return kinds


def kinds_of(axes: Axes, dim: int) -> tuple[str, ...]:
    """The kind of transform of each of ``dim`` axes.

    Example:
        >>> kinds_of("cosine", 2)
        ('cosine', 'cosine')
    """
    kinds = (axes,) * dim if isinstance(axes, str) else tuple(axes)
    if len(kinds) != dim:
        raise ValueError(expected(f"axes for each of {dim} dimensions", list(kinds), "axes='fourier'"))
    return kinds


def cosine_transform(field: Tensor, axis: int) -> Tensor:
    r"""The orthonormal discrete cosine transform (DCT-II) along an axis.

    .. math:: c_k = \sqrt{\tfrac{2 - \delta_{k0}}{n}} \sum_{j=0}^{n-1} f_j
              \cos \frac{\pi k (j + \frac12)}{n}

    It is the Fourier transform of the field continued evenly across its walls, so that a field that is not
    periodic has no jump there. The walls are half a cell beyond the first and the last point.

    Shapes:
        - field and result: alike, real

    Example:
        >>> mode = torch.cos(torch.pi * 2 * (torch.arange(6) + 0.5) / 6)
        >>> cosine_transform(mode, 0).square().round(decimals=4)
        tensor([0., 0., 3., 0., 0., 0.])
    """
    values = field.movedim(axis, -1)
    count = values.shape[-1]
    half = torch.fft.rfft(torch.cat([values, values.flip(-1)], -1))[..., :count]
    angle = torch.arange(count, device=field.device, dtype=field.dtype) * (-torch.pi / (2 * count))
    scale = torch.full_like(angle, (2 * count) ** -0.5)
    scale[0] = 0.5 * count**-0.5
    turned = half.real * (scale * angle.cos()) - half.imag * (scale * angle.sin())
    return turned.movedim(-1, axis)


def window(count: int, device: torch.device | str = "cpu") -> Tensor:
    r"""Hann's window on the centres of ``count`` cells, with mean square 1, in float64.

    .. math:: \sin^2 \frac{\pi (j + \frac12)}{n} \; \Big/ \; \text{its root mean square}

    Example:
        >>> window(4).round(decimals=3)
        tensor([0.2390, 1.3940, 1.3940, 0.2390], dtype=torch.float64)
    """
    place = (torch.arange(count, dtype=torch.float64, device=device) + 0.5) / count
    values = (torch.pi * place).sin().square()
    return values / values.square().mean().sqrt()
