"""RIGNO as a correction: message passing between the nodes of a mesh and a coarser set of regions."""

from __future__ import annotations

from torch import Tensor, nn

from neuralop_irno.correction.correction import zeroed
from neuralop_irno.correction.graph import ConditionedGraphCorrection, coordinates
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import expected
from neuralop_irno.models import RIGNO
from neuralop_irno.models.rigno.geometry import Bounds
from neuralop_irno.registry import CORRECTIONS


@CORRECTIONS.register("rigno")
class RegionCorrection(ConditionedGraphCorrection):
    """`RIGNO` (https://arxiv.org/abs/2501.19205), followed by a linear layer that starts at zero.

    It needs coordinates but no edges: it builds its own graphs, once per mesh.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: coordinates per node.
        width: width of all hidden layers.
        steps: rounds of messages between regions.
        periodic: whether the domain is a torus; ``domain`` then gives its size.
        domain: the box (lo, hi), as numbers or one value per axis; on an open domain the default is the
            bounding box of the points.
        frequencies: number of frequencies that encode the coordinates of a periodic domain. With 0, Phi
            commutes with translations.
        edge_masking: share of the edges that is left out in training.
        subsample: nodes per region.
        levels: number of levels of regions.
        spacing: the smallest distance between regions, and the unit of lengths; ``subsample`` then gives the
            regions of the next level only. Regions are thus of one size on all meshes.
        is_periodic: the old name of ``periodic``, for configs of older versions.
        box: the old name of ``domain``.
        scalars: scalars per sample, which scale and shift its layers after their norms. A refiner with
            ``condition`` fills it in.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 64,
        steps: int = 6,
        periodic: bool = False,
        domain: Bounds | None = None,
        frequencies: int = 4,
        edge_masking: float = 0.0,
        subsample: float = 4.0,
        levels: int = 4,
        is_periodic: bool | None = None,
        box: Bounds | None = None,
        spacing: float | None = None,
        scalars: int = 0,
    ) -> None:
        super().__init__()
        if (periodic and is_periodic is not None) or (domain is not None and box is not None):
            got = "periodic and is_periodic, or domain and box"
            wanted = "an option under one of its names"
            raise ValueError(expected(wanted, got, "periodic=... and domain=... only"))
        self.in_channels: int = in_channels
        self.out_channels: int = out_channels
        self.module = RIGNO(
            in_channels + out_channels,
            width,
            dim=dim,
            periodic=periodic or bool(is_periodic),
            domain=box if domain is None else domain,
            frequencies=frequencies,
            width=width,
            steps=steps,
            time=False,
            edge_masking=edge_masking,
            subsample=subsample,
            levels=levels,
            spacing=spacing,
            scalars=scalars,
        )
        self.scalars = scalars
        self.head = zeroed(nn.Linear(width, out_channels))

    def update(self, joined: Tensor, domain: GraphDomain, scalars: Tensor | None = None) -> Tensor:
        pos = coordinates(domain, self.module.dim)
        result: Tensor = self.head(self.module(joined, pos, domain.batch, scalars=scalars))
        return result
