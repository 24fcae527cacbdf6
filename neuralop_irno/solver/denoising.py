"""PDE-Refiner's iteration: each step adds noise, less at every step, and subtracts the noise Phi predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.domain.noise import normal, seeds
from neuralop_irno.errors import expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.solver import Phi, SolverState


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
        sigma = phi.domain.spread(self.alpha.for_field(h, state.taken).to(h.dtype), h)
        noisy = h + sigma * normal(phi.domain, h, state.seed, state.taken)
        if self.from_nothing:
            begun = phi.domain.spread((state.taken > 0).to(h.dtype), h).bool()
            noisy = torch.where(begun, noisy, 0.0)
        clean = noisy - self.residual(phi, noisy, state)
        return clean, DenoisingState(state.taken + 1, h, clean - h, state.seed)
