"""Corrections that change from step to step: a stack without shared weights, and classical smoothing.

The loop stays what it is. It tells a correction how many steps each sample has behind it, and what the
correction makes of that is decided here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuralop_irno.correction.correction import Correction, FunctionCorrection, part_of
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS


class Prepared(NamedTuple):
    """What each of several corrections prepared for one x.

    Attributes:
        parts: one for each of them.
        domain: where x lives.
    """

    parts: tuple[Any, ...]
    domain: Domain


class Stepwise(Correction):
    """Several corrections, of which each sample hears one at each step. Subclasses define `choice`.

    Args:
        parts: the corrections, on one domain and with the same channels.
    """

    stepwise = True

    def __init__(self, parts: Sequence[Correction]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        first = parts[0]
        self.periodic = first.periodic
        self.in_channels, self.out_channels = first.in_channels, first.out_channels

    @abstractmethod
    def choice(self, taken: Tensor | None, samples: int) -> Tensor:
        """The place of the part that each sample hears, ``(samples,)``."""

    def prepare(self, x: Tensor, domain: Domain) -> Prepared:
        return Prepared(
            tuple(self._part(place).prepare(x, domain) for place in range(len(self.parts))), domain
        )

    def forward(self, x: Prepared, h: Tensor, taken: Tensor | None = None) -> Tensor:
        domain = x.domain
        choice = self.choice(taken, domain.samples).to(h.device)
        update = torch.zeros_like(h)
        for place in choice.unique().tolist():
            keep = (choice == place).nonzero()[:, 0]
            prepared = part_of(x.parts[place], domain, keep)
            part = self._part(place)(prepared, domain.take(h, keep))
            update = domain.put(update, keep, part.to(h.dtype))
        return update

    def _part(self, place: int) -> Correction:
        part = self.parts[place]
        assert isinstance(part, Correction)
        return part


class Untied(Stepwise):
    r"""A correction of its own for every step: residual operators, stage by stage.

    .. math:: h_{k+1} = h_k + \alpha \, \Phi_k(x, h_k)

    This is the iteration without shared weights, with K times the parameters. After the last stage it goes on
    with that one. It has no fixed point: away from an iteration there is nothing to ask it.

    Args:
        stages: the corrections.

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
            raise ValueError(
                expected(
                    "the step at which an untied stack is asked",
                    "none",
                    "fixed_point=0 and contraction=0: it has no fixed point",
                )
            )
        return taken.clamp(max=len(self.parts) - 1)


class Smoothed(Stepwise):
    r"""A learned correction, and at every n-th step a classical smoother in its place.

    .. math:: h_{k+1} = h_k + \alpha \begin{cases} S(x, h_k) & k + 1 \equiv 0 \mod n \\
              \Phi(x, h_k) & \text{otherwise} \end{cases}

    A network corrects what it was trained on, mostly the smooth part; sweeps of Jacobi or of multigrid take
    down what is left, and bring the iteration to where the equation is solved. Away from an iteration, at
    the truth say, it is the learned one that is asked.

    Args:
        correction: Phi.
        smoother: (x, h) -> S, the change that one sweep makes; a `Correction`, where it has to know the
            domain. It is damped by alpha as everything is.
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

    def __init__(
        self,
        correction: Correction,
        smoother: Correction | Callable[[Tensor, Tensor], Tensor],
        every: int = 2,
    ) -> None:
        if every < 1:
            raise ValueError(expected("every >= 1 steps", every, "every=2"))
        super().__init__([correction, as_known(smoother)])
        self.every = every

    def choice(self, taken: Tensor | None, samples: int) -> Tensor:
        if taken is None:
            return torch.zeros(samples, dtype=torch.long)
        return ((taken + 1) % self.every == 0).long()


def as_known(part: Correction | Callable[[Tensor, Tensor], Tensor]) -> Correction:
    """What the user knows of the problem: a correction as it is, a function of (x, h) as one."""
    return part if isinstance(part, Correction) else FunctionCorrection(part)


@CORRECTIONS.register("untied")
def untied(
    in_channels: int,
    out_channels: int,
    dim: int | None = None,
    correction: Any = "unet",
    stages: int = 4,
    padding: str | Sequence[str] | None = None,
) -> Untied:
    """`Untied` by name: so many corrections of one kind.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions, where the correction asks.
        correction: of each stage, by name or config.
        stages: how many; K.
        padding: of the stages, where they have one and their config leaves it open.
    """
    known = {"in_channels": in_channels, "out_channels": out_channels, "dim": dim, "padding": padding}
    given = {name: value for name, value in known.items() if value is not None}
    return Untied([CORRECTIONS.build(correction, **given) for _ in range(stages)])
