"""Smooth, overlapping frequency bands."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.errors import expected

ABOVE = torch.tensor([1.25, 1.5, 2.0], dtype=torch.float64)
"""Centres of bands above the Nyquist frequency of an axis."""


def band_windows(frequency: Tensor, centres: Tensor) -> Tensor:
    r"""The share of each band in the energy at a frequency; the shares of all bands sum to 1.

    .. math:: g_b(w) = \cos^2 \frac{\pi}{2} s\Big( \frac{w - c_b}{c_{b+1} - c_b} \Big)
              \qquad s(x) = x^3 (10 - 15 x + 6 x^2)

    from its centre to the next one, and likewise below; the first band includes all frequencies below its
    centre, the last all above. The windows are smooth so that a mode does not jump between bands when the
    mesh changes a little, and so that polynomials approximate them.

    Shapes:
        - frequency: any
        - centres: ascending, ``(bands,)``
        - returns: ``(*frequency.shape, bands)``

    Example:
        >>> band_windows(torch.tensor([0.0, 0.5, 2.0]), torch.tensor([0.0, 1.0]))
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000],
                [0.0000, 1.0000]])
    """
    if len(centres) == 1:
        return torch.ones_like(frequency)[..., None]
    left = torch.searchsorted(centres, frequency.contiguous(), right=True).sub(1).clamp(0, len(centres) - 2)
    low, high = centres[left], centres[left + 1]
    along = ((frequency - low) / (high - low)).clamp(0, 1)
    smooth = along**3 * (10 - 15 * along + 6 * along**2)
    share = torch.sin(smooth * (torch.pi / 2)).square()[..., None]
    windows = share.new_zeros(*frequency.shape, len(centres))
    return windows.scatter(-1, left[..., None], 1 - share).scatter(-1, left[..., None] + 1, share)


def band_centres(centres: Sequence[float]) -> Tensor:
    """Band centres as a float64 tensor; raises ValueError if they do not ascend from 0 or above.

    Example:
        >>> band_centres([0, 0.5, 1])
        tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """
    tensor = torch.as_tensor(list(centres), dtype=torch.float64)
    if tensor.ndim != 1 or len(tensor) == 0 or not (tensor.diff() > 0).all() or tensor[0] < 0:
        wanted = "centres of bands that ascend from 0"
        raise ValueError(expected(wanted, list(centres), "[0.0, 0.25, 0.5, 0.75, 1.0]"))
    return tensor


def even_bands(count: int) -> Tensor:
    """Centres of ``count`` bands from 0 to the Nyquist frequency, and of three above it, for corner modes.

    Example:
        >>> even_bands(3)
        tensor([0.0000, 0.5000, 1.0000, 1.2500, 1.5000, 2.0000], dtype=torch.float64)
    """
    return torch.cat([torch.linspace(0, 1, count, dtype=torch.float64), ABOVE])


def members(batch: Tensor | None, sizes: Sequence[int], device: torch.device | str) -> list[Tensor]:
    """The rows of each graph in a batch; raises ValueError if the graphs do not have the given sizes.

    Example:
        >>> members(torch.tensor([0, 1, 0]), [2, 1], "cpu")
        [tensor([0, 2]), tensor([1])]
    """
    if batch is None:
        return list(torch.arange(sum(sizes), device=device).split(list(sizes)))
    counted = torch.bincount(batch, minlength=len(sizes)).tolist()
    if counted != list(sizes):
        wanted = f"graphs of {list(sizes)} nodes in the batch"
        raise ValueError(expected(wanted, counted, "one Laplacian for each graph"))
    return [(batch == sample).nonzero()[:, 0].to(device) for sample in range(len(sizes))]


def check_nodes(field: Tensor, nodes: int) -> None:
    """Raise ValueError if a field does not have one row per node."""
    if field.dim() != 2 or len(field) != nodes:
        wanted = f"a field ({nodes}, C)"
        raise ValueError(expected(wanted, tuple(field.shape), "the spectrum of its own graph"))
