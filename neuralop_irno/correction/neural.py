"""neuraloperator's models as corrections, by their own names and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuralop_irno.correction.correction import Correction
from neuralop_irno.correction.join import WithHead
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import expected
from neuralop_irno.host import build_model
from neuralop_irno.registry import CORRECTIONS, MODELS

UNFIT = frozenset({"uqno", "fnogno", "irno", "wdsr", "fno2d_sr", "hinote"})
"""Models that cannot be a correction: two answers, two kinds of domain, a refiner, a finer grid."""


def neural_correction(arch: str, in_channels: int, out_channels: int, **options: Any) -> Correction:
    """A neuraloperator model of x and h joined, under a pointwise head that starts at zero.

    Args:
        arch: neuraloperator's name for the model.
        in_channels: channels of x.
        out_channels: channels of h.
        options: the model's own, but for its channels.
    """
    if arch == "gino":
        return OnPointsGINO(in_channels, out_channels, **options)
    joined = in_channels + out_channels
    module = build_model({"model_arch": arch, **options}, joined, out_channels)
    features = out_channels
    if arch == "codano":  # every channel is a variable of its own
        features = joined * module.output_variable_codimension
    correction = WithHead(module, features, out_channels)
    correction.in_channels = in_channels
    return correction


class PointInput(NamedTuple):
    """Input values and coordinates, one row a node."""

    x: Tensor
    pos: Tensor
    points: int


class OnPointsGINO(Correction):
    """GINO from the nodes of h to the nodes of h, through a latent grid over their bounding box.

    All samples of a batch share one geometry, as GINO demands.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        latent: points of the latent grid along each axis.
        options: GINO's own, but for its channels.

    Shapes:
        - x: ``(N, in_channels)``; h and the update: ``(N, out_channels)``
    """

    def __init__(self, in_channels: int, out_channels: int, latent: int = 8, **options: Any) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        joined = in_channels + out_channels
        # Its compiled extras are slower to come by than to do without, and forbid forward-mode AD.
        options = {"gno_use_open3d": False, "gno_use_torch_scatter": False, **options}
        options.setdefault("fno_in_channels", joined)
        self.latent = latent
        self.head = WithHead(
            build_model({"model_arch": "gino", **options}, joined, out_channels), out_channels, out_channels
        )

    def prepare(self, x: Tensor, domain: Domain) -> PointInput:
        if not isinstance(domain, GraphDomain) or domain.pos is None:
            raise ValueError(expected("a field on points with coordinates", "a grid", "unet or fno"))
        return PointInput(x, domain.pos, len(x) // domain.samples)

    def forward(self, x: PointInput, h: Tensor) -> Tensor:
        geometry = x.pos[: x.points]
        low, high = geometry.amin(0), geometry.amax(0)
        ticks = [torch.linspace(0, 1, self.latent, device=h.device)] * geometry.shape[1]
        unit = torch.stack(torch.meshgrid(*ticks, indexing="ij"), -1)
        joined = torch.cat([x.x, h], 1).unflatten(0, (-1, x.points))
        features = self.head.module(
            input_geom=geometry[None],
            latent_queries=(low + unit * (high - low))[None],
            output_queries=geometry[None],
            x=joined,
        )
        update: Tensor = self.head.head(features).flatten(0, 1)
        return update


def _neural_corrections() -> Mapping[str, Callable[..., Any]]:
    return {arch: partial(neural_correction, arch) for arch in MODELS.names() if arch not in UNFIT}


CORRECTIONS.also_from(_neural_corrections)
