"""Graph networks (encode, pass messages, decode): iterated with shared weights, or stacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralop_irno.base.checks import graph_among
from neuralop_irno.errors import expected
from neuralop_irno.networks.bounds import PicardSolution
from neuralop_irno.networks.convolutions import GraphBlock
from neuralop_irno.networks.network import PicardNetwork
from neuralop_irno.registry import MODELS
from neuralop_irno.solver.gradient import GradientLike
from neuralop_irno.solver.solver import SolverLike

PARTS = ("edge_index", "edge_attr", "edge_weight", "batch")
"""The tensors of a graph besides x, by PyTorch Geometric's names, in the order of `GraphNetwork.forward`."""


class GraphNetwork(nn.Module, ABC):
    """Base class of graph networks: linear encoder, message passing, linear decoder.

    Called with a graph, ``network(data)``, or with its parts, ``network(x, edge_index, ...)``. Subclasses
    define `process`.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        width: channels of the nodes between encoder and decoder.
        dropout: dropout rate in training, before encoder and decoder.

    Shapes:
        - x: ``(N, in_channels)``; returns: ``(N, out_channels)``
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.dropout = dropout
        self.encoder = nn.Linear(in_channels, width)
        self.decoder = nn.Linear(width, out_channels)

    @abstractmethod
    def process(self, h: Tensor, graph: Mapping[str, Tensor]) -> Tensor:
        """Message passing between encoder and decoder, ``(N, width)`` to ``(N, width)``.

        Args:
            h: encoded nodes.
            graph: the tensors of the graph, by PyTorch Geometric's names.
        """

    def forward(
        self,
        x: Any,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """The output at every node.

        Args:
            x: node features; or a PyTorch Geometric graph, and no other argument.
            edge_index: ``(2, E)``.
            edge_attr: edge attributes, for convolutions that read them, ``(E, ..)``.
            edge_weight: edge weights, for convolutions that read them, ``(E,)``.
            batch: the graph index of each node, ``(N,)``.
        """
        parts = (edge_index, edge_attr, edge_weight, batch)
        x, graph = parts_of(x, dict(zip(PARTS, parts, strict=True)))
        return self.decode(self.process(self.encode(x), graph))

    def encode(self, x: Tensor) -> Tensor:
        """Encode node features, ``(N, in_channels)`` to ``(N, width)``."""
        return self.encoder(F.dropout(x, self.dropout, self.training))

    def decode(self, h: Tensor) -> Tensor:
        """Decode nodes, ``(N, width)`` to ``(N, out_channels)``."""
        return self.decoder(F.dropout(h, self.dropout, self.training))


class IteratedGraphNetwork(GraphNetwork):
    """Base class of graph networks whose message passing is one block, iterated by `network`."""

    network: PicardNetwork

    def process(self, h: Tensor, graph: Mapping[str, Tensor]) -> Tensor:
        return self.network(h, **for_block(self.network.block, graph))


class Pign(IteratedGraphNetwork):
    r"""Picard iterative graph network (https://arxiv.org/abs/2310.01618): one block, iterated.

    .. math:: h_{k+1} = a h_k + (1 - a) (T(h_k) + f) \qquad h_0 = E(x), \quad y = D(h_K)

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        conv: convolution of T; see `neuralop_irno.networks.convolutions.convolution`.
        width: channels of the nodes.
        steps: K; with a tolerance, the maximum number of steps.
        smoothing: a.
        inject: whether f = h_0, which is recommended; otherwise f = 0 as in the paper's algorithm 1, and the
            fixed point of a contraction does not depend on x.
        norm: norm of T: ``graph``, ``layer`` or None.
        dropout: dropout rate in training: of x, of T and before the decoder.
        tol: relative tolerance in evaluation: a graph stops when its step is below ``atol + tol |h|``.
        atol: absolute tolerance in evaluation.
        solver: solver of the iteration.
        gradient: gradient rule of the iteration; see `PicardNetwork`.

    Example:
        >>> network = Pign(3, 2, conv="sage", width=8, steps=4, inject=True)
        >>> x, edge_index = torch.randn(5, 3), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
        >>> network(x, edge_index).shape
        torch.Size([5, 2])
        >>> solution = network.eval().solve(x, edge_index, rtol=1e-3)
        >>> torch.equal(network.decode(solution.value), network(x, edge_index))
        False
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        conv: Any = "gcn",
        width: int = 64,
        steps: int = 8,
        smoothing: float = 0.5,
        inject: bool = False,
        norm: str | None = "graph",
        dropout: float = 0.0,
        tol: float | None = None,
        atol: float = 0.0,
        solver: SolverLike = "picard",
        gradient: GradientLike = "unrolled",
    ) -> None:
        super().__init__(in_channels, out_channels, width, dropout)
        block = GraphBlock(conv, width, norm, dropout)
        self.network = PicardNetwork(
            block,
            smoothing=smoothing,
            steps=steps,
            tol=tol,
            atol=atol,
            inject=inject,
            solver=solver,
            gradient=gradient,
        )

    @torch.no_grad()
    def solve(self, x: Any, *parts: Tensor | None, **options: Any) -> PicardSolution:
        """Iterate each graph to a fixed point; `decode` turns the solution's value into the output.

        Args:
            x: as for `forward`.
            parts: the other arguments of `forward`, here or by name.
            options: options of `PicardNetwork.solve`: ``rtol``, ``max_steps``, ``lipschitz``, ...
        """
        named = {name: options.pop(name) for name in PARTS if name in options}
        x, graph = parts_of(x, dict(zip(PARTS, parts, strict=False)) | named)
        return self.network.solve(self.encode(x), **for_block(self.network.block, graph), **options)


class GnnStack(GraphNetwork):
    """A plain graph network: blocks in sequence, each with its own weights.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        conv: convolution of the blocks; see `neuralop_irno.networks.convolutions.convolution`.
        width: channels of the nodes.
        layers: number of blocks.
        norm: norm of the blocks: ``graph``, ``layer`` or None.
        dropout: dropout rate in training: of x, of the blocks and before the decoder.

    Example:
        >>> GnnStack(3, 2, width=8, layers=2)(torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]])).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        conv: Any = "gcn",
        width: int = 64,
        layers: int = 2,
        norm: str | None = "graph",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels, out_channels, width, dropout)
        self.blocks = nn.ModuleList(GraphBlock(conv, width, norm, dropout) for _ in range(layers))

    def process(self, h: Tensor, graph: Mapping[str, Tensor]) -> Tensor:
        for block in self.blocks:
            h = block(h, **for_block(block, graph))
        return h


def parts_of(x: Any, given: Mapping[str, Tensor | None]) -> tuple[Tensor, dict[str, Tensor]]:
    """x and the other tensors of a graph that is given whole, as x, or in parts."""
    if graph_among((x,), {}) is not None:
        given = {name: x[name] for name in PARTS if name in x}
        x = x.x
    known = {name: part for name, part in given.items() if part is not None}
    if not isinstance(x, Tensor) or "edge_index" not in known:
        missing = "edge_index" if isinstance(x, Tensor) else "x"
        raise TypeError(expected("a graph with x and edge_index", f"none for {missing}", "network(data)"))
    return x, known


def for_block(block: nn.Module, graph: Mapping[str, Tensor]) -> dict[str, Any]:
    """The tensors of the graph that a block reads."""
    assert isinstance(block, GraphBlock)
    return {name: part for name, part in graph.items() if name in ("edge_index", "batch", *block.takes)}


MODELS.register("pign", Pign)
MODELS.register("gnn_stack", GnnStack)
