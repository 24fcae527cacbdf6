"""What graph networks and their refiners compute: `python graph_numbers.py FILE [--hide]`.

Answers, losses and gradients are written to a file of tensors. With ``--hide`` torch-scatter is not found.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

import torch
from torch import Tensor, nn

OPTIONAL = "torch_scatter"


class Hiding(PathFinder):
    """Finds every module but those of one package, as if it were not installed."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        hidden = fullname.partition(".")[0] == OPTIONAL
        return None if hidden else super().find_spec(fullname, path, target)


def networks() -> dict[str, nn.Module]:
    """Graph networks as bases, by name; between them they sum, average, take maxima and weigh by softmax."""
    from torch_geometric.nn import GAT, GCN, GraphSAGE

    from neuralop_irno.models import RIGNO

    return {
        "GCN": GCN(2, 8, 2, 2),
        "GraphSAGE, max": GraphSAGE(2, 8, 2, 2, aggr="max"),
        "GraphSAGE, softmax": GraphSAGE(2, 8, 2, 2, aggr="softmax"),
        "GAT": GAT(2, 8, 2, 2),
        "RIGNO": RIGNO(2, 2, width=8, steps=2, time=False, edge_masking=0.0),
    }


def numbers() -> Iterator[tuple[str, Tensor]]:
    """Everything that is compared, by name."""
    from torch_geometric.data import Batch, Data

    from neuralop_irno import IterativeRefiner, RefinementLoss

    def graph(nodes: int) -> Data:
        pos = torch.rand(nodes, 2)
        near = ((torch.cdist(pos, pos) < 0.4) & ~torch.eye(nodes, dtype=torch.bool)).nonzero().T
        return Data(x=torch.randn(nodes, 2), y=torch.randn(nodes, 2), pos=pos, edge_index=near)

    batch = Batch.from_data_list([graph(40), graph(25)])
    for name, network in networks().items():
        for correction in ("meshgraph", "pyg:GAT", {"name": "rigno", "width": 8, "steps": 1}):
            model = IterativeRefiner(
                network, correction, steps=2, alpha=0.3, in_channels=2, out_channels=2,
                gradient="unrolled", freeze_base=False,
            )  # fmt: skip
            for parameter in model.correction.parameters():
                nn.init.normal_(parameter, std=0.1)
            words = f"{name} with {correction}"
            solution = model.eval().solve(batch, solver="anderson", rtol=1e-3, max_steps=9)
            yield f"{words}, solved", solution.value
            loss = RefinementLoss(spectral=1.0, fixed_point=0.01)
            value = loss(model.train()(batch, y=batch.y), batch.y)
            yield f"{words}, loss", value.detach()
            yield f"{words}, gradients", gradients(value, model)
    yield from on_point_clouds()


def on_point_clouds() -> Iterator[tuple[str, Tensor]]:
    """neuraloperator's own use of it, in the neighbourhood sums of GINO."""
    from neuralop.models import GINO

    model = GINO(
        in_channels=2, out_channels=2, gno_coord_dim=2, fno_in_channels=2, fno_n_modes=(2, 2),
        fno_hidden_channels=4, fno_n_layers=1, in_gno_radius=0.9, out_gno_radius=0.9,
        gno_use_open3d=False, gno_use_torch_scatter=True,
    )  # fmt: skip
    line = torch.linspace(0, 1, 4)
    corners = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)[None]
    points = torch.rand(1, 10, 2)
    answer = model(points, corners, points, torch.randn(1, 10, 2))
    yield "GINO", answer.detach()
    yield "GINO, gradients", gradients(answer.square().sum(), model)


def gradients(value: Tensor, model: nn.Module) -> Tensor:
    """Of all parameters, one after the other."""
    model.zero_grad()
    value.backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.cat([(torch.view_as_real(g) if g.is_complex() else g).flatten() for g in found])


def main(file: str, *words: str) -> None:
    if "--hide" in words:
        sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with warnings.catch_warnings():  # PyTorch Geometric uses torch.jit as it is imported
        warnings.simplefilter("ignore")
        found = dict(numbers())
    found["loaded"] = torch.tensor(OPTIONAL in sys.modules)
    torch.save(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
