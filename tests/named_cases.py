"""Every registered base and correction at its smallest size, with the data that it fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from neuralop_irno.config import Experiment, experiment
from neuralop_irno.data.fields import FieldDataset, Splits
from neuralop_irno.registry import DATASETS, MODELS

FNO = {"n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}
CODANO = {
    "output_variable_codimension": 1, "hidden_variable_codimension": 2, "lifting_channels": 4,
    "projection_channels": 4, "n_layers": 1, "n_heads": [1], "n_modes": [[4, 4]],
    "attention_scaling_factors": [1], "per_layer_scaling_factors": [[1, 1]],
}  # fmt: skip
UNO = {
    "hidden_channels": 4, "lifting_channels": 4, "projection_channels": 4, "n_layers": 3,
    "uno_out_channels": [4, 4, 4], "uno_n_modes": [[4, 4], [4, 4], [4, 4]],
    "uno_scalings": [[0.5, 0.5], [1, 1], [2, 2]], "channel_mlp_skip": "linear",
}  # fmt: skip
GINO = {
    "gno_coord_dim": 2, "in_gno_radius": 0.9, "out_gno_radius": 0.9, "fno_n_modes": [2, 2],
    "fno_hidden_channels": 4, "fno_n_layers": 1,
}  # fmt: skip
FNOGNO = {
    "gno_coord_dim": 2, "gno_radius": 0.9, "fno_n_modes": [2, 2], "fno_hidden_channels": 4, "fno_n_layers": 1,
    "gno_use_open3d": False, "gno_use_torch_scatter": False,
}  # fmt: skip
RIGNO = {"width": 4, "steps": 1, "subsample": 2.0, "levels": 1}
SILU = {"function": "torch.nn.functional.silu"}


@DATASETS.register("every_name_on_a_grid")
def grid(finer: int = 1, inputs: int = 2, train: int = 4) -> Splits:
    """A few fields of 8 by 8 cells, and targets on a grid that may be finer."""
    draw = torch.Generator().manual_seed(0)

    def fields(n: int) -> FieldDataset:
        y = torch.randn(n, 2, 8 * finer, 8 * finer, generator=draw)
        return FieldDataset(torch.randn(n, inputs, 8, 8, generator=draw), y)

    return {split: fields(n) for split, n in (("train", train), ("valid", 2), ("test", 2))}


class PointNet(torch.nn.Module):
    """A network on points by name: x are coordinates and u is a field."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.layer = torch.nn.Linear(in_channels + 2, out_channels)

    def forward(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.cat([x, u], -1))


POINT_NET = "every_name_point_net"
MODELS.register(POINT_NET, PointNet)
GRID, FINER = {"name": "every_name_on_a_grid"}, {"name": "every_name_on_a_grid", "finer": 2}
MESHES = {"name": "waves", "samples": [2, 1, 1], "spacing": 0.3, "holes": 1}


@dataclass(frozen=True)
class Case:
    """A part's options, the data that it fits, in what words it is refused, and what its refiner needs."""

    options: dict[str, Any]
    data: dict[str, Any]
    refused: str | None = None
    model: dict[str, Any] = field(default_factory=dict)


ON_GRIDS: dict[str, dict[str, Any]] = {
    "anie": {"frames": 2, "width": 4, "heads": 1, "steps": 2},
    "codano": CODANO,
    "deeponet": {"sensors": 4, "functions": 4, "width": 8, "depth": 1},
    "fno": {**FNO, "non_linearity": SILU},
    "lsm": {"width": 4, "levels": 1, "tokens": 2, "basis": 2, "heads": 2},
    "multionet": {"sensors": 4, "functions": 4, "depth": 1},
    "picard_vit": {"width": 4, "heads": 1, "steps": 2},
    "resunet_hfs": {"features": [4, 4], "bottleneck": 4},
    "tfno": {**FNO, "rank": 0.5},
    "uno": UNO,
    "well_fno": {"modes": 4, "width": 4},
    "well_tfno": {"modes": 4, "width": 4},
}
ON_GRAPHS: dict[str, dict[str, Any]] = {
    "gnn_stack": {"width": 4, "layers": 1},
    "itergnn": {"width": 4, "steps": 2},
    "pign": {"conv": "sage", "width": 4, "steps": 2},
}
ANSWER_FINER: dict[str, dict[str, Any]] = {
    "fno2d_sr": {"factor": 2, "modes": 3, "width": 4, "layers": 2},
    "hinote": {"factor": 2, "features": 4, "width": 4, "heads": 2},
    "wdsr": {"factor": 2, "width": 4, "blocks": 1},
}
ITERATED = {"net": {"model_arch": "picard_vit", "width": 4, "heads": 1, "steps": 1}, "steps": 2}
UNET = {"name": "unet", "width": 4, "depth": 0}

BASES: dict[str, Case] = {
    **{name: Case(options, GRID) for name, options in ON_GRIDS.items()},
    **{name: Case(options, MESHES) for name, options in ON_GRAPHS.items()},
    **{name: Case(options, FINER) for name, options in ANSWER_FINER.items()},
    "mgno": Case({"width": 4, "layers": 1, "levels": 1}, GRID),
    "rigno": Case({**RIGNO, "time": False}, MESHES),
    "transolver": Case({"width": 4, "layers": 1, "heads": 2, "slices": 2}, MESHES),
    "iterated": Case(ITERATED, GRID),
    "codano": Case(CODANO, GRID, model={"in_channels": 2, "out_channels": 2}),
    "irno": Case({"base": {"model_arch": "uno", **UNO}, "correction": UNET, "steps": 1}, GRID),
    "graphs": Case({"net": {"model_arch": "gnn_stack", "width": 4}}, MESHES),
    "points": Case({"net": {"model_arch": POINT_NET}, "fields": "u", "pos": "x"}, MESHES),
    "gino": Case(GINO, MESHES, refused="a call with input_geom, latent_queries, output_queries"),
    "fnogno": Case(FNOGNO, MESHES, refused="a call with in_p, out_p, f"),
    "uqno": Case({"base_model": {"model_arch": "fno", **FNO}}, GRID),
    "adapted": Case({"net": {"model_arch": "fno", **FNO}, "kind": "frequency", "parameters": 880}, GRID),
    "widened": Case({"net": {"model_arch": "fno", **FNO}, "shape": [6, 6]}, GRID),
}
CORRECTED: dict[str, Case] = {
    "adapted": Case({"net": {"model_arch": "fno", **FNO}, "kind": "frequency", "parameters": 880}, GRID),
    "widened": Case({"net": {"model_arch": "fno", **FNO}, "shape": [6, 6]}, GRID),
    **{name: Case(options, GRID) for name, options in ON_GRIDS.items()},
    **{name: Case(options, MESHES) for name, options in ON_GRAPHS.items()},
    "iterated": Case(ITERATED, GRID, refused="as many channels of x as of the output"),
    "unet": Case({"width": 4, "depth": 0}, GRID),
    "public_unet": Case({"width": 4, "depth": 1}, GRID),
    "residual_unet": Case({"width": 4, "depth": 1}, GRID),
    "mgno": Case({"width": 4, "layers": 1, "levels": 1}, GRID),
    "bounded": Case({"correction": {**UNET, "norm": "none"}}, GRID),
    "local_no": Case({"width": 4, "layers": 1, "radius": 0.4, "rings": 1}, GRID),
    "proximal": Case({"width": 4}, GRID),
    "untied": Case({"correction": UNET, "stages": 2}, GRID),
    "denoiser": Case({"correction": UNET, "levels": 2}, GRID, model={"gradient": "unrolled"}),
    "velocity": Case({"correction": UNET, "levels": 2}, GRID, model={"gradient": "from_path"}),
    "rigno": Case(RIGNO, MESHES),
    "meshgraph": Case({"width": 4, "steps": 1}, MESHES),
    "gino": Case({**GINO, "latent": 3}, MESHES),
}
if "sfno" in MODELS.names():
    BASES["sfno"] = CORRECTED["sfno"] = Case(FNO, GRID)
PYG: dict[str, Case] = {
    "GCN": Case({"hidden_channels": 4, "act": SILU}, MESHES),
    "GraphSAGE": Case({"hidden_channels": 4, "num_layers": 1}, MESHES),
    "GIN": Case({"hidden_channels": 4}, MESHES),
    "GAT": Case({"hidden_channels": 4, "heads": 2}, MESHES),
    "PNA": Case({"hidden_channels": 4, "deg": [0, 0, 1, 4, 9, 2]}, MESHES),
    "EdgeCNN": Case({"hidden_channels": 4}, MESHES),
    "GraphUNet": Case({"hidden_channels": 4}, MESHES),
    "PMLP": Case({"hidden_channels": 4}, MESHES),
    "SGFormer": Case({"hidden_channels": 4}, MESHES),
    "Polynormer": Case({"hidden_channels": 4, "local_layers": 1}, MESHES),
    "LINKX": Case({}, MESHES, refused="which learns a vector for each node of one graph"),
    "ARLinkPredictor": Case({}, MESHES, refused="which answers for pairs of nodes"),
    "AttentiveFP": Case({}, MESHES, refused="which answers for whole graphs"),
    "NeuralFingerprint": Case({}, MESHES, refused="which answers for whole graphs"),
}
CORRECTED |= {f"pyg:{name}": case for name, case in PYG.items()}


def around(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """A base and a correction that fit the data of a case."""
    if case.data["name"] == MESHES["name"]:
        return {"model_arch": "gnn_stack", **ON_GRAPHS["gnn_stack"]}, {"name": "meshgraph", "width": 4}
    return {"model_arch": "fno", **FNO}, UNET


def an_experiment(base: Any, correction: Any, case: Case, epochs: int = 1) -> Experiment:
    return experiment(
        {
            "data": case.data,
            "model": {"base": base, "correction": correction, "steps": 2, **case.model},
            "training": {"epochs": epochs, "batch_size": 2, "precision": "float32"},
        }
    )
