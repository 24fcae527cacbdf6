"""An exponential moving average of the trainable weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neuralop_irno.sharded import divided


class Average:
    r"""The average after n updates,

    .. math:: a_n = d_n a_{n-1} + (1 - d_n) w_n, \qquad d_n = \min(d, n / (n + 9)),

    so that early averages follow the weights closely and the initial weights lose their influence.

    Args:
        model: whose trainable parameters are averaged; buffers are not.
        decay: d, at least 0 and below 1.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> average = Average(layer, decay=0.9)
        >>> start = layer.weight.item()
        >>> with torch.no_grad():
        ...     _ = layer.weight.add_(1.0)
        >>> average.update(1)
        >>> with average.in_place():
        ...     round(layer.weight.item() - start, 4)
        0.9
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.values = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def update(self, updates: int) -> None:
        """Add the current weights; ``updates`` counts the updates made, this one included."""
        decay = min(self.decay, updates / (updates + 9))
        with torch.no_grad():
            for name, weight in self._weights.items():
                self.values[name].lerp_(weight, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the model within a ``with`` block, and the weights back after it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Replace the average by stored values."""
        for name, value in self.values.items():
            value.copy_(divided(values[name], value))

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._weights.items():
            kept = weight.clone()
            weight.copy_(self.values[name])
            self.values[name].copy_(kept)
