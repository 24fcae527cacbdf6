"""Base class of transformers that encode a field as tokens, iterate the tokens and decode them."""

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
from neuralop_irno.solver.gradient import GradientLike


class IteratedTokens(nn.Module, ABC):
    r"""A transformer whose tokens solve :math:`u = T(u) + f`, with f from the field x.

    .. math:: u_0 = f, \qquad u_{k+1} = a \, u_k + (1 - a) \, (T(u_k) + f)

    Args:
        width: channels of a token.
        heads: number of attention heads.
        layers: number of layers of T, each with its own weights.
        steps: K; with a tolerance, the maximum number of steps. All steps share their weights.
        smoothing: a, at least 0 and below 1.
        inject: whether f is added in every step. If not, T keeps its skip connections, and a step is an
            ordinary transformer applied once more.
        tol: relative tolerance in evaluation: a sample stops when its step is below ``tol |u|``.
        gradient: gradient rule of the iteration in training.
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
        gradient: GradientLike,
    ) -> None:
        super().__init__()
        block = IntegralOperator(width, heads, layers, skip=not inject)
        self.network = PicardNetwork(
            block, smoothing=smoothing, steps=steps, tol=tol, inject=inject, gradient=gradient
        )

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Nodes]:
        """f, ``(B, N, width)``, and the positions of its tokens."""

    @abstractmethod
    def decode(self, tokens: Tensor, x: Tensor) -> Tensor:
        """The field decoded from tokens, on the grid of x."""

    def forward(self, x: Tensor) -> Tensor:
        """The field decoded from the last iterate."""
        free, nodes = self.encode(x)
        return self.decode(self.network(free, nodes=nodes), x)

    @torch.no_grad()
    def solve(self, x: Tensor, **options: Any) -> PicardSolution:
        """Solve to a tolerance; the solution reports the outcome of each sample.

        ``value`` and ``best`` are fields; steps, residuals and bounds are those of the tokens.

        Args:
            x: the field.
            options: options of `PicardNetwork.solve`.
        """
        free, nodes = self.encode(x)
        solution = self.network.solve(free, nodes=nodes, **options)
        value, best = self.decode(solution.value, x), self.decode(solution.best, x)
        return replace(solution, value=value, best=best)
