"""A correction bounded as a whole stretches no distance by more than its bound, whatever its weights."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.correction.correction import Correction
from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.padding import MODES
from neuralop_irno.lipschitz.norms import operator_norm_of
from neuralop_irno.models.multigrid import Prolongation, Stencil
from neuralop_irno.registry import CORRECTIONS

UNET = {"name": "unet", "width": 4, "depth": 2, "norm": "none"}
FNO = {"name": "fno", "n_modes": [4], "hidden_channels": 4, "n_layers": 2}
ON_GRIDS: dict[str, dict[str, Any]] = {
    "unet": UNET,
    "unet of pairs": {**UNET, "blur": False},
    "mgno": {"name": "mgno", "width": 4, "layers": 2, "levels": 2},
    "W cycle": {"name": "mgno", "width": 4, "layers": 1, "levels": 2, "cycle": "W"},
    "separable": {"name": "mgno", "width": 4, "layers": 1, "levels": 2, "growth": 0.7, "separable": True},
    "fno": FNO,
    "fno, linear skips": {**FNO, "channel_mlp_skip": "linear", "fno_skip": "soft-gating"},
    "tfno": {**FNO, "name": "tfno", "rank": 0.5},
}
ON_GRAPHS: dict[str, dict[str, Any]] = {
    "pyg:GraphSAGE": {"name": "pyg:GraphSAGE", "hidden_channels": 4},
    "pyg:GCN": {"name": "pyg:GCN", "hidden_channels": 4},
}
SIZES = {1: (11,), 2: (6, 7), 3: (4, 3, 5)}
BOUND = 0.5


def built(config: dict[str, Any], scale: float, **sizes: Any) -> Correction:
    """A correction in double precision with random weights, scaled up."""
    if "n_modes" in config:
        config = {**config, "n_modes": config["n_modes"] * sizes.get("dim", 1)}
    words = {"name": "bounded", "whole": True, "bound": BOUND, "correction": config}
    phi = CORRECTIONS.build(words, in_channels=2, out_channels=2, **sizes).double()
    with torch.no_grad():
        for parameter in phi.parameters():
            if parameter.is_complex():  # which `double` leaves as they are
                parameter.data = parameter.data.to(torch.complex128)
            parameter.copy_(scale * torch.randn_like(parameter))
    return phi.eval()


def largest_stretch(phi: Correction, x: Tensor, h: Tensor, domain: Domain) -> float:
    """The largest singular value of dPhi/dh at some states, and the ratio of distances between others."""
    prepared = phi.prepare(x, domain)
    found = 0.0
    for way in (1e-3, 1.0, 30.0):
        other = h + way * torch.randn_like(h)
        change = (phi(prepared, other) - phi(prepared, h)).norm() / (other - h).norm()
        found = max(found, change.item())
    jacobian = torch.autograd.functional.jacobian(lambda at: phi(prepared, at), h)
    return max(found, torch.linalg.matrix_norm(jacobian.reshape(h.numel(), -1), 2).item())


@pytest.mark.parametrize(("dim", "padding"), [*itertools.product((1, 2), MODES), (3, "circular")])
@pytest.mark.parametrize("name", ON_GRIDS)
@pytest.mark.parametrize("scale", [0.3, 100.0])
def test_on_grids_no_distance_is_stretched_beyond_the_bound(
    name: str, dim: int, padding: str, scale: float
) -> None:
    phi = built(ON_GRIDS[name], scale, dim=dim, padding=padding)
    x, h = torch.randn(2, 1, 2, *SIZES[dim], dtype=torch.float64)
    # Spectral convolutions compute in complex64, whatever the precision of their field.
    rounding = 1e-5 if "fno" in name else 1e-12
    assert 0 < largest_stretch(phi, x, h, GridDomain.of(x)) <= BOUND * (1 + rounding)


def graphs(samples: int) -> GraphDomain:
    """Graphs with directed edges, loops, doubled edges and a node without edges."""
    one = torch.tensor([[0, 1, 2, 2, 3, 3, 4, 0, 0], [1, 0, 1, 3, 1, 1, 4, 4, 3]])
    edges = torch.cat([one + 6 * place for place in range(samples)], 1)
    return GraphDomain(torch.arange(samples).repeat_interleave(6), samples, edges=Edges(edges))


@pytest.mark.parametrize("name", ON_GRAPHS)
@pytest.mark.parametrize("scale", [0.3, 100.0])
def test_on_graphs_no_distance_is_stretched_beyond_the_bound(name: str, scale: float) -> None:
    phi = built(ON_GRAPHS[name], scale)
    domain = graphs(1)
    x, h = torch.randn(2, 6, 2, dtype=torch.float64)
    assert 0 < largest_stretch(phi, x, h, domain) <= BOUND * (1 + 1e-12)
    both = torch.cat([x, h]), torch.cat([h, x])
    together = phi(phi.prepare(both[0], graphs(2)), both[1])
    torch.testing.assert_close(together[:6], phi(phi.prepare(x, domain), h))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dim", [1, 2])
def test_the_norm_of_a_stencil_is_at_most_what_is_computed(mode: str, dim: int) -> None:
    for n in range(1, 7):
        shape = (n, 3)[:dim]
        coarse = tuple((size + 1) // 2 for size in shape)
        spread = Prolongation(2, [mode] * dim).double()
        for layer, size in (
            (Stencil(2, [mode] * dim).double(), shape),
            (Stencil(2, [mode] * dim, stride=2).double(), shape),
            (Stencil(2, [mode] * dim, groups=2).double(), shape),
            (spread, coarse),
        ):
            field = torch.zeros(1, 2, *size, dtype=torch.float64)
            call = partial(spread, shape=shape) if layer is spread else layer
            dense = torch.autograd.functional.jacobian(call, field)
            matrix = dense.flatten(field.dim()).flatten(0, field.dim() - 1)
            assert torch.linalg.matrix_norm(matrix, 2) <= operator_norm_of(layer).of(layer) * (1 + 1e-12)


@pytest.mark.parametrize("name", ON_GRIDS)
def test_within_the_bound_nothing_changes_and_training_can_begin(name: str) -> None:
    config = ON_GRIDS[name]
    config = {**config, "n_modes": [4, 4]} if "n_modes" in config else config
    words = {"name": "bounded", "whole": True, "correction": config}
    model = IterativeRefiner(nn.Identity(), words, in_channels=1, out_channels=1, steps=2)
    x = torch.randn(2, 1, 8, 9)
    assert torch.equal(model.eval()(x), x)
    RefinementLoss()(model.train()(x, y=x.roll(1, -1)), x.roll(1, -1)).backward()
    grads = [p.grad.abs() for p in model.correction.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert sum(grad.square().sum() for grad in grads) > 0


def test_it_is_saved_with_its_refiner(tmp_path: Path) -> None:
    words = {"name": "bounded", "whole": True, "bound": BOUND, "correction": UNET}
    base = {"model_arch": "fno", "n_modes": [2, 2], "hidden_channels": 2, "n_layers": 1}
    model = IterativeRefiner(base, words, in_channels=1, out_channels=1, steps=2).eval()
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.normal_(std=0.1)
    again = IterativeRefiner.from_checkpoint(model.save(tmp_path / "model.safetensors")).eval()
    x = torch.randn(2, 1, 8, 8)
    assert not torch.equal(model(x), model.base(x))
    assert torch.equal(again(x), model(x))


UNO = {
    "hidden_channels": 4, "n_layers": 1, "uno_out_channels": [4], "uno_n_modes": [[4, 4]],
    "uno_scalings": [[1, 1]],
}  # fmt: skip
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "meshgraph": ({}, "MeshGraph"),
    "rigno": ({}, "RegionCorrection"),
    "unet": ({}, "LayerNorm"),
    "framed": ({"name": "unet", "frame": True, "norm": "none"}, "ShiftEquivariant"),
    "local_no": ({}, "LocalNO"),
    "picard_vit": ({}, "PicardViT"),
    "pyg:GAT": ({}, "GAT"),
    "pyg:GIN": ({}, "GIN"),
    "uno": (UNO, "UNO"),
    "untied": ({"correction": UNET}, "Untied"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_without_a_known_constant_is_refused_by_its_name(name: str) -> None:
    options, layer = REFUSED[name]
    words = {"name": "bounded", "whole": True, "correction": {"name": name, **options}}
    wanted = "^expected a correction whose layers all have a known Lipschitz constant"
    with pytest.raises(TypeError, match=rf"{wanted}, got one with {layer}; try"):
        CORRECTIONS.build(words, in_channels=1, out_channels=1, dim=2)
