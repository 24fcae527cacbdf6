"""The iterated vision transformer: its formula, batches that are loops, and weights that all learn."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner
from neuralop_irno._neuralop import build_model
from neuralop_irno.config import experiment
from neuralop_irno.networks.bounds import PicardSolution
from neuralop_irno.networks.tokens import from_patches, patch_nodes, to_patches
from neuralop_irno.networks.transformer import PicardViT
from neuralop_irno.registry import CORRECTIONS

BOTH: dict[str, dict[str, Any]] = {"picard_vit": {}, "anie": {"frames": 2}}
SHAPES = [(1, (8,)), (2, (4, 8)), (3, (4, 2, 8))]


def built(name: str = "picard_vit", **options: Any) -> Any:
    words = {"model_arch": name, "patch": 2, "width": 8, "heads": 2, **BOTH[name], **options}
    return build_model(words, 3, 2).double().eval()


def field(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def ordinary(model: PicardViT, u: Tensor, x: Tensor) -> Tensor:
    """The layers of a transformer, once through all of them."""
    nodes = patch_nodes(x.shape[2:], model.patch, model.periodic, like=x)
    for layer in model.network.block.layers:
        u = layer(u, nodes)
    return u


@pytest.mark.parametrize(("dim", "shape"), SHAPES)
def test_patches_are_cells_that_stand_together(dim: int, shape: tuple[int, ...]) -> None:
    x, patch = field(2, 3, *shape), [2, 1, 4][:dim]
    rows = to_patches(x, patch)
    assert torch.equal(from_patches(rows, patch, shape), x)
    last = tuple(slice(-width, None) for width in patch)
    assert torch.equal(rows[:, -1], x[(slice(None), slice(None), *last)].flatten(1))


def test_an_open_axis_is_measured_by_the_trapezoidal_rule_patch_by_patch() -> None:
    nodes = patch_nodes([6, 4], [2, 1], [False, True], like=field(1))
    rows, columns = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0, 0.25, 0.5, 0.75])
    torch.testing.assert_close(nodes.positions.float(), torch.cartesian_prod(rows, columns))
    assert nodes.measure is not None
    torch.testing.assert_close(nodes.measure.float(), torch.tensor([0.3, 0.4, 0.3]).repeat_interleave(4) / 4)


@pytest.mark.parametrize("layers", [1, 3])
def test_one_step_without_smoothing_is_the_ordinary_transformer(layers: int) -> None:
    model, x = built(layers=layers, steps=1, smoothing=0.0), field(2, 3, 6, 4)
    free, _ = model.encode(x)
    rows = model.unembed(ordinary(model, free, x))
    torch.testing.assert_close(model(x), from_patches(rows, (2, 2), (6, 4)))


@pytest.mark.parametrize("inject", [True, False])
@pytest.mark.parametrize("steps", [0, 2, 5])
def test_the_iteration_is_a_naive_loop(steps: int, inject: bool) -> None:
    model = built(layers=2, steps=steps, smoothing=0.25, inject=inject)
    x = field(2, 3, 6, 4)
    free, _ = model.encode(x)
    u = free
    for _ in range(steps):
        image = ordinary(model, u, x)
        u = 0.25 * u + 0.75 * (image - u + free if inject else image)
    answer = from_patches(model.unembed(u), (2, 2), (6, 4))
    torch.testing.assert_close(model(x), answer)
    torch.testing.assert_close(model.train()(x), answer)


@pytest.mark.parametrize("name", list(BOTH))
@pytest.mark.parametrize(("dim", "shape"), SHAPES)
def test_a_batch_is_a_loop_and_every_weight_learns(name: str, dim: int, shape: tuple[int, ...]) -> None:
    model, x = built(name, dim=dim, layers=2).train(), field(3, 3, *shape)
    answer = model(x)
    assert answer.shape == (3, 2, *shape)
    torch.testing.assert_close(answer, torch.cat([model(sample[None]) for sample in x]))
    answer.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@pytest.mark.parametrize("width", [1, 7, 10])
def test_a_width_need_not_fit_the_heads(width: int) -> None:
    assert built(width=width, heads=3)(field(1, 3, 4, 4)).shape == (1, 2, 4, 4)


@pytest.mark.parametrize("name", list(BOTH))
def test_steps_cost_no_parameters(name: str) -> None:
    few, many = built(name, steps=1), built(name, steps=8)
    many.load_state_dict(few.state_dict())
    x = field(1, 3, 4, 4)
    assert not torch.allclose(few(x), many(x))


@pytest.mark.parametrize("name", list(BOTH))
def test_where_the_problem_is_the_same_everywhere_shifts_by_patches_commute(name: str) -> None:
    x = field(2, 3, 8, 6)
    moved = x.roll((2, 4), (2, 3))
    same, told = built(name, homogeneous=True), built(name)
    torch.testing.assert_close(same(moved), same(x).roll((2, 4), (2, 3)))
    assert not torch.allclose(told(moved), told(x).roll((2, 4), (2, 3)))


def test_an_open_axis_has_ends() -> None:
    model, x = built(homogeneous=True, periodic=[False, True]), field(1, 3, 8, 6)
    torch.testing.assert_close(model(x.roll(2, 3)), model(x).roll(2, 3))
    assert not torch.allclose(model(x.roll(2, 2)), model(x).roll(2, 2))


@pytest.mark.parametrize("name", list(BOTH))
def test_a_solve_ends_at_the_solution_within_its_bound(name: str) -> None:
    model = built(name, smoothing=0.5)
    with torch.no_grad():
        model.network.block.layers[0].perceptron[2].weight /= 8
        model.network.block.layers[0].integral.join.weight /= 8
    x = field(3, 3, 4, 4) * torch.tensor([1.0, 3.0, 9.0]).reshape(3, 1, 1, 1)
    solution, exact = model.solve(x, rtol=1e-4, max_steps=200), model.solve(x, steps=400)
    assert isinstance(solution, PicardSolution)
    assert solution.good.all()
    assert not solution.value.requires_grad
    assert solution.value.shape == exact.value.shape == (3, 2, 4, 4)
    torch.testing.assert_close(solution.value, exact.value, rtol=1e-2, atol=1e-3)
    free, nodes = model.encode(x)
    tokens = [
        model.network.solve(free, nodes=nodes, steps=int(k)).value[i] for i, k in enumerate(solution.steps)
    ]
    rest = model.network.solve(free, nodes=nodes, steps=400).value
    away = (torch.stack(tokens) - rest).square().flatten(1).mean(1).sqrt()
    assert (away <= 1.2 * solution.a_posteriori).all()
    one = model.solve(x[1:2], rtol=1e-4, max_steps=200)
    torch.testing.assert_close(one.value[0], solution.value[1])


def test_with_a_tolerance_evaluation_stops_there_and_training_takes_all_steps() -> None:
    model = built(steps=200, tol=1e-3)
    with torch.no_grad():
        model.network.block.layers[0].perceptron[2].weight /= 8
        model.network.block.layers[0].integral.join.weight /= 8
    x = field(2, 3, 4, 4)
    torch.testing.assert_close(model(x), model.solve(x).value)
    assert model.solve(x).steps.max() < 60
    torch.testing.assert_close(model.train()(x), model.solve(x, steps=200).value)


@pytest.mark.parametrize("name", list(BOTH))
def test_a_base_of_the_refiner_by_name_saved_and_read_again(name: str, tmp_path: Path) -> None:
    words = {"model_arch": name, "patch": 2, "width": 8, "heads": 2, "steps": 2, **BOTH[name]}
    unet = {"name": "unet", "width": 4, "depth": 1}
    model = IterativeRefiner(words, unet, steps=2, alpha=0.5, in_channels=3, out_channels=2).eval()
    nn.init.normal_(model.correction.last.weight)
    again = IterativeRefiner.from_checkpoint(model.save(tmp_path / "model.safetensors")).eval()
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(again(x), model(x))
    assert not torch.equal(model(x), model.base(x))


@pytest.mark.parametrize("name", list(BOTH))
def test_they_are_words_of_an_experiment_and_corrections(name: str) -> None:
    words = {"model_arch": name, "patch": 4, "width": 8, "heads": 2}
    data = {
        "name": "turbulence",
        "trajectories": [1, 1, 1],
        "frames": 4,
        "size": 8,
        "outputs": 2,
        "warmup": 0.0,
    }
    told = experiment({"data": data, "model": {"base": words}})
    splits = told.splits()
    base = told.build_base(splits)
    assert base(splits["train"][0]["x"][None]).shape == (1, 2, 8, 8)
    assert name in CORRECTIONS.names()
    options = {key: word for key, word in words.items() if key != "model_arch"}
    refiner = IterativeRefiner(base, {"name": name, **options}, steps=2)
    assert torch.equal(refiner.eval()(splits["train"][0]["x"][None]), base(splits["train"][0]["x"][None]))


MISTAKES: dict[str, Callable[[], Any]] = {
    "a grid whose sides are multiples of the patch (4, 4), got (8, 6)": lambda: PicardViT(1, 1)(
        field(1, 1, 8, 6)
    ),
    "a field (B, C, *S) on 2 axes, got (1, 1, 8)": lambda: PicardViT(1, 1)(field(1, 1, 8)),
    "one value of patch, or one for each of 3 axes": lambda: PicardViT(1, 1, dim=3, patch=[2, 2]),
    "one value of periodic, or one for each of 2 axes": lambda: PicardViT(1, 1, periodic=[True]),
    "a patch of at least one point, got 0": lambda: PicardViT(1, 1, patch=0),
    "layers >= 1, got 0": lambda: PicardViT(1, 1, layers=0),
    "heads and width >= 1, got 0 and 64": lambda: PicardViT(1, 1, heads=0),
    "smoothing at least 0 and below 1": lambda: PicardViT(1, 1, smoothing=math.inf),
}


@pytest.mark.parametrize("words", list(MISTAKES))
def test_mistakes_are_told(words: str) -> None:
    with pytest.raises(ValueError, match=r"^expected [^\n]+, got [^\n]+; try [^\n]+$") as caught:
        MISTAKES[words]()
    assert words in str(caught.value)
