"""A base that answers in patches, each with its surroundings on coarser grids (MG-TFNO)."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

from torch import Tensor, nn

from neuralop_irno._neuralop import multigrid_patching
from neuralop_irno.base.sizes import stated_sizes
from neuralop_irno.errors import expected


class MultigridPatches(nn.Module):
    """neuraloperator's multigrid patching around a network, as a base with the call of the network.

    The periodic plane is cut into ``2**levels`` patches along each axis. The network sees a patch with a
    margin and, as further channels, its surroundings on ``levels`` coarser grids of as many points; its
    answers are joined. Paper: https://arxiv.org/abs/2310.00120.

    Args:
        network: takes ``(levels + 1) * channels`` of x.
        levels: at least 1.
        padding: width of the margin, as a fraction of the field's.

    Shapes:
        - x: ``(B, C, H, W)``, with H and W multiples of ``2**levels``
        - returns: ``(B, out_channels, H, W)``

    Example:
        >>> import torch
        >>> base = MultigridPatches(nn.Conv2d(2, 1, 1), levels=1)
        >>> base(torch.randn(1, 1, 8, 8)).shape, base.in_channels
        (torch.Size([1, 1, 8, 8]), 1)
    """

    def __init__(self, network: nn.Module, levels: int = 1, padding: float = 0.0) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(expected("levels >= 1", levels, "levels=1"))
        if not 0 <= padding < 0.5:
            raise ValueError(expected("padding from 0 to below 0.5", padding, "padding=0.1"))
        self.levels, self.padding = levels, padding
        with redirect_stdout(StringIO()):  # it prints its options
            self.patching = multigrid_patching()(network, levels=levels, padding_fraction=padding)
        sizes = stated_sizes(network)
        self.in_channels = None if sizes.in_channels is None else sizes.in_channels // (levels + 1)
        self.out_channels = sizes.out_channels

    def forward(self, x: Tensor) -> Tensor:
        parts = 2**self.levels
        if x.dim() != 4 or any(n % parts for n in x.shape[2:]):
            wanted = f"x of shape (B, C, H, W) with sides that {parts} divides"
            raise ValueError(expected(wanted, tuple(x.shape), "fewer levels"))
        try:
            patches, _ = self.patching.patch(x, x)
        except RuntimeError as error:  # it cannot cut small fields at several levels
            wanted = f"a field that is large enough for patches at {self.levels} levels"
            raise ValueError(expected(wanted, tuple(x.shape), "fewer levels, or a finer field")) from error
        answer: Tensor = self.patching.unpatch(self.patching.model(patches), x, evaluation=True)[0]
        return answer
