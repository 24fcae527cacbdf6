"""Layers with a prescribed Lipschitz constant: MaxMin, residual sums and scaled orthogonal layers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from neuralop_irno.errors import expected


class MaxMin(nn.Module):
    r"""Sort channels in pairs: :math:`(a, b) \to (\max(a, b), \min(a, b))`; https://arxiv.org/abs/1811.05381.

    Like ReLU it has Lipschitz constant 1; unlike ReLU it preserves the norms of signal and gradient, so that
    these do not decay in stacks of layers with norm 1.

    Args:
        dim: the axis of the channels, 1 on grids and -1 for tokens; either on graphs.

    Shapes:
        - x and the result: an even number of channels; channel i is paired with channel i + C/2

    Example:
        >>> MaxMin()(torch.tensor([[1.0, -2.0, 3.0, -4.0]]))
        tensor([[ 3., -2.,  1., -4.]])
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[self.dim] % 2:
            raise ValueError(expected("an even number of channels", x.shape[self.dim], "one more channel"))
        first, second = x.chunk(2, self.dim)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], self.dim)


class Residual(nn.Module):
    r"""x + branch(x), as a module that `lipschitz_bound` supports.

    Args:
        branch: a module whose output is shaped like its first input.

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
            args: further positional arguments of the branch.
            kwargs: keyword arguments of the branch.
        """
        return x + self.branch(x, *args, **kwargs)


def orthogonal(layer: nn.Linear, bound: float = 1.0) -> nn.Linear:
    r"""Reparametrise a linear layer, in place, as b times an orthogonal matrix: :math:`W = b \, Q`.

    Q is the Cayley transform of a skew-symmetric matrix, so that it stays orthogonal under any update. A
    square layer scales all distances by exactly b.

    Args:
        layer: the layer; if it is not square, its columns or rows are orthonormal.
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
        """The unscaled weight."""
        return weight / self.factor
