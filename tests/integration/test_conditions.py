"""Conditions: scalars, fields and masks of a call that Phi is given too, for every correction by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from named_cases import CORRECTED, GRID
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from neuralop_irno import IterativeRefiner, PointOperator, RefinementLoss
from neuralop_irno.correction.film import FiLM
from neuralop_irno.models.rigno.layers import AdaptiveNorm
from neuralop_irno.registry import CORRECTIONS

# GraphUNet multiplies sparse matrices, of which torch warns.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse (invariant checks|CSR tensor):UserWarning")

KINDS = {"tau": "scalar", "kappa": 1, "mask": "mask"}
NAMES = [name for name, case in CORRECTED.items() if case.refused is None]


def on_grid(name: str) -> bool:
    return CORRECTED[name].data == GRID


class Halved(nn.Module):
    """A base that passes nothing from point to point."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x[:, :2]


class HalvedOnGraphs(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor, pos: Tensor, batch: Tensor | None = None) -> Tensor:
        return 0.5 * x[:, :2]


def graph(seed: int, side: int = 4) -> Data:
    """A lattice of side by side nodes, moved a little."""
    draw = torch.Generator().manual_seed(seed)
    ticks = torch.arange(side) / side
    pos = torch.cartesian_prod(ticks, ticks) + 0.05 * torch.rand(side**2, 2, generator=draw)
    distance = torch.cdist(pos, pos)
    edges = ((distance < 0.4) & (distance > 0)).nonzero().T
    known = {name: torch.randn(side**2, c, generator=draw) for name, c in (("x", 2), ("y", 2), ("kappa", 1))}
    mask = torch.rand(side**2, generator=draw) < 0.7
    mask[0] = True
    return Data(edge_index=edges, pos=pos, tau=torch.rand(1, generator=draw), mask=mask, **known)


def sample(grid: bool = True, seeds: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    """A batch with y and all conditions."""
    if not grid:
        batch = Batch.from_data_list([graph(seed) for seed in seeds]).to_dict()
        batch.pop("ptr")
        return batch
    draw = torch.Generator().manual_seed(sum(seeds))
    x, y = torch.randn(2, len(seeds), 2, 8, 8, generator=draw)
    mask = torch.rand(len(seeds), 8, 8, generator=draw) < 0.7
    kappa, tau = torch.randn(len(seeds), 1, 8, 8, generator=draw), torch.rand(len(seeds), generator=draw)
    return {"x": x, "y": y, "tau": tau, "kappa": kappa, "mask": mask}


def refiner(name: str, condition: Any = None, **options: Any) -> IterativeRefiner:
    torch.manual_seed(1)
    case, grid = CORRECTED[name], on_grid(name)
    correction = {"name": name, **case.options}
    correction |= {"dim": 2} if CORRECTIONS.takes(correction, "dim") else {}
    sizes = {"in_channels": 2, "out_channels": 2, "steps": 1, "alpha": 0.3, "gradient": "unrolled"}
    base = Halved() if grid else HalvedOnGraphs()
    return IterativeRefiner(base, correction, condition=condition or KINDS, **{**sizes, **options}).eval()


def awake(model: IterativeRefiner) -> IterativeRefiner:
    """Every weight of the correction moved, so that all of its parts act."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def without_y(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != "y"}


def spoilt(batch: dict[str, Any], value: float) -> dict[str, Any]:
    """The same batch with other values outside of its mask."""
    mask = batch["mask"][:, None]
    fields = {name: torch.where(mask, batch[name], value) for name in ("x", "y", "kappa") if name in batch}
    return {**batch, **fields}


@pytest.mark.parametrize("name", NAMES)
def test_every_correction_by_name(name: str, tmp_path: Path) -> None:
    """Starts as the base, trains, depends on each condition and on nothing outside, is read back."""
    batch, model = sample(on_grid(name)), refiner(name)
    call, start = without_y(batch), 0.5 * batch["x"][:, :2]
    assert torch.equal(model(**call), start)

    loss, optimizer = RefinementLoss(), torch.optim.SGD(model.correction.parameters(), 0.1)
    for _ in range(4):  # one for each of the layers in a row that start at zero, and one
        optimizer.zero_grad()
        loss(model.train()(**spoilt(batch, math.nan)), spoilt(batch, math.nan)["y"]).backward()
        gradients = [p.grad for p in model.correction.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        optimizer.step()
    films = [part for part in model.correction.modules() if isinstance(part, (FiLM, AdaptiveNorm))]
    used = [part for part in films if any(p.requires_grad for p in part.parameters())]
    assert bool(films) is (name in ("unet", "residual_unet", "mgno", "meshgraph", "rigno"))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for part in used for p in part.parameters())

    model = awake(model).eval()
    answer, inside = model(**call), batch["mask"][:, None].expand_as(start)
    assert answer.isfinite().all()
    assert torch.equal(answer[~inside], start[~inside])
    for value in (math.nan, 1e6):
        other = without_y(spoilt(batch, value))
        assert torch.equal(model(**other)[inside], answer[inside])
    for condition in ("tau", "kappa"):
        assert not torch.equal(model(**{**call, condition: call[condition] + 0.5})[inside], answer[inside])
    again = IterativeRefiner.from_checkpoint(model.save(tmp_path / "m.safetensors"), base=model.base.module)
    assert torch.equal(again.eval()(**call), answer)
    assert again.config == model.config


@pytest.mark.parametrize("name", ["unet", "fno", "meshgraph"])
def test_a_batch_equals_a_loop_and_all_ways_to_iterate_agree(name: str) -> None:
    grid = on_grid(name)
    model = awake(refiner(name, steps=3, solver="anderson")).double()
    whole, each = (without_y(sample(grid, seeds)) for seeds in ((0, 1), (0,)))
    if grid:  # the random numbers of a batch are its own
        each = {key: value[:1] for key, value in whole.items()}
    whole, each = (
        {key: value.double() if value.is_floating_point() else value for key, value in batch.items()}
        for batch in (whole, each)
    )
    answer = model(**whole)
    alone = model(**each)
    torch.testing.assert_close(alone, answer[: len(alone)], rtol=0, atol=1e-9)
    assert torch.equal(model.solve(**whole, steps=3).value, answer)
    assert torch.equal(model.iterates(**whole)[-1], answer)
    ended = model.solve(**whole, rtol=1e-3, max_steps=12)  # samples leave the batch one by one
    single = model.solve(**each, rtol=1e-3, max_steps=12)
    assert single.steps[0] == ended.steps[0]
    torch.testing.assert_close(single.value, ended.value[: len(alone)], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["meshgraph", "rigno"])
def test_renumbered_nodes_have_renumbered_answers(name: str) -> None:
    model, batch = awake(refiner(name)).double(), without_y(sample(grid=False))
    order = torch.randperm(len(batch["x"]))
    place = order.argsort()
    rows = {key: batch[key][order] for key in ("x", "pos", "kappa", "mask", "batch")}
    moved = {**batch, **rows, "edge_index": place[batch["edge_index"]]}
    for known in (batch, moved):
        known.update({key: known[key].double() for key in ("x", "pos", "kappa", "tau")})
    torch.testing.assert_close(model(**moved), model(**batch)[order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["unet", "meshgraph"])
def test_a_scalar_in_any_form(name: str) -> None:
    model, call = awake(refiner(name)), without_y(sample(on_grid(name)))
    wanted = model(**{**call, "tau": torch.tensor([0.25, 0.25])})
    for tau in (0.25, torch.tensor(0.25), torch.tensor([0.25]), torch.full((2, 1), 0.25).double()):
        assert torch.equal(model(**{**call, "tau": tau}), wanted)
    assert torch.equal(model(**{**call, "tau": 1}), model(**{**call, "tau": 1.0}))


def test_a_mask_and_a_field_in_any_form() -> None:
    model, call = awake(refiner("unet")), without_y(sample())
    mask, kappa = call["mask"][:1].expand(2, 8, 8), call["kappa"][:1, 0]
    wanted = model(**{**call, "mask": mask, "kappa": kappa.expand(2, 8, 8)[:, None]})
    for inside in (mask[0], mask[:, None], mask.float(), mask[:1, None].double()):
        assert torch.equal(model(**{**call, "mask": inside, "kappa": kappa[0]}), wanted)


@pytest.mark.parametrize(("size", "detail"), [(6, "base"), (16, "base"), (16, "cosets")])
def test_at_another_resolution(size: int, detail: str) -> None:
    """Masks are carried to the grid on which Phi is evaluated, finer or coarser than that of the call."""
    resolution = {"cells": [8, 8], "extent": "fixed", "detail": detail}
    model, batch = refiner("unet", resolution=resolution), sample()
    picks = torch.arange(size) * 8 // size
    call = {key: batch[key][..., picks, :][..., picks] for key in ("x", "kappa", "mask")}
    call["tau"] = batch["tau"]
    start, inside = 0.5 * call["x"], call["mask"][:, None].expand_as(call["x"])
    assert torch.equal(model(**call), start)
    answer = awake(model)(**call)
    assert torch.equal(answer[~inside], start[~inside])
    assert not torch.equal(answer[inside], start[inside])
    assert torch.equal(model(**spoilt(call, math.nan))[inside], answer[inside])
    assert not torch.equal(model(**{**call, "tau": 1.0}), answer)


def test_on_finer_meshes() -> None:
    name, fine = "meshgraph", without_y(sample(grid=False))
    model = awake(refiner(name, resolution={"spacing": [0.45, 0.45], "extent": "fixed"}))
    answer, start = model(**fine), 0.5 * fine["x"]
    assert not torch.allclose(answer, awake(refiner(name))(**fine))  # as it is, on the fine nodes
    inside = fine["mask"][:, None].expand_as(start)
    assert torch.equal(answer[~inside], start[~inside])
    assert not torch.equal(answer[inside], start[inside])
    assert torch.equal(model(**spoilt(fine, math.nan))[inside], answer[inside])


def test_in_patches() -> None:
    model, call = awake(refiner("unet", resolution={"extent": "grows"})).double(), without_y(sample())
    wide = {key: value.repeat(*[1] * (value.dim() - 1), 4) for key, value in call.items() if key != "tau"}
    wide = {key: value.double() if value.is_floating_point() else value for key, value in wide.items()}
    wide["tau"] = call["tau"]
    whole = model(**wide)
    torch.testing.assert_close(model.in_patches(8)(**wide), whole, rtol=0, atol=1e-9)


def test_without_conditions_nothing_changes() -> None:
    model = IterativeRefiner(Halved(), {"name": "unet", "width": 4}, in_channels=2, out_channels=2)
    assert not [name for name in model.state_dict() if "film" in name]
    assert "condition" not in model.config


class OfPoints(nn.Module):
    def forward(self, u: Tensor, pos: Tensor, padding: Tensor | None = None) -> Tensor:
        return 0.5 * u


def test_on_padded_points() -> None:
    base = PointOperator(OfPoints(), fields="u", pos="pos", mask="padding")
    phi = {"name": "meshgraph", "width": 4, "steps": 1}
    given = {"in_channels": 2, "out_channels": 2, "alpha": 0.3, "condition": KINDS}
    model = awake(IterativeRefiner(base, phi, **given).eval())
    u, pos, kappa = (torch.rand(2, 12, n) for n in (2, 2, 1))
    padding, mask = torch.arange(12) < torch.tensor([[12], [9]]), torch.rand(2, 12) < 0.7
    answer = model(u, pos, padding, tau=0.5, kappa=kappa, mask=mask)
    moved = (answer != 0.5 * u).any(-1)
    assert torch.equal(moved, padding & mask)
    alone = model(u[1:, :9], pos[1:, :9], tau=0.5, kappa=kappa[1:, :9], mask=mask[1:, :9])
    torch.testing.assert_close(alone[0], answer[1, :9], rtol=0, atol=1e-5)


def test_a_list_of_graphs() -> None:
    model, graphs = awake(refiner("meshgraph")), [graph(0), graph(1)]
    assert torch.equal(model(graphs), model(**without_y(sample(grid=False))))


class TwoInputs(nn.Module):
    def forward(self, u: Tensor, v: Tensor, scale: float = 1.0) -> Tensor:
        return scale * u


def test_all_input_fields_reach_phi() -> None:
    u, v = torch.randn(2, 2, 2, 8, 8).unbind(0)
    phi = {"name": "unet", "width": 4, "depth": 1}
    model = awake(IterativeRefiner(TwoInputs(), phi, in_channels=4, out_channels=2, alpha=0.3).eval())
    assert not torch.equal(model(u, v), model(u, v + 1))
    assert torch.equal(model(u=u, v=v), model(u, v))
    alone = awake(IterativeRefiner(TwoInputs(), phi, in_channels=2, out_channels=2, alpha=0.3).eval())
    assert torch.equal(alone(u, v), alone(u, v + 1))  # built for the first field


REFUSED: dict[str, Callable[[], Any]] = {
    r"'tau', which condition names, got a call with kappa, .*; try": lambda: refiner("unet")(
        **{key: value for key, value in without_y(sample()).items() if key != "tau"}
    ),
    r"an argument of forward, got 'tau'; try 'tua'": lambda: refiner("unet", ["tua"])(
        x=sample()["x"], tau=1.0
    ),
    r"an argument of forward, got 'tau'; try": lambda: refiner("unet", ["mask"])(
        **{key: value for key, value in without_y(sample()).items() if key != "kappa"}
    ),
    r"'tau' as a number, or one for each of 2 samples, got \(3,\)": lambda: refiner("unet")(
        **{**without_y(sample()), "tau": torch.ones(3)}
    ),
    r"tau to be finite, got 1 values": lambda: refiner("unet")(**{**without_y(sample()), "tau": math.nan}),
    r"'kappa' of shape \(2, 1, n, n\), got \(2, 3, 8, 8\)": lambda: refiner("unet")(
        **{**without_y(sample()), "kappa": torch.ones(2, 3, 8, 8)}
    ),
    r"'kappa' of shape \(32, 1\), a row for each node, got \(31, 1\)": lambda: refiner("meshgraph")(
        **{**without_y(sample(False)), "kappa": torch.ones(31, 1)}
    ),
    r"'mask' with a point inside for every sample, got none for samples \[1\]": lambda: refiner("unet")(
        **{**without_y(sample()), "mask": torch.tensor([1.0, 0.0])[:, None, None].expand(2, 8, 8)}
    ),
    r"x inside of the mask to be finite": lambda: refiner("unet")(
        **{**without_y(sample()), "x": torch.full((2, 2, 8, 8), math.nan)}
    ),
    r"condition of the refiner as .*, got 'tau'": lambda: refiner("unet", "tau"),
    r"'tau' in condition as 'scalar', 'mask' or a number of channels, got 'number'": lambda: refiner(
        "unet", {"tau": "number"}
    ),
    r"one mask in condition": lambda: refiner("unet", {"mask": "mask", "land": "mask"}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_by_name(message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"expected {message}"):
        REFUSED[message]()
