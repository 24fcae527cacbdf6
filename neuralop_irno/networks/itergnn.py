"""Iterated graph networks that know when they are done: the answer is a weighted mean of states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import expected
from neuralop_irno.networks.convolutions import GraphBlock
from neuralop_irno.networks.graph_networks import GraphNetwork, for_block
from neuralop_irno.networks.network import PicardNetwork
from neuralop_irno.registry import MODELS, SOLVERS
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.solver import Phi, SolverState

NOTHING_LEFT = 1e-7
"""A graph whose later states weigh less than this, all together, is done."""


@dataclass(frozen=True)
class IterGNNState(SolverState):
    """The mean so far.

    Attributes:
        left: what all later states may weigh together, ``(samples,)``.
        total: the states so far, weighed.
    """

    PER_SAMPLE: ClassVar[frozenset[str]] = frozenset({"taken", "left"})

    left: Tensor
    total: Tensor


@SOLVERS.register("confidence")
class Confidence(Damped):
    r"""Damped Picard steps on graphs, whose answer weighs every state by how sure the network is of it.

    .. math:: \sum_k c_k \prod_{i < k} (1 - c_i) \, h_k \qquad c_k = \sigma(w \cdot \max_{nodes} h_k + b)

    The weights are those of a process that stops at step k with probability c_k. The residual that a
    tolerance is compared with is what the mean is still to get if the state stays what it is.

    Args:
        channels: of a state.
        alpha: as for `Picard`; the plain iteration has 1.

    Shapes:
        - states: ``(N, channels)``
    """

    def __init__(self, channels: int, alpha: Any = 1.0) -> None:
        super().__init__(alpha)
        self.channels = channels
        self.readout = nn.Linear(channels, 1)

    def init(self, h: Tensor, taken: Tensor) -> IterGNNState:
        nothing = torch.zeros_like(h)
        return IterGNNState(
            taken, h, nothing, torch.ones(taken.shape, dtype=h.dtype, device=h.device), nothing
        )

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


class IterGNN(GraphNetwork):
    """One block of messages, iterated until the network is sure: the answer is decoded from a weighted mean.

    Args:
        in_channels: channels of x.
        out_channels: channels of the answer.
        conv: of the block; see `neuralop_irno.networks.convolutions.convolution`.
        width: of the nodes.
        steps: the most there are. In evaluation a graph stops as soon as nothing is left to weigh.
        norm: of the block, ``graph``, ``layer`` or None.
        dropout: in training, of x, of the block and of what is decoded.

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
            raise ValueError(expected("at least one step to be sure of", f"steps={steps}", "steps=30"))
        self.network = PicardNetwork(
            GraphBlock(conv, width, norm, dropout),
            smoothing=0.0,
            steps=steps,
            tol=NOTHING_LEFT,
            solver={"name": "confidence", "channels": width},
        )

    def process(self, h: Tensor, graph: Mapping[str, Tensor]) -> Tensor:
        return self.network(h, **for_block(self.network.block, graph))


MODELS.register("itergnn", IterGNN)
