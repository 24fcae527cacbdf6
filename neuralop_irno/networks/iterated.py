"""A whole network, iterated in the space of its fields."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neuralop_irno._neuralop import build_model
from neuralop_irno.errors import expected
from neuralop_irno.networks.bounds import PicardSolution
from neuralop_irno.networks.network import PicardNetwork
from neuralop_irno.registry import MODELS
from neuralop_irno.solver.gradient import GradientLike


class Iterated(nn.Module):
    r"""A network T from fields to fields of the same shape, iterated as a whole from x:

    .. math:: u_0 = x, \qquad u_{k+1} = a \, u_k + (1 - a) \, T(u_k), \qquad y = u_K

    A training loss is that of the last iterate. The paper (https://arxiv.org/abs/2310.01618) reconstructs
    masked images in this way, with a = 1/2. `PicardViT` iterates the tokens between embedding and
    decoding instead.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output, as many.
        net: T, a config as for ``neuralop.get_model``, or a module.
        steps: K.
        smoothing: a, at least 0 and below 1.
        gradient: gradient rule of the iteration in training; see `PicardNetwork`.

    Shapes:
        - x and the result: ``(B, in_channels, *S)``

    Example:
        >>> import torch
        >>> vit = {"model_arch": "picard_vit", "width": 8, "heads": 2, "steps": 1, "smoothing": 0.0}
        >>> Iterated(3, 3, vit, steps=2)(torch.rand(4, 3, 8, 8)).shape
        torch.Size([4, 3, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        net: Any,
        steps: int = 3,
        smoothing: float = 0.5,
        gradient: GradientLike = "unrolled",
    ) -> None:
        super().__init__()
        if in_channels != out_channels:
            wanted, got = "as many channels of x as of the output", f"{in_channels} and {out_channels}"
            raise ValueError(expected(wanted, got, "picard_vit, which iterates its tokens"))
        self.in_channels, self.out_channels = in_channels, out_channels
        block = build_model(net, in_channels, out_channels)
        self.network = PicardNetwork(block, smoothing=smoothing, steps=steps, gradient=gradient)

    def forward(self, x: Tensor) -> Tensor:
        """The last iterate."""
        answer: Tensor = self.network(x)
        return answer

    def solve(self, x: Tensor, **options: Any) -> PicardSolution:
        """Iterate to a tolerance, with the options of `PicardNetwork.solve`."""
        return self.network.solve(x, **options)


MODELS.register("iterated", Iterated)
