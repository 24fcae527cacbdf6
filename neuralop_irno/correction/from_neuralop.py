"""neuraloperator's models as corrections, under neuraloperator's names and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neuralop_irno._neuralop import build_model
from neuralop_irno.correction.correction import Correction
from neuralop_irno.correction.from_module import WithHead
from neuralop_irno.correction.graph import GraphCorrection, HeadedOnGraph, coordinates, on_graphs
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.domain.grid import points_of_axes
from neuralop_irno.domain.spacing import rows_of
from neuralop_irno.errors import expected
from neuralop_irno.registry import CORRECTIONS, MODELS

NOT_CORRECTIONS = frozenset({
    "uqno", "fnogno", "irno", "wdsr", "fno2d_sr", "hinote", "points", "graphs", "transolver", "rno", "otno",
    "poseidon", "pde_transformer",
})  # fmt: skip
"""Models that cannot be a correction: they return two fields, map between kinds of domain, are a refiner or
an adapter, need coordinates, answer on a finer grid, or are called in another way."""


OPERATORS = frozenset({"fno", "tfno", "uno", "codano", "well_fno", "well_tfno"})
"""Models that may be evaluated on any grid of one box."""


def neural_correction(arch: str, in_channels: int, out_channels: int, **options: Any) -> Correction:
    """A neuraloperator model of x and h joined, followed by a pointwise layer that starts at zero.

    Args:
        arch: neuraloperator's name of the model.
        in_channels: channels of x.
        out_channels: channels of h.
        options: the model's options, except its channels.
    """
    joined = in_channels + out_channels
    module = build_model({"model_arch": arch, **options}, joined, out_channels)
    if on_graphs(module):
        return HeadedOnGraph(module, in_channels, out_channels, out_channels)
    features = out_channels
    if arch == "codano":  # every channel is a variable of its own
        features = joined * module.output_variable_codimension
    correction = WithHead(module, features, out_channels)
    correction.in_channels = in_channels
    correction.resolution_free = arch in OPERATORS
    return correction


class OnPointsGINO(GraphCorrection):
    """GINO from the nodes of h to the nodes of h, through a latent grid over their bounding box.

    Samples that share one geometry are evaluated together, others one by one. Paper:
    https://arxiv.org/abs/2309.00583.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: coordinates per node.
        latent: points of the latent grid along each axis.
        options: GINO's options, except its channels. The radii are in units of the coordinates; the default,
            ``2 / (latent - 1)``, reaches the nearest latent points if the box has size 1.

    Shapes:
        - x: ``(N, in_channels)``; h and the update: ``(N, out_channels)``
    """

    def __init__(
        self, in_channels: int, out_channels: int, dim: int = 2, latent: int = 8, **options: Any
    ) -> None:
        super().__init__()
        if latent < 2:
            raise ValueError(expected("latent >= 2 points along each axis", latent, "latent=8"))
        self.in_channels, self.out_channels = in_channels, out_channels
        joined = in_channels + out_channels
        self.dim = int(options.setdefault("gno_coord_dim", dim))
        reach = 2.0 / (latent - 1)
        options = {
            # Optional compiled packages: hard to install, and without forward-mode derivatives.
            "gno_use_open3d": False,
            "gno_use_torch_scatter": False,
            "fno_in_channels": joined,
            "fno_n_modes": [latent] * self.dim,
            "in_gno_radius": reach,
            "out_gno_radius": reach,
            **options,
        }
        self.latent = latent
        self.head = WithHead(
            build_model({"model_arch": "gino", **options}, joined, out_channels), out_channels, out_channels
        )

    def update(self, joined: Tensor, domain: GraphDomain) -> Tensor:
        rows = rows_of(domain.batch, domain.samples)
        order, pos = torch.cat(rows), coordinates(domain, self.dim)
        values, places = ([part[own] for own in rows] for part in (joined, pos))
        if all(torch.equal(place, places[0]) for place in places):
            answers = list(self._at(places[0], torch.stack(values)))
        else:
            answers = [self._at(*sample)[0] for sample in zip(places, (v[None] for v in values), strict=True)]
        return torch.cat(answers)[order.argsort()]

    def _at(self, geometry: Tensor, joined: Tensor) -> Tensor:
        """The updates of samples on one geometry ``(n, d)``, ``(B, n, out_channels)``."""
        low, high = geometry.amin(0), geometry.amax(0)
        ticks = [torch.linspace(0, 1, self.latent, device=geometry.device)] * geometry.shape[1]
        features = self.head.module(
            input_geom=geometry[None],
            latent_queries=(low + points_of_axes(ticks) * (high - low))[None],
            output_queries=geometry[None],
            x=joined,
        )
        update: Tensor = self.head.head(features)
        return update


def _neural_corrections() -> Mapping[str, Callable[..., Any]]:
    named = {arch: partial(neural_correction, arch) for arch in MODELS.names() if arch not in NOT_CORRECTIONS}
    return {**named, "gino": OnPointsGINO}


CORRECTIONS.also_from(_neural_corrections)
