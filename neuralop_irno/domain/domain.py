"""Where a field lives, and what a mean, a norm and a sample are there."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Domain(ABC):
    r"""A batch of domains: grids of one shape, or point sets of any sizes.

    A *field* is a tensor laid out over the domain; a *sample* is one grid or one graph of the
    batch. Everything below is per sample, so that no sample sees its batch-mates:

    .. math:: \langle a, b \rangle = \frac{1}{C \, |\Omega|} \int_\Omega a \cdot b
              \qquad \|a\| = \sqrt{\langle a, a \rangle}

    with the integral taken by the measure of the cells or nodes. A finer mesh under the same
    function therefore changes neither a loss nor a tolerance.

    Shapes:
        - field: ``(B, C, *S)`` on grids, ``(N, C)`` on points, N counting all samples' nodes
        - per-sample values: ``(samples,)``
    """

    samples: int

    @abstractmethod
    def mean(self, field: Tensor) -> Tensor:
        """The measure-weighted mean over domain and channels, ``(samples,)``."""

    @abstractmethod
    def spread(self, values: Tensor, field: Tensor) -> Tensor:
        """Per-sample values shaped so that they multiply a field."""

    @abstractmethod
    def largest(self, field: Tensor) -> Tensor:
        """The largest absolute value of each sample, ``(samples,)``."""

    @abstractmethod
    def places(self, field: Tensor) -> Tensor:
        """The number of each value within its sample, counted from 0, laid out like the field."""

    @abstractmethod
    def take(self, field: Tensor, keep: Tensor) -> Tensor:
        """The part of a field that belongs to the samples ``keep`` (indices, ascending)."""

    @abstractmethod
    def put(self, field: Tensor, keep: Tensor, values: Tensor) -> Tensor:
        """A copy of a field in which the samples ``keep`` hold ``values``."""

    @abstractmethod
    def select(self, keep: Tensor) -> Domain:
        """The domain of the samples ``keep`` alone."""

    def inner(self, a: Tensor, b: Tensor) -> Tensor:
        """The measure-weighted mean of a times b, ``(samples,)``."""
        return self.mean(a * b)

    def norm(self, field: Tensor) -> Tensor:
        """The measure-weighted root mean square, ``(samples,)``.

        Squares of numbers beyond 1e19 are no float32. The field is divided by a power of two first, which
        changes no other bit.
        """
        limit = math.frexp(torch.finfo(field.dtype).max)[1] - 8
        with torch.no_grad():
            largest = self.largest(field.detach())
            scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent.clamp(-limit, limit))
        scaled = field / self.spread(scale, field)
        return scale * self.inner(scaled, scaled).sqrt()
