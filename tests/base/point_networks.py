"""Stand-ins for published networks on points, with their signatures, and refiners around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, PointOperator

B, N, D = 3, 20, 2


class Mixing(nn.Module):
    """A network of points and their mean: permutations of the points permute the answer."""

    def __init__(self, inputs: int, outputs: int = 2) -> None:
        super().__init__()
        self.own, self.mean = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def mixed(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        weight = torch.ones_like(values[..., :1]) if mask is None else mask[..., None].to(values)
        mean = (torch.where(weight > 0, values, 0)).sum(-2, keepdim=True) / weight.sum(-2, keepdim=True)
        return torch.tanh(self.own(values) + self.mean(mean))


class NeuralSolverLibrary(Mixing):
    """Signature of all 19 models of thuml/Neural-Solver-Library (models/Transolver.py): x are coordinates."""

    def forward(self, x, fx, T=None, geo=None):  # noqa: N803 - as there
        return self.mixed(torch.cat([x, fx], -1))


class PhysicsNemoTransolver(Mixing):
    """Signature of Transolver and FLARE of NVIDIA/physicsnemo (models/transolver/transolver.py)."""

    def forward(self, fx, embedding=None, time=None):
        return self.mixed(torch.cat([embedding, fx], -1))


class GeoTransolver(Mixing):
    """Signature of NVIDIA/physicsnemo's (models/geotransolver/geotransolver.py), for one input stream."""

    def forward(
        self,
        local_embedding,
        local_positions=None,
        global_embedding=None,
        geometry=None,
        time=None,
        *,
        return_embedding_states=False,
        return_point_features=False,
    ):
        return self.mixed(torch.cat([local_positions, local_embedding], -1))


class GAOT(Mixing):
    """Signature of camlab-ethz/GAOT (src/model/gaot.py)."""

    def forward(
        self,
        latent_tokens_coord,
        xcoord,
        pndata,
        query_coord=None,
        encoder_nbrs=None,
        decoder_nbrs=None,
        condition=None,
    ):
        answer = self.mixed(torch.cat([xcoord.expand(len(pndata), -1, -1), pndata], -1))
        if query_coord is None:
            return answer
        return torch.tanh(query_coord @ latent_tokens_coord.T[:, :2]) + answer.mean(1, keepdim=True)


class Masked(Mixing):
    """A network that is given a mask of its points."""

    def forward(self, pos, u, mask=None):
        return self.mixed(torch.cat([pos, u], -1), mask)


FAMILIES: dict[str, tuple[Callable[..., nn.Module], dict[str, Any], dict[str, Tensor]]] = {
    "Neural-Solver-Library": (NeuralSolverLibrary, {"fields": "fx", "pos": "x"}, {}),
    "physicsnemo": (PhysicsNemoTransolver, {"fields": "fx", "pos": "embedding"}, {}),
    "GeoTransolver": (GeoTransolver, {"fields": "local_embedding", "pos": "local_positions"}, {}),
    "GAOT": (
        GAOT,
        {"fields": "pndata", "pos": "xcoord", "queries": "query_coord"},
        {"latent_tokens_coord": torch.rand(4, D)},
    ),
    "with a mask": (Masked, {"fields": "u", "pos": "pos", "mask": "mask"}, {}),
}
SIZES = {"in_channels": 3, "out_channels": 2}
MESHGRAPH = {"name": "meshgraph", "width": 8, "steps": 1}
RIGNO = {"name": "rigno", "width": 8, "steps": 1, "levels": 1, "subsample": 2.0}


class OTNO(nn.Module):
    """Signature of neuraloperator's main (neuralop/models/otno.py): ``(1, C, s, s)`` to ``(C', n)``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x, ind_dec, **kwargs):
        return self.net(x).flatten(2)[0][:, ind_dec]


class DoMINO(Mixing):
    """Signature of NVIDIA/physicsnemo's (models/domino/model.py): one dict to a volume and a surface."""

    def forward(self, data_dict):
        places = data_dict["volume_mesh_centers"], data_dict["surface_mesh_centers"]
        fields = data_dict["pos_volume_closest"], data_dict["surface_normals"]
        volume, surface = (self.mixed(torch.cat(part, -1)) for part in zip(places, fields, strict=True))
        return volume, surface


def refiner(family: str, correction: Any = MESHGRAPH, **options: Any) -> IterativeRefiner:
    """A refiner around a family in double precision, with an update that is not zero."""
    kind, names, _ = FAMILIES[family]
    torch.manual_seed(0)
    base = PointOperator(kind(3 + D), **names)
    model = IterativeRefiner(base, correction, **{"steps": 2, "alpha": 0.5, **SIZES, **options}).double()
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def call(family: str, samples: int = B, shared: bool = False) -> dict[str, Tensor]:
    """The arguments of a call, by the names of the family."""
    _, names, others = FAMILIES[family]
    pos = torch.rand(N, D) if shared else torch.rand(samples, N, D)
    parts = {names["fields"]: torch.randn(samples, N, 3), names["pos"]: pos, **others}
    return {name: part.double() for name, part in parts.items()}


def data(family: str, samples: int = 4) -> list[dict[str, Tensor]]:
    """Samples with the names of a family, of which one is padded where it takes a mask."""
    sample, own = call(family, samples), FAMILIES[family][1]
    y, mask = torch.randn(samples, N, 2), torch.ones(samples, N, dtype=torch.bool)
    mask[1, 12:], y[1, 12:] = False, torch.nan
    if "mask" not in own:
        y = y.nan_to_num()
    return [
        {
            **{name: (part[row] if name in own.values() else part).float() for name, part in sample.items()},
            **({"mask": mask[row]} if "mask" in own else {}),
            "y": y[row],
        }
        for row in range(samples)
    ]
