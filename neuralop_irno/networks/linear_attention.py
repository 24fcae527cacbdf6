"""Self-attention without softmax: cubic, with a Lipschitz constant on every ball."""

from __future__ import annotations

from torch import Tensor, nn

from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.ball import constant_on_ball
from neuralop_irno.lipschitz.constants import check_unaltered, constant_of
from neuralop_irno.lipschitz.graph import Graph


class LinearAttention(nn.Module):
    r"""Self-attention without softmax, scaling or skip connection:

    .. math:: T(y) = (y W_Q) (y W_K)^T (y W_V), \qquad
              |T'(y)| \le 3 \, |W_Q| |W_K| |W_V| \, r^2 \quad \text{for } |y| \le r

    with spectral norms of the matrices and the root of the sum of squares of y. From the appendix of
    "Operator learning meets numerical analysis" (https://arxiv.org/abs/2310.01618). Use
    ``lipschitz_bound(attention, radius=r)``, and see `PicardNetwork.keeps_ball`.

    Args:
        width: channels of a token.

    Shapes:
        - y and the result: ``(B, N, width)``

    Example:
        >>> from neuralop_irno import lipschitz_bound
        >>> attention = LinearAttention(1)
        >>> for layer in (attention.query, attention.key, attention.value):
        ...     _ = nn.init.constant_(layer.weight, 0.5)  # T(y) = y^3 / 8 for one token
        >>> round(lipschitz_bound(attention, radius=2.0), 4)
        1.5
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(expected("width >= 1", width, "width=16"))
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, y: Tensor) -> Tensor:
        # (y WK)^T (y WV) first: its size does not depend on the number of tokens.
        return self.query(y) @ (self.key(y).mT @ self.value(y))


@constant_of.register
def _(module: LinearAttention, graph: Graph | None) -> float:
    wanted = "the radius of a ball, outside of which attention without softmax has no Lipschitz constant"
    raise ValueError(expected(wanted, "none, or a layer before the attention", "radius=1.0"))


@constant_on_ball.register
def _(module: LinearAttention, radius: float, graph: Graph | None) -> float:
    check_unaltered(module, constant_on_ball.registry)
    norms = [constant_of(layer, None) for layer in (module.query, module.key, module.value)]
    return 3 * norms[0] * norms[1] * norms[2] * radius**2
