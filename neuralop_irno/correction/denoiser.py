"""A correction conditioned on the noise level: PDE-Refiner's network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuralop_irno.correction.correction import DEFAULT_CORRECTION, Correction
from neuralop_irno.correction.from_module import build_inner
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.domain.domain import Domain
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS


class NoisyInput(NamedTuple):
    """The input x and its domain."""

    x: Tensor
    domain: Domain


class Denoiser(Correction):
    """Phi_k(x, h): one network for all noise levels, with the level as input.

    Level k is step k of the iteration. It is passed to the network as a one-hot code in further channels of
    x, one per level, so that the first layer learns an offset for each level. Later steps use the last level.
    Paper: PDE-Refiner, https://arxiv.org/abs/2308.05732.

    Args:
        correction: the network, built for the channels of x plus one per level.
        levels: number of noise levels.
    """

    stepwise = True
    printed = ("levels",)
    subject = "noise level of a denoiser"

    def __init__(self, correction: Correction, levels: int) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(expected("levels >= 1", levels, "levels=3"))
        self.correction, self.levels = correction, levels
        self.periodic, self.out_channels = correction.periodic, correction.out_channels
        self.resolution_free, self.alignment = correction.resolution_free, correction.alignment

    @property
    def receptive_field(self) -> ReceptiveField:
        return self.correction.receptive_field

    def prepare(self, x: Tensor, domain: Domain) -> NoisyInput:
        return NoisyInput(x, domain)

    def forward(self, x: NoisyInput, h: Tensor, taken: Tensor | None = None) -> Tensor:
        if taken is None:
            hint = "fixed_point=0, contraction=0 and monotone=0: there is no fixed point"
            raise ValueError(expected(f"the {self.subject}", "none", hint))
        shape = (len(x.x), 1, *x.x.shape[2:])
        code = self.code(taken, x.x).unbind(1)
        channels = [x.domain.spread(part, x.x).expand(shape) for part in code]
        joined = torch.cat([x.x, *channels], 1)
        update: Tensor = self.correction(self.correction.prepare(joined, x.domain), h)
        return update

    def code(self, taken: Tensor, like: Tensor) -> Tensor:
        """The further channels of each sample, ``(samples, channels)``, in the precision of a field."""
        return torch.nn.functional.one_hot(taken.clamp(max=self.levels - 1), self.levels).to(like.dtype)


@CORRECTIONS.register("denoiser")
def denoiser(
    in_channels: int,
    out_channels: int,
    dim: int | None = None,
    correction: Any = DEFAULT_CORRECTION,
    levels: int = 3,
    padding: str | Sequence[str] | None = None,
) -> Denoiser:
    """The correction ``denoiser``: `Denoiser` around a correction from a config.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions, if the correction has that option.
        correction: the network, name or config.
        levels: number of noise levels, K.
        padding: padding of the network, if it has that option and its config does not set it.
    """
    return Denoiser(build_inner(correction, in_channels + levels, out_channels, dim, padding), levels)
