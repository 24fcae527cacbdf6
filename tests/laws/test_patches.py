"""Law 12: a field refined in patches with halos is the field refined whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, stream
from neuralop_irno.correction.in_patches import cover

CORRECTIONS: dict[str, dict[str, Any]] = {
    "flat unet": {"name": "unet", "width": 2, "depth": 0},
    "unet": {"name": "unet", "width": 2, "depth": 1},
    "deeper unet": {"name": "unet", "width": 2, "depth": 2},
    "residual unet": {"name": "residual_unet", "width": 2, "depth": 2},
    "mgno": {"name": "mgno", "width": 2, "levels": 2, "layers": 1},
}
SHAPES = {1: [96], 2: [48, 44], 3: [11, 10, 9]}
SIZES = {1: 16, 2: [16, 12], 3: 4}


def twice(x: Tensor) -> Tensor:
    """A base that acts on points."""
    return 2 * x[:, :1]


def refiner(options: dict[str, Any], dim: int, padding: str, **more: Any) -> IterativeRefiner:
    torch.manual_seed(0)
    words = {**options, "dim": dim, "padding": padding}
    model = IterativeRefiner(twice, words, steps=2, in_channels=2, out_channels=1, alpha=[0.5, 0.3], **more)
    for weight in model.correction.parameters():
        nn.init.normal_(weight, std=0.2 if options["name"] == "unet" else 0.05)
    return model.double().eval()


@pytest.mark.parametrize("padding", ["circular", "zero", "replicate", "reflect"])
@pytest.mark.parametrize("dim", SHAPES)
@pytest.mark.parametrize("name", CORRECTIONS)
def test_patches_give_the_answer_of_the_whole(name: str, dim: int, padding: str) -> None:
    if dim == 3 and name != "flat unet":
        pytest.skip("a field larger than its halo would take long")
    model = refiner(CORRECTIONS[name], dim, padding)
    x = torch.randn(2, 2, *SHAPES[dim], dtype=torch.float64)
    patched = model.in_patches(SIZES[dim])
    with torch.no_grad():
        whole = model(x)
        assert torch.allclose(patched(x), whole, rtol=0, atol=1e-12 * float(whole.abs().max()))
    ours, theirs = (each.solve(x, max_steps=torch.tensor([1, 3]), rtol=1e-9) for each in (model, patched))
    assert ours.steps.tolist() == theirs.steps.tolist()
    assert torch.allclose(ours.value, theirs.value, rtol=0, atol=1e-11 * float(ours.value.abs().max()))


@pytest.mark.parametrize("shape", [(37,), (20, 13)], ids=str)
@pytest.mark.parametrize("size", [5, 8, 64])
@pytest.mark.parametrize("periodic", [False, True])
def test_patches_cover_every_cell_once(shape: tuple[int, ...], size: int, periodic: bool) -> None:
    counted = torch.zeros(shape)
    field = torch.arange(counted.numel()).reshape(shape)
    for patch in cover(shape, size, (2,) * len(shape), (periodic,) * len(shape)):
        counted[patch.place] += 1
        assert torch.equal(patch.kept(patch.read(field)), field[patch.place])
    assert bool((counted == 1).all())


@pytest.mark.parametrize("padding", ["circular", "zero"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("given", [False, True], ids=["the base is asked", "the base's answer is given"])
def test_streamed_it_is_the_same_answer(padding: str, steps: int, given: bool) -> None:
    model = refiner(CORRECTIONS["unet"], 2, padding).float()
    x = torch.randn(1, 2, 48, 44)
    to = np.zeros((1, 48, 44), dtype=np.float32)
    how: dict[str, Any] = {"start": twice(x)[0].numpy()} if given else {"base_halo": 0}
    stream(model, x[0].numpy(), to, size=[16, 12], steps=steps, **how)
    whole = model.solve(x, steps=steps).value
    assert torch.allclose(torch.from_numpy(to)[None], whole, atol=1e-5 * float(whole.abs().max()))


def test_what_cannot_be_done_in_patches_is_refused_by_name() -> None:
    x = torch.randn(1, 2, 16, 16, dtype=torch.float64)
    group = refiner({"name": "unet", "width": 4, "depth": 1, "norm": "group"}, 2, "zero")
    with pytest.raises(ValueError, match="expected a correction that sees a part of the grid"):
        group.in_patches(8)(x)
    model = refiner(CORRECTIONS["unet"], 2, "circular")
    with pytest.raises(ValueError, match="of a multiple of 2 cells, got 7 of 64; try size=6"):
        model.in_patches(7)(torch.randn(1, 2, 64, 64, dtype=torch.float64))
    to = np.zeros((1, 16, 16), dtype=np.float32)
    with pytest.raises(ValueError, match="expected start, the base's answer, or base_halo"):
        stream(model, x[0].numpy(), to)
    with pytest.raises(ValueError, match=r"expected to in float32 or float64, .*, got float16"):
        stream(model, x[0].numpy(), to.astype(np.float16), base_halo=0)
    other = IterativeRefiner(twice, model.correction, solver="anderson", steps=1)
    with pytest.raises(ValueError, match="expected the solver picard"):
        stream(other, x[0].numpy(), to, base_halo=0)


def test_streamed_from_a_base_with_channels_last() -> None:
    model = refiner(CORRECTIONS["unet"], 2, "zero").float()
    last = IterativeRefiner(
        lambda x: 2 * x[..., :1], model.correction, steps=2, channels="last", in_channels=2, out_channels=1,
        alpha=[0.5, 0.3],
    )  # fmt: skip
    x, to = torch.randn(2, 48, 44), np.zeros((1, 48, 44), dtype=np.float32)
    stream(last.eval(), x.numpy(), to, size=[16, 12], base_halo=0)
    assert torch.allclose(torch.from_numpy(to)[None], model(x[None]), atol=1e-5)


def test_a_base_that_answers_on_another_grid_is_not_streamed() -> None:
    unet = {"name": "unet", "width": 2, "depth": 1}
    model = IterativeRefiner(nn.Upsample(scale_factor=2), unet, in_channels=1, out_channels=1)
    x, to = np.zeros((1, 64, 64), dtype=np.float32), np.zeros((1, 64, 64), dtype=np.float32)
    with pytest.raises(ValueError, match=r"on the grid of x, \(64, 64\), got \(128, 128\); try start="):
        stream(model, x, to, size=64, base_halo=0)
