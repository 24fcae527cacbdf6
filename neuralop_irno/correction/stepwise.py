"""Corrections that change from step to step: a stack without shared weights, and classical smoothing.

The loop passes them the number of steps taken by each sample; it does not change otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuralop_irno.compiling import evaluated
from neuralop_irno.correction.correction import DEFAULT_CORRECTION, Correction, FunctionCorrection, part_of
from neuralop_irno.correction.from_module import build_inner
from neuralop_irno.correction.receptive_field import ReceptiveField, widest
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS


class Prepared(NamedTuple):
    """What `Stepwise` prepares of x.

    Attributes:
        parts: the result of ``prepare`` of each correction.
        domain: the domain of x.
    """

    parts: tuple[Any, ...]
    domain: Domain


class Stepwise(Correction):
    """Applies one of several corrections, chosen per sample and step. Subclasses define `choice`.

    Args:
        parts: the corrections, on one domain and with the same channels.
    """

    stepwise = True
    one_graph = False  # which parts are evaluated depends on the steps taken

    def __init__(self, parts: Sequence[Correction]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        first = parts[0]
        self.periodic = first.periodic
        self.alignment = max(part.alignment for part in parts)
        self.resolution_free = all(part.resolution_free for part in parts)
        self.in_channels, self.out_channels = first.in_channels, first.out_channels

    @property
    def receptive_field(self) -> ReceptiveField:
        return widest(*(self._part(place).receptive_field for place in range(len(self.parts))))

    @abstractmethod
    def choice(self, taken: Tensor | None, samples: int) -> Tensor:
        """The index of the correction for each sample, ``(samples,)``."""

    def prepare(self, x: Tensor, domain: Domain) -> Prepared:
        parts = (self._part(place).prepare(x, domain) for place in range(len(self.parts)))
        return Prepared(tuple(parts), domain)

    def forward(self, x: Prepared, h: Tensor, taken: Tensor | None = None) -> Tensor:
        domain = x.domain
        choice = self.choice(taken, domain.samples).to(h.device)
        update = torch.zeros_like(h)
        for place in choice.unique().tolist():
            keep = (choice == place).nonzero()[:, 0]
            prepared = part_of(x.parts[place], domain, keep)
            part = evaluated(self._part(place), prepared, domain.take(h, keep))
            update = domain.put(update, keep, part.to(h.dtype))
        return update

    def _part(self, place: int) -> Correction:
        part = self.parts[place]
        assert isinstance(part, Correction)
        return part


class Untied(Stepwise):
    r"""A separate correction for every step.

    .. math:: h_{k+1} = h_k + \alpha \, \Phi_k(x, h_k)

    This is the iteration without shared weights, with K times the parameters. Later steps use the last stage.
    It has no fixed point, and cannot be evaluated outside an iteration.

    Args:
        stages: the corrections, in the order of the steps.

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> steps = [FunctionCorrection(lambda x, h, n=n: torch.full_like(h, n)) for n in (1.0, 2.0)]
        >>> x = torch.zeros(3, 1, 1)
        >>> phi = Untied(steps).bind(x, GridDomain.of(x))
        >>> phi(x, torch.tensor([0, 1, 7])).flatten().tolist()
        [1.0, 2.0, 2.0]
    """

    def __init__(self, stages: Sequence[Correction]) -> None:
        if not stages:
            raise ValueError(expected("at least one stage", "none", "stages=4"))
        super().__init__(stages)

    def choice(self, taken: Tensor | None, samples: int) -> Tensor:
        if taken is None:
            hint = "fixed_point=0, contraction=0 and monotone=0: it has no fixed point"
            raise ValueError(expected("the step of an untied stack", "none", hint))
        return taken.clamp(max=len(self.parts) - 1)


class Smoothed(Stepwise):
    r"""A learned correction that is replaced by a classical smoother at every n-th step.

    .. math:: h_{k+1} = h_k + \alpha \begin{cases} S(x, h_k) & k + 1 \equiv 0 \mod n \\
              \Phi(x, h_k) & \text{otherwise} \end{cases}

    The network reduces mostly the smooth part of the error; Jacobi or multigrid sweeps reduce the rest, so
    that the iteration converges to the solution of the equation. Outside an iteration (for example in the
    fixed-point loss) the learned correction is used. Related paper: https://arxiv.org/abs/2208.13273.

    Args:
        correction: Phi.
        smoother: (x, h) -> S, the change of one sweep; a `Correction` if it needs the domain. It is
            multiplied by alpha like Phi.
        every: n.

    Example:
        >>> from neuralop_irno.correction.correction import FunctionCorrection
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> asleep = FunctionCorrection(lambda x, h: 0 * h)
        >>> x = torch.ones(4, 1, 1)
        >>> phi = Smoothed(asleep, lambda x, h: x - h, every=2).bind(x, GridDomain.of(x))
        >>> phi(torch.zeros(4, 1, 1), torch.tensor([0, 1, 2, 3])).flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """

    printed = ("every",)

    def __init__(
        self,
        correction: Correction,
        smoother: Correction | Callable[[Tensor, Tensor], Tensor],
        every: int = 2,
    ) -> None:
        if every < 1:
            raise ValueError(expected("every >= 1 steps", every, "every=2"))
        super().__init__([correction, from_function(smoother)])
        self.every = every

    def choice(self, taken: Tensor | None, samples: int) -> Tensor:
        if taken is None:
            return torch.zeros(samples, dtype=torch.long)
        return ((taken + 1) % self.every == 0).long()


def from_function(part: Correction | Callable[[Tensor, Tensor], Tensor]) -> Correction:
    """A `Correction` unchanged; a function of (x, h) as a `FunctionCorrection`."""
    return part if isinstance(part, Correction) else FunctionCorrection(part)


@CORRECTIONS.register("untied")
def untied(
    in_channels: int,
    out_channels: int,
    dim: int | None = None,
    correction: Any = DEFAULT_CORRECTION,
    stages: int = 4,
    padding: str | Sequence[str] | None = None,
) -> Untied:
    """The correction ``untied``: `Untied` with ``stages`` corrections of one config.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions, if the correction has that option.
        correction: name or config of each stage.
        stages: number of stages, K.
        padding: padding of the stages, if they have that option and their config does not set it.
    """
    return Untied([build_inner(correction, in_channels, out_channels, dim, padding) for _ in range(stages)])
