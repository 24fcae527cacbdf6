"""Iterated graph networks with a learned stopping criterion; the output is a weighted mean of states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import expected
from neuralop_irno.networks.convolutions import GraphBlock
from neuralop_irno.networks.graph_networks import IteratedGraphNetwork
from neuralop_irno.networks.network import PicardNetwork
from neuralop_irno.registry import MODELS, SOLVERS
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.solver import Phi, SolverState
from neuralop_irno.solver.step_size import StepSizeLike

NOTHING_LEFT = 1e-7
"""A graph stops when all later states together have less weight than this."""


@dataclass(frozen=True)
class IterGNNState(SolverState):
    """State of `Confidence`: the weighted sum so far.

    Attributes:
        left: the weight left for all later states, ``(samples,)``.
        total: the weighted sum of the states so far.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "left"})

    left: Tensor
    total: Tensor


@SOLVERS.register("confidence")
class Confidence(Damped):
    r"""Damped Picard steps on graphs; the result is a mean of the states, weighted by learned confidences c.

    .. math:: \sum_k c_k \prod_{i < k} (1 - c_i) \, h_k \qquad c_k = \sigma(w \cdot \max_{nodes} h_k + b)

    The weights are the probabilities that a process stopping at step k with probability c_k ends there. The
    residual compared with the tolerance is the part still missing from the mean if the state stays constant.

    Args:
        channels: channels of a state.
        alpha: step size, as for `Picard`; 1 is the plain iteration.

    Shapes:
        - states: ``(N, channels)``
    """

    def __init__(self, channels: int, alpha: StepSizeLike = 1.0) -> None:
        super().__init__(alpha)
        self.channels = channels
        self.readout = nn.Linear(channels, 1)

    def init(self, h: Tensor, taken: Tensor) -> IterGNNState:
        nothing = torch.zeros_like(h)
        return IterGNNState(taken, h, nothing, h.new_ones(taken.shape), nothing)

    def step(self, phi: Phi, h: Tensor, state: IterGNNState) -> tuple[Tensor, IterGNNState]:
        following = h + self.residual(phi, h, state)
        sure = self.readout(largest(following, phi.domain))[:, 0].sigmoid()
        total = state.total + phi.domain.spread(sure * state.left, h) * following
        left = (1 - sure) * state.left
        to_come = phi.domain.spread(left, h) * following
        return following, IterGNNState(state.taken + 1, h, to_come, left, total)

    def answer(self, h: Tensor, state: IterGNNState) -> Tensor:
        return state.total


def largest(field: Tensor, domain: Domain) -> Tensor:
    """The largest value of each channel over the nodes of a graph, ``(samples, C)``."""
    if not isinstance(domain, GraphDomain):
        raise ValueError(expected("states on graphs", "a grid", "solver='picard'"))
    place = domain.batch[:, None].expand_as(field)
    return field.new_zeros(domain.samples, field.shape[1]).scatter_reduce(
        0, place, field, "amax", include_self=False
    )


class IterGNN(IteratedGraphNetwork):
    """IterGNN (https://arxiv.org/abs/2010.13547): one block, iterated with a learned stopping criterion.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        conv: convolution of the block; see `neuralop_irno.networks.convolutions.convolution`.
        width: channels of the nodes.
        steps: the maximum number of steps. In evaluation a graph stops when no weight is left.
        norm: norm of the block: ``graph``, ``layer`` or None.
        dropout: dropout rate in training: of x, of the block and before the decoder.

    Example:
        >>> IterGNN(3, 2, width=8)(torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]])).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        conv: Any = "gcn",
        width: int = 64,
        steps: int = 30,
        norm: str | None = "graph",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels, out_channels, width, dropout)
        if steps < 1:
            raise ValueError(expected("at least one step", f"steps={steps}", "steps=30"))
        block, solver = GraphBlock(conv, width, norm, dropout), {"name": "confidence", "channels": width}
        self.network = PicardNetwork(block, smoothing=0.0, steps=steps, tol=NOTHING_LEFT, solver=solver)


MODELS.register("itergnn", IterGNN)
