"""Fields to tokens, tokens iterated until they rest, tokens back to fields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.networks.attention import IntegralOperator
from neuralop_irno.networks.bounds import PicardSolution
from neuralop_irno.networks.network import PicardNetwork
from neuralop_irno.networks.tokens import Nodes


class IteratedTokens(nn.Module, ABC):
    r"""A transformer whose tokens solve :math:`u = T(u) + f`, with f from the field x.

    .. math:: u_0 = f, \qquad u_{k+1} = a \, u_k + (1 - a) \, (T(u_k) + f)

    Args:
        width: channels of a token.
        heads: of attention.
        layers: in T, each with weights of its own.
        steps: K; with a tolerance, how many at most. All steps share their weights.
        smoothing: a, at least 0 and below 1.
        inject: whether every step is given f again. If not, T keeps its skip connections, and a step is an
            ordinary transformer, asked again.
        tol: in evaluation, a sample stops when its step is smaller than this part of its state.
        gradient: how gradients cross the steps in training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        steps: int,
        smoothing: float,
        inject: bool,
        tol: float | None,
        gradient: Any,
    ) -> None:
        super().__init__()
        block = IntegralOperator(width, heads, layers, skip=not inject)
        self.network = PicardNetwork(
            block, smoothing=smoothing, steps=steps, tol=tol, inject=inject, gradient=gradient
        )

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Nodes]:
        """f, ``(B, N, width)``, and where its tokens stand."""

    @abstractmethod
    def decode(self, tokens: Tensor, x: Tensor) -> Tensor:
        """The field that tokens stand for, on the grid of x."""

    def forward(self, x: Tensor) -> Tensor:
        """The field in which the iteration ends."""
        free, nodes = self.encode(x)
        return self.decode(self.network(free, nodes=nodes), x)

    @torch.no_grad()
    def solve(self, x: Tensor, **options: Any) -> PicardSolution:
        """The same, with an account of each sample.

        ``value`` and ``best`` are fields; steps, residuals and bounds are those of the tokens.

        Args:
            x: the field.
            options: those of `PicardNetwork.solve`.
        """
        free, nodes = self.encode(x)
        solution = self.network.solve(free, nodes=nodes, **options)
        value, best = self.decode(solution.value, x), self.decode(solution.best, x)
        return replace(solution, value=value, best=best)
