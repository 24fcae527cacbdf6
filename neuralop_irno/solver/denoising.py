"""Denoising: each step adds noise, less every time, and takes away what the correction sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.registry import SOLVERS
from neuralop_irno.solver.noise import normal, seeds
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.solver import Phi, SolverState


@dataclass(frozen=True)
class DenoisingState(SolverState):
    """The state of `Denoising`.

    Attributes:
        seed: of each sample's noise, ``(samples,)``.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "seed"})

    seed: Tensor


@SOLVERS.register("denoising")
class Denoising(Damped):
    r"""PDE-Refiner's way from one answer to the next.

    .. math:: h_k = h_{k-1} + \sigma_k \epsilon - \sigma_k \Phi_k(x, h_{k-1} + \sigma_k \epsilon)
              \qquad \sigma_k = \sigma_K^{k/K}

    Phi is trained to see the noise; what it takes for noise, of that size, is an error of h as well. Every
    solve draws a seed for each sample from torch's generator, and each step new noise from that seed, so that
    answers are random: there is no fixed point, and an untrained correction leaves the noise where it is.
    After the same ``torch.manual_seed`` the answers are the same, for a batch as for a loop over its samples.

    As published it has no base: a step before these sees h = 0 and predicts, :math:`h_0 = -\Phi_0(x, 0)`.
    That is ``from_nothing``.

    Args:
        levels: how many steps, K, or K + 1 with that first one. Later steps add as much noise as the last.
        least: sigma_K, in units of the fields, which should have a standard deviation of about one.
        from_nothing: forget what the base answered, and predict first.

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
        # The prediction is a step of size one, so that its loss is the mean square error.
        super().__init__([1.0] * from_nothing + [least ** (k / noisy) for k in range(1, noisy + 1)])
        self.levels, self.least, self.from_nothing = levels, least, from_nothing

    def extra_repr(self) -> str:
        return f"levels={self.levels}, least={self.least}, from_nothing={self.from_nothing}"

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
