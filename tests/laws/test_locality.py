"""The receptive field that a correction states: what lies outside it never changes the update."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.utils import k_hop_subgraph

from neuralop_irno import UNet
from neuralop_irno.correction.correction import Correction, FunctionCorrection
from neuralop_irno.correction.equivariant import ShiftEquivariant
from neuralop_irno.correction.receptive_field import ReceptiveField
from neuralop_irno.correction.residual import WithResidual
from neuralop_irno.correction.stepwise import Smoothed
from neuralop_irno.domain.graph import Edges, GraphDomain
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.domain.padding import MODES
from neuralop_irno.registry import CORRECTIONS

UNET = {"name": "unet", "width": 4, "depth": 1}
MGNO = {"name": "mgno", "width": 4, "layers": 1, "levels": 1}
RESIDUAL = {"name": "residual_unet", "width": 4, "depth": 1}
ON_GRIDS: dict[str, dict[str, Any]] = {
    "unet": UNET,
    "unet of pairs": {**UNET, "blur": False},
    "unet without a norm": {**UNET, "norm": "none"},
    "shallow unet": {**UNET, "depth": 0},
    "residual unet": RESIDUAL,
    "residual unet of pairs": {**RESIDUAL, "blur": False},
    "mgno": MGNO,
    "W cycle": {**MGNO, "cycle": "W"},
    "bounded": {"name": "bounded", "correction": UNET, "bound": 0.9},
    "bounded as a whole": {"name": "bounded", "correction": {**UNET, "norm": "none"}, "whole": True},
    "proximal": {"name": "proximal", "width": 4},
    "denoiser": {"name": "denoiser", "correction": UNET, "levels": 2},
    "velocity": {"name": "velocity", "correction": UNET, "levels": 2},
    "untied": {"name": "untied", "correction": UNET, "stages": 2},
}
DEEP = {
    "unet": {**UNET, "depth": 2},
    "unet of pairs": {**UNET, "depth": 2, "blur": False},
    "residual unet": {**RESIDUAL, "depth": 2},
    "residual unet of pairs": {**RESIDUAL, "depth": 2, "blur": False},
    "mgno": {**MGNO, "layers": 2, "levels": 2},
    "separable mgno": {**MGNO, "levels": 2, "separable": True},
    "W cycle": {**MGNO, "levels": 2, "cycle": "W"},
}


class Slope(Correction):
    """The residual h(i + 1) - h(i - 1) - x(i)."""

    @property
    def receptive_field(self) -> ReceptiveField:
        return 1

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return h.roll(-1, 2) - h.roll(1, 2) - x


def awake(phi: Any) -> Any:
    """The same correction with random weights in double precision."""
    for parameter in phi.parameters():
        nn.init.normal_(parameter, std=0.5)
    return phi.double().eval()


def on_grid(config: dict[str, Any], dim: int, padding: Any = "circular") -> Any:
    """A correction of a config, narrower in three dimensions, where fields have many cells."""
    inner = config.get("correction")
    own = {"padding": padding, **({"width": 2} if dim == 3 else {})}
    config = {**config, **own} if inner is None else {**config, "correction": {**inner, **own}}
    return awake(CORRECTIONS.build(config, in_channels=1, out_channels=1, dim=dim))


def updates(phi: Correction, x: Tensor, h: Tensor) -> Tensor:
    taken = (torch.zeros(len(x), dtype=torch.long),) if phi.stepwise else ()
    with torch.no_grad():
        result: Tensor = phi(phi.prepare(x, GridDomain.of(x)), h, *taken)
    return result


Place = tuple[tuple[int, ...], bool]
"""A cell, and whether x is perturbed there (or h)."""


def reached(phi: Correction, shape: tuple[int, ...], places: Sequence[Place]) -> list[list[int]]:
    """For each perturbed cell of x or h, how far from it the update changes along each axis.

    Each perturbation has a sample of its own: all of them take two evaluations.
    """
    x, h = torch.randn(2, len(places), 1, *shape, dtype=torch.float64)
    before = updates(phi, x, h)
    for sample, (cell, in_x) in enumerate(places):
        (x if in_x else h)[(sample, 0, *cell)] += 1
    after = updates(phi, x, h)
    return [
        distances(phi, shape, cell, (new != old)[0].nonzero())
        for new, old, (cell, _) in zip(after, before, places, strict=True)
    ]


def distances(phi: Correction, shape: tuple[int, ...], cell: tuple[int, ...], changed: Tensor) -> list[int]:
    """The largest distance of the changed cells from a cell, along each axis."""
    assert len(changed)
    far = []
    for axis, (size, closed) in enumerate(zip(shape, phi.periodic or (), strict=True)):
        away = (changed[:, axis] - cell[axis]).abs()
        far.append(int((torch.minimum(away, size - away) if closed else away).max()))
    return far


def larger_than_twice(field: tuple[int, ...], more: int) -> tuple[int, ...]:
    return tuple(2 * cells + more for cells in field)


@pytest.mark.parametrize(
    ("padding", "dim"), [*itertools.product([*MODES, "mixed"], (1, 2)), ("mixed", 3)], ids=str
)
@pytest.mark.parametrize("name", ON_GRIDS)
def test_on_grids_no_cell_outside_the_field_changes(name: str, padding: str, dim: int) -> None:
    modes = ("zero", "circular", "reflect")[:dim] if padding == "mixed" else (padding,) * dim
    phi = on_grid(ON_GRIDS[name], dim, modes)
    field = phi.receptive_field
    shape = larger_than_twice(field, 4)
    middle, corner = tuple(n // 2 for n in shape), (0,) * dim
    for far in reached(phi, shape, [(middle, True), (corner, False)]):
        assert all(cells <= most for cells, most in zip(far, field, strict=True)), (far, field)


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("more", [1, 2])
@pytest.mark.parametrize("name", DEEP)
def test_it_holds_at_walls_and_seams_and_is_reached(name: str, more: int, padding: str) -> None:
    """Next to both ends of a line, where an odd one has its seam; the farthest weights of MgNO are tiny."""
    phi = on_grid(DEEP[name], 1, padding)
    ((most,), (size,)) = phi.receptive_field, larger_than_twice(phi.receptive_field, more)
    far = max(reached(phi, (size,), [((cell % size,), True) for cell in range(-8, 8)]))[0]
    assert far <= most
    if padding == "circular":
        assert far >= most - (0 if "unet" in name else 4)


@pytest.mark.parametrize(
    "config",
    [
        *({**UNET, "norm": norm} for norm in ("group", "instance")),
        *({**config, "frame": True} for config in (UNET, MGNO)),
        {"name": "untied", "correction": {**UNET, "norm": "group"}},
        {"name": "fno", "n_modes": [2, 2], "hidden_channels": 2, "n_layers": 1},
        FunctionCorrection(lambda x, h: h - h.mean()),
    ],
    ids=str,
)
def test_what_may_depend_on_the_whole_grid_says_so(config: Any) -> None:
    phi = CORRECTIONS.build(config, in_channels=1, out_channels=1, dim=2)
    assert phi.receptive_field is None


def test_a_residual_and_a_smoother_widen_the_field() -> None:
    unet = UNet(2, 1, 2, width=4, depth=0)
    assert unet.receptive_field == (2, 2)
    phi = WithResidual(unet, Slope())
    assert phi.receptive_field == (3, 3)
    assert max(reached(awake(phi), (9, 9), [((4, 4), False)])[0]) == 3
    assert Smoothed(Slope(), phi).receptive_field == (3, 3)
    assert WithResidual(unet, lambda x, h: x - h).receptive_field is None
    assert ShiftEquivariant(unet).receptive_field is None


def ring(nodes: int) -> GraphDomain:
    """A directed ring with a chord."""
    at = torch.arange(nodes)
    edges = torch.cat([torch.stack([at, (at + 1) % nodes]), torch.tensor([[0], [nodes // 2]])], 1)
    pos = torch.rand(nodes, 2).double()
    return GraphDomain(torch.zeros(nodes, dtype=torch.long), 1, pos, edges=Edges(edges))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_on_graphs_only_nodes_within_the_rounds_of_messages_change(steps: int) -> None:
    options = {"name": "meshgraph", "width": 4, "steps": steps}
    phi = awake(CORRECTIONS.build(options, in_channels=1, out_channels=1, dim=2))
    assert phi.receptive_field == steps
    domain = ring(16)
    for node, in_x in itertools.product((0, 5), (True, False)):
        x, h = torch.randn(2, 16, 1).double()
        with torch.no_grad():
            before = phi(phi.prepare(x, domain), h)
            (x if in_x else h)[node] += 1
            changed = (phi(phi.prepare(x, domain), h) != before)[:, 0].nonzero()[:, 0]
        within = k_hop_subgraph(node, steps, domain.edges.index, flow="target_to_source")[0]
        assert set(changed.tolist()) == set(within.tolist())


@pytest.mark.parametrize("name", ["rigno", "pyg:GCN", "gnn_stack"])
def test_networks_on_graphs_whose_reach_is_not_known_say_so(name: str) -> None:
    assert CORRECTIONS.build(name, in_channels=1, out_channels=1).receptive_field is None
