"""Layers that keep distances, and a sum that says so."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from neuralop_irno.errors import expected


class MaxMin(nn.Module):
    r"""Sorts channels in pairs: :math:`(a, b) \to (\max(a, b), \min(a, b))`.

    It never stretches a distance, as ReLU does not, and keeps the norm of what passes and of the gradient
    that comes back, as ReLU does not: stacks of layers with a norm of 1 do not die out.

    Args:
        dim: the axis of the channels, 1 on grids and -1 for tokens; on graphs both.

    Shapes:
        - x and the answer: with an even number of channels, the first half of which is paired with the second

    Example:
        >>> MaxMin()(torch.tensor([[1.0, -2.0, 3.0, -4.0]]))
        tensor([[ 3., -2.,  1., -4.]])
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[self.dim] % 2:
            raise ValueError(expected("an even number of channels", x.shape[self.dim], "one channel more"))
        first, second = x.chunk(2, self.dim)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], self.dim)


class Residual(nn.Module):
    r"""x + branch(x), as a module that `lipschitz_bound` can read.

    Args:
        branch: whose answer is shaped like its first input.

    Example:
        >>> Residual(nn.Identity())(torch.ones(2))
        tensor([2., 2.])
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The sum.

        Args:
            x: the input.
            args: what else the branch takes by position.
            kwargs: what else it takes by keyword.
        """
        return x + self.branch(x, *args, **kwargs)


def orthogonal(layer: nn.Linear, bound: float = 1.0) -> nn.Linear:
    r"""Make a linear layer b times an orthogonal one, in place and for good: :math:`W = b \, Q`.

    Q comes from Cayley's map of a skew matrix, so that every update of an optimiser leaves it orthogonal.
    With as many channels in as out it stretches every direction by b, no more and no less.

    Args:
        layer: with more channels out than in, or fewer, the columns or the rows are orthonormal.
        bound: b.

    Example:
        >>> layer = orthogonal(nn.Linear(4, 4, bias=False), bound=0.5)
        >>> x = torch.randn(3, 4)
        >>> torch.allclose(layer(x).norm(dim=1), 0.5 * x.norm(dim=1))
        True
    """
    if not isinstance(layer, nn.Linear):
        raise TypeError(expected("a linear layer", type(layer).__name__, "nn.Linear(4, 4)"))
    if not 0 < bound < math.inf:
        raise ValueError(expected("a bound above 0 and finite", bound, "bound=1.0"))
    parametrizations.orthogonal(layer, orthogonal_map="cayley")
    register_parametrization(layer, "weight", _Scaled(bound))
    return layer


class _Scaled(nn.Module):
    """A weight times a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, weight: Tensor) -> Tensor:
        return self.factor * weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight that is scaled to this one."""
        return weight / self.factor
