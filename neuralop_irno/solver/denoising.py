"""PDE-Refiner's iteration: each step adds noise, less at every step, and subtracts the noise Phi predicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.solver import Phi, SolverState

MULTIPLIERS = (-4658895280553007687, -7723592293110705685)  # of splitmix64, as signed numbers
INCREMENT = -7046029254386353131


@dataclass(frozen=True)
class DenoisingState(SolverState):
    """The state of `Denoising`.

    Attributes:
        seed: the seed of each sample's noise, ``(samples,)``.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "seed"})

    seed: Tensor


@SOLVERS.register("denoising")
class Denoising(Damped):
    r"""The iteration of PDE-Refiner (https://arxiv.org/abs/2308.05732).

    .. math:: h_k = h_{k-1} + \sigma_k \epsilon - \sigma_k \Phi_k(x, h_{k-1} + \sigma_k \epsilon)
              \qquad \sigma_k = \sigma_K^{k/K}

    Phi is trained to predict the noise; errors of h of the same size are predicted with it. Every solve draws
    a seed per sample from torch's generator, and each step new noise from that seed: answers are random,
    there is no fixed point, and an untrained correction leaves the noise in h. After the same
    ``torch.manual_seed`` the answers are the same, for a batch as for a loop over its samples.

    The published method has no base: a first step without noise predicts :math:`h_0 = -\Phi_0(x, 0)`. Set
    ``from_nothing`` for that.

    Args:
        levels: number of steps, K, or K + 1 with that first one. Later steps add as much noise as the last.
        least: sigma_K, in units of the fields, which should have a standard deviation of about one.
        from_nothing: ignore the base's answer and begin with the prediction from h = 0.

    Example:
        >>> Denoising(levels=2, least=0.01).alpha(torch.tensor([0, 1, 5]))
        tensor([0.1000, 0.0100, 0.0100])
    """

    adds_noise = True

    def __init__(self, levels: int = 3, least: float = 1e-3, from_nothing: bool = False) -> None:
        noisy = levels - from_nothing
        if noisy < 1 or not 0 < least < 1:
            limits = f"levels >= {1 + from_nothing} and 0 < least < 1"
            raise ValueError(expected(limits, f"{levels} and {least}", "levels=3, least=1e-3"))
        # The first prediction is a step of size one, so that its loss is the mean square error.
        super().__init__([1.0] * from_nothing + [least ** (k / noisy) for k in range(1, noisy + 1)])
        self.levels, self.least, self.from_nothing = levels, least, from_nothing

    def init(self, h: Tensor, taken: Tensor) -> DenoisingState:
        return DenoisingState(taken, h, torch.zeros_like(h), seeds(len(taken), h.device))

    def step(self, phi: Phi, h: Tensor, state: DenoisingState) -> tuple[Tensor, DenoisingState]:
        sigma = phi.domain.spread(self.alpha(state.taken).to(h.dtype), h)
        noisy = h + sigma * normal(phi.domain, h, state.seed, state.taken)
        if self.from_nothing:
            begun = phi.domain.spread((state.taken > 0).to(h.dtype), h).bool()
            noisy = torch.where(begun, noisy, 0.0)
        clean = noisy - self.residual(phi, noisy, state)
        return clean, DenoisingState(state.taken + 1, h, clean - h, state.seed)


def seeds(samples: int, device: torch.device) -> Tensor:
    """A seed for each sample from torch's generator, drawn in order, ``(samples,)``.

    After the same ``torch.manual_seed`` a batch gets the seeds that its samples get in a loop.
    """
    return torch.randint(2**62, (samples,)).to(device)


def normal(domain: Domain, like: Tensor, seeds: Tensor, draw: Tensor) -> Tensor:
    """Standard normal numbers, laid out like a field.

    A number depends only on the seed of its sample, the number of the draw, and its position in the sample:
    it is a hash of the three (splitmix64), made normal by the Box-Muller transform.

    Args:
        domain: the domain of the field.
        like: the field.
        seeds: the seed of each sample, ``(samples,)``.
        draw: the number of the draw of each sample, ``(samples,)``.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> field = torch.zeros(2, 1, 4)
        >>> pair = normal(GridDomain.of(field), field, torch.tensor([3, 3]), torch.tensor([0, 0]))
        >>> torch.equal(pair[0], pair[1])
        True
    """
    start = domain.spread(_mixed(_mixed(seeds) + draw), like)
    numbers = _mixed(start + domain.places(like))
    # Two numbers of 24 of the 64 bits; the first is never zero, for the logarithm.
    first = ((numbers >> 40) & 0xFFFFFF).to(torch.float32).add(1) / 2**24
    second = ((numbers >> 8) & 0xFFFFFF).to(torch.float32) / 2**24
    return ((-2 * first.log()).sqrt() * (2 * math.pi * second).cos()).to(like.dtype)


def _mixed(numbers: Tensor) -> Tensor:
    """One round of splitmix64, in 64-bit integers that wrap around."""
    numbers = numbers + INCREMENT
    for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
        numbers = (numbers ^ _shifted(numbers, shift)) * multiplier
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """Logical shift to the right: torch's own shift keeps the sign."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)
