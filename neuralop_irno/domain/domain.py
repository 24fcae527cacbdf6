"""The interface of domains: means, norms and samples of fields."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno.eager import eager_on_cpu
from neuralop_irno.precision import most_precise

ROUNDING = 1e-6
"""Tolerance of a share of the measure: weights in float32 sum to 1 up to rounding."""


class Domain(ABC):
    r"""A batch of domains: grids of one shape, or point sets of any sizes.

    A *field* is a tensor laid out over the domain; a *sample* is one grid or one graph of the
    batch. All methods work per sample, so that results do not depend on the other samples of a batch:

    .. math:: \langle a, b \rangle = \frac{1}{C \, |\Omega|} \int_\Omega a \cdot b
              \qquad \|a\| = \sqrt{\langle a, a \rangle}

    with the integral weighted by the measure of the cells or nodes. Losses and tolerances therefore do not
    depend on the resolution of a mesh.

    Shapes:
        - field: ``(B, C, *S)`` on grids, ``(N, C)`` on points, with N the nodes of all samples
        - per-sample values: ``(samples,)``
    """

    samples: int

    @abstractmethod
    def mean(self, field: Tensor) -> Tensor:
        """The measure-weighted mean over domain and channels, ``(samples,)``."""

    @abstractmethod
    def weights(self, field: Tensor) -> Tensor:
        """The weight of each value in `mean`, laid out like the field."""

    @abstractmethod
    def spread(self, values: Tensor, field: Tensor) -> Tensor:
        """Per-sample values in a shape that broadcasts with a field."""

    @abstractmethod
    def largest(self, field: Tensor) -> Tensor:
        """The largest absolute value of each sample, ``(samples,)``."""

    @abstractmethod
    def places(self, field: Tensor) -> Tensor:
        """The index of each value within its sample, from 0, laid out like the field."""

    @abstractmethod
    def take(self, field: Tensor, keep: Tensor) -> Tensor:
        """The field of the samples ``keep`` (indices, ascending) only."""

    @abstractmethod
    def put(self, field: Tensor, keep: Tensor, values: Tensor) -> Tensor:
        """A copy of a field with the samples ``keep`` replaced by ``values``."""

    @abstractmethod
    def select(self, keep: Tensor) -> Domain:
        """The domain of the samples ``keep`` only."""

    @abstractmethod
    def masked(self, mask: Tensor) -> Domain:
        """The domain with measure 0 outside of a mask, laid out like a field with one channel."""

    @abstractmethod
    def unweighted(self) -> Domain:
        """The same domain with the same measure for all values, as solvers of matrices have it."""

    def quantile(self, field: Tensor, share: float) -> Tensor:
        """The smallest value not exceeded on this share of the measure, over all channels, ``(samples,)``.

        It is infinite for a sample without measure.
        """
        numbers = torch.arange(self.samples, device=field.device)
        sample = self.spread(numbers, field).expand_as(field).flatten().cpu()
        weight = self.weights(field).flatten().cpu().double()
        order = field.flatten().cpu().argsort()
        order = order[sample[order].argsort(stable=True)]
        values, sample, reached = field.flatten().cpu()[order], sample[order], weight[order].cumsum(0)
        total = weight.new_zeros(self.samples).index_add(0, sample, weight[order])
        reached -= (total.cumsum(0) - total)[sample]
        values = torch.where(reached >= share - ROUNDING, values, math.inf)
        return values.new_full((self.samples,), math.inf).scatter_reduce(0, sample, values, "amin").to(field)

    def inner(self, a: Tensor, b: Tensor) -> Tensor:
        """The measure-weighted mean of a times b, ``(samples,)``."""
        return self.mean(a * b)

    def gram(self, fields: Sequence[Tensor]) -> Tensor:
        """The `inner` product of every two of some fields, ``(samples, fields, fields)``.

        In double precision where the device has it: the products of float32 fields neither overflow nor
        lose the small differences of fields that are almost parallel.
        """
        rows = in_rows(fields)
        return (rows * self.weights(fields[0]).flatten(1)[:, None]) @ rows.mT

    def norm(self, field: Tensor) -> Tensor:
        """The measure-weighted root mean square, ``(samples,)``.

        Squares of numbers beyond 1e19 overflow in float32. The field is divided by a power of two first,
        which is exact; on a CPU only where a sample needs it, since the division takes as long as the rest.
        """
        finfo = torch.finfo(field.dtype)
        with torch.no_grad():
            largest = self.largest(field.detach())
        if eager_on_cpu(field):
            safe = (largest > finfo.tiny**0.25) & (largest < finfo.max**0.25) | (largest == 0)
            if safe.all():
                return self.inner(field, field).sqrt()
        limit = math.frexp(finfo.max)[1] - 8
        scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent.clamp(-limit, limit))
        scaled = field / self.spread(scale, field)
        return scale * self.inner(scaled, scaled).sqrt()


def in_rows(fields: Sequence[Tensor]) -> Tensor:
    """All values of each field, in the highest precision of the device, ``(B, fields, values)``."""
    first = fields[0]
    if not eager_on_cpu(first):
        return torch.stack([field.flatten(1) for field in fields], 1).to(most_precise(first.device))
    rows = first.new_empty(len(fields), *first.shape, dtype=most_precise(first.device))
    for place, field in enumerate(fields):  # stacked and converted, they would be copied twice
        rows[place] = field
    return rows.flatten(2).transpose(0, 1)
