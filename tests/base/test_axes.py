"""Layouts: a base in any layout is refined as the same base with channels first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from operators import DPOTNet
from torch import Tensor

from neuralop_irno import IterativeRefiner, Recipe, Trainer, UNet, Window, check_base, diagnose, rollout
from neuralop_irno.base.layout import Layout
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.base.pyg import GraphOperator
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.training.evaluation import scores_per_step

PHI = {"name": "unet", "width": 4, "depth": 0, "dim": 2}
LAYOUTS = {
    "B C *S": (2, 1, 3, 8, 9),
    "B *S C": (2, 1, 3, 8, 9),
    "B C H W": (2, 1, 3, 8, 9),
    "B W C H": (2, 1, 3, 8, 9),
    "B H W": (2, 1, 1, 8, 9),
    "C H W": (1, 1, 3, 8, 9),
    "X": (1, 1, 1, 12),
    "B T X": (2, 4, 1, 12),
    "B T C *S": (2, 4, 3, 8, 9),
    "T B C H W": (2, 4, 3, 8, 9),
    "B X Y T C": (2, 4, 3, 8, 9),
    "*S T C B": (2, 4, 3, 8, 9),
    "lat lon T": (1, 4, 1, 8, 9),
    "X C Y Z B T": (2, 4, 3, 4, 5, 6),
}
"""Patterns, each with B, T, C and sizes of the spatial axes."""


@pytest.mark.parametrize("pattern", LAYOUTS)
def test_folding_is_naming_the_axes(pattern: str) -> None:
    batch, times, channels, *shape = LAYOUTS[pattern]
    axes = Layout.of(pattern).x
    field = torch.randn(batch, times * channels, *shape)
    tensor = axes.unfold(field, times)
    assert torch.equal(axes.fold(tensor), field)
    assert axes.frames(tensor) == times
    # Every axis where its name is.
    spatial = iter(shape)
    known = {"B": batch, "T": times, "C": channels}
    for name in axes.names:
        if name == "*S":
            continue
        assert tensor.shape[axes.axis(name)] == (known[name] if name in known else next(spatial))


@pytest.mark.parametrize("pattern", LAYOUTS)
def test_a_base_in_any_layout_is_refined_as_with_channels_first(pattern: str) -> None:
    batch, times, channels, *shape = LAYOUTS[pattern]
    axes = Layout.of(pattern).x
    sizes = {"in_channels": times * channels, "out_channels": times * channels}
    phi = UNet(**sizes, dim=len(shape), width=4, depth=1)
    torch.nn.init.normal_(phi.last.weight)
    model = IterativeRefiner(torch.tanh, phi, layout=pattern, **sizes).eval()
    plain = IterativeRefiner(torch.tanh, phi, **sizes).eval()
    field = torch.randn(batch, times * channels, *shape)
    x = axes.unfold(field, times)
    assert torch.equal(axes.fold(model(x)), plain(field))
    assert torch.equal(model(x, start=0 * x), axes.unfold(plain(field, start=0 * field), times))
    assert model.base.sizes().dim in (None, len(shape))


def test_x_is_brought_to_the_axes_of_the_answer() -> None:
    """Their order, and the number of times, may differ."""
    seen: list[Tensor] = []
    phi = FunctionCorrection(lambda x, h: seen.append(x) or 0 * h)  # type: ignore[func-returns-value]
    model = IterativeRefiner(lambda x: x.mean(1).movedim(-2, -1), phi, steps=1, layout="B T C H W -> B C W H")
    x = torch.randn(2, 3, 4, 8, 9)
    assert model.eval()(x).shape == (2, 4, 9, 8)
    assert torch.equal(seen[0], x.flatten(1, 2).movedim(-1, -2))


class Half(torch.nn.Module):
    """Half of the last frame, in a layout."""

    def __init__(self, layout: Layout, channels: int) -> None:
        super().__init__()
        self.layout, self.channels = layout, channels
        self.factor = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        field = self.factor * self.layout.x.fold(x)[:, -self.channels :]
        return self.layout.answer.unfold(field)


TRAINED = {
    "B H W C": 1,
    "T B C H W -> B C H W": 3,
    "B H W T -> B H W": 3,
    "H B W T C -> W H B C": 3,
}


def made(pattern: str) -> tuple[IterativeRefiner, IterativeRefiner, Any, Any]:
    """A refiner with its data, and the same with channels first."""
    frames, layout = TRAINED[pattern], Layout.of(pattern)
    out = 2 if "C" in layout.answer.names else 1
    sizes = {"in_channels": frames * out, "out_channels": out}
    phi = {"name": "unet", "width": 4, "depth": 1, "dim": 2, "padding": "circular"}
    models = []
    for named in (pattern, "B C *S"):
        torch.manual_seed(0)
        base = Half(Layout.of(named), out)
        models.append(IterativeRefiner(base, phi, steps=2, layout=named, **sizes))
    fields = torch.randn(4, (frames + 1) * out, 8, 9)
    pairs = [(field[None, : frames * out], field[None, frames * out :]) for field in fields]
    plain = [{"x": x[0], "y": y[0]} for x, y in pairs]

    def sample(axes: Any, field: Tensor, frames: int) -> Tensor:
        return axes.unfold(field, frames).select(axes.axis("B"), 0)

    data = [{"x": sample(layout.x, x, frames), "y": sample(layout.answer, y, 1)} for x, y in pairs]
    return models[0], models[1], data, plain


@pytest.mark.parametrize("replay", [0, 2])
@pytest.mark.parametrize("pattern", TRAINED)
def test_training_is_that_with_channels_first(pattern: str, replay: int) -> None:
    """Data sets hold single samples, and loaders put the axis of samples first."""
    one, other, data, plain = made(pattern)
    recipe = Recipe(epochs=2, batch_size=2, replay=replay, shifts=True, resolutions=[1, 2])
    ours = Trainer(one, recipe, show=False).fit(data, data)
    theirs = Trainer(other, recipe, show=False).fit(plain, plain)
    assert ours[-1]["loss"] == pytest.approx(theirs[-1]["loss"], rel=1e-5)
    assert ours[-1]["valid"] == pytest.approx(theirs[-1]["valid"], rel=1e-5)


def test_fields_beside_x_are_laid_out_like_x() -> None:
    x, y, land = torch.randn(3, 3, 1, 8, 9).unbind()
    histories = []
    for pattern in ("B C *S", "H B W C"):
        torch.manual_seed(0)
        axes = Layout.of(pattern).x
        phi = {"name": "unet", "width": 4, "depth": 1, "dim": 2}
        model = IterativeRefiner(
            lambda x, land: x * land,
            phi,
            condition={"land": 1},
            layout=pattern,
            in_channels=1,
            out_channels=1,
        )
        laid = [
            [axes.unfold(part[None]).select(axes.axis("B"), 0) for part in parts] for parts in (x, y, land)
        ]
        data = [dict(zip(("x", "y", "land"), parts, strict=True)) for parts in zip(*laid, strict=True)]
        histories.append(Trainer(model, Recipe(epochs=2, batch_size=3), show=False).fit(data, data)[-1])
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-5)
    assert histories[0]["valid"] == pytest.approx(histories[1]["valid"], rel=1e-5)


def test_a_base_without_an_axis_of_samples_is_trained_and_scored_one_by_one() -> None:
    histories, fields = [], torch.randn(3, 2, 1, 8, 9)
    data = [{"x": x, "y": y} for x, y in fields]
    for pattern in ("B C H W", "C H W"):
        torch.manual_seed(0)
        model = IterativeRefiner(torch.sin, PHI, layout=pattern, in_channels=1, out_channels=1, steps=1)
        recipe = Recipe(epochs=1, batch_size=1, precision="float32")
        histories.append(Trainer(model, recipe, show=False).fit(data, data)[-1])
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-5)
    assert histories[0]["valid"] == pytest.approx(histories[1]["valid"], rel=1e-5)


def test_static_fields_are_in_each_frame_of_a_base_with_times() -> None:
    def base(x):  # (T, B, C, H, W), with one field that is predicted and one that is known
        return torch.sin(x[-1, :, :1] + x[:, :, 1:].sum(0)) * x[0, :, 1:]

    sizes = {"in_channels": 6, "out_channels": 1, "layout": "T B C H W -> B C H W"}
    model = IterativeRefiner(base, PHI, **sizes).eval()
    start, static = torch.randn(2, 3, 1, 8, 9), torch.randn(2, 1, 8, 9)
    run = rollout(model, start, 3, window=Window(inputs=3), static=static)
    frames = list(start.unbind(1))
    for _ in range(3):
        frames.append(model(torch.stack([torch.cat([frame, static], 1) for frame in frames[-3:]])))
    torch.testing.assert_close(run.frames, torch.stack(frames[3:], 1))
    with pytest.raises(ValueError, match=r"static fields for a base with an axis of times, got forcing; try"):
        rollout(model, start, 3, window=Window(inputs=3), forcing=static[:, None].expand(2, 3, 1, 8, 9))
    with pytest.raises(ValueError, match=r"a window with order='time' for a base with an axis of times"):
        rollout(model, start, 3, window=Window(inputs=3, order="channel"))


def test_the_error_of_other_channels_names_those_of_the_call() -> None:
    with pytest.raises(ValueError, match=r"in_channels .*, got a base .* of times; try in_channels=T \* C"):
        IterativeRefiner(torch.sin, PHI, layout="B T C H W", out_channels=1)
    model = IterativeRefiner(
        lambda x: x[:, -1], PHI, layout="B T H W -> B H W", in_channels=2, out_channels=1
    )
    with pytest.raises(ValueError, match=r"x of shape \(B, 2, n, n\), got \(1, 3, 8, 9\); try in_channels=3"):
        model(torch.randn(1, 3, 8, 9))


def test_axes_that_no_layout_names_are_refused() -> None:
    model = IterativeRefiner(DPOTNet(), PHI, in_channels=1, out_channels=1)
    with pytest.raises(
        ValueError, match=r"fields on 2 axes, .* got an answer \(2, 8, 9, 1, 1\); try layout="
    ):
        model(torch.randn(2, 8, 9, 3, 1))


def test_a_base_is_trained_alone_in_its_layout() -> None:
    one, other, data, plain = made("T B C H W -> B C H W")
    for model in (one, other):
        model.base.freeze(False)
    recipe = Recipe(epochs=2, batch_size=2)
    alone = wrap_operator(one.base.module, frozen=False, layout=one.config["layout"])
    ours = Trainer(alone, recipe, show=False).fit(data, data)
    theirs = Trainer(other.base.module, recipe, show=False).fit(plain, plain)
    assert ours[-1]["loss"] == pytest.approx(theirs[-1]["loss"], rel=1e-5)
    assert ours[-1]["valid"] == pytest.approx(theirs[-1]["valid"], rel=1e-5)
    assert ours[-1]["loss"] < ours[0]["loss"]


@pytest.mark.parametrize("pattern", TRAINED)
def test_diagnoses_are_those_with_channels_first(pattern: str) -> None:
    one, other, data, plain = made(pattern)
    ours, theirs = ([torch.utils.data.default_collate(samples)] for samples in (data, plain))
    found = [check_base(model.base, batch) for model, batch in ((one, ours), (other, theirs))]
    assert found[0].score == pytest.approx(found[1].score, rel=1e-5)
    assert found[0].channels == pytest.approx(found[1].channels, rel=1e-4)
    assert found[0].sight == found[1].sight
    scores = [scores_per_step(model, samples) for model, samples in ((one, data), (other, plain))]
    torch.testing.assert_close(*scores)
    reports = [
        diagnose(model, batch, samples=1, steps=2, iterations=2, show=False).convergence.errors
        for model, batch in ((one, ours), (other, theirs))
    ]
    torch.testing.assert_close(*reports)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("b c h w", "names of axes in the layout 'b c h w', got 'b'; try B"),
        ("N C H W", "names of axes in the layout 'N C H W', got 'N'; try B"),
        ("B X Y 1 C", "names of axes .*, got '1'; try T"),
        ("B C ...", r"names of axes .*, got '\.\.\.'; try \*S"),
        ("BCHW", None),
        ("B T C", "a layout with each axis once, and with spatial ones"),
        ("B C H H", "a layout with each axis once"),
        ("B C *S H", r"a layout with each axis once, and with spatial ones: by name, or as \*S"),
        ("B C H W -> B C H", "the spatial axes of x, H W, in the answer, got H; try the same names"),
        ("B C H -> B C H -> B C H", "a layout of x, or of x -> answer"),
        ("B,C,H,W", "names of axes, separated by spaces, got 'B,C,H,W'"),
    ],
)
def test_patterns_that_cannot_be_read_are_refused(pattern: str, words: str | None) -> None:
    if words is None:  # one name, for one axis
        assert Layout.of(pattern).dim == 1
        return
    with pytest.raises(ValueError, match=f"^expected {words}"):
        IterativeRefiner(torch.sin, "unet", layout=pattern)


def test_tensors_and_options_that_do_not_fit_a_pattern_are_refused() -> None:
    sizes = {"in_channels": 3, "out_channels": 1}
    phi = {"name": "unet", "dim": 2, "width": 4, "depth": 1}
    model = IterativeRefiner(lambda x: x.mean(1), phi, layout="B T C H W -> B C H W", **sizes)
    with pytest.raises(ValueError, match=r"the axes 'B T C H W', got \(2, 3, 8, 8\); try "):
        model(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"the axes 'B C H W', got \(2, 8, 8\); try "):
        model.train()(torch.zeros(2, 3, 1, 8, 8), y=torch.zeros(2, 8, 8))
    with pytest.raises(ValueError, match=r"layout=, the axes of both"):
        IterativeRefiner(lambda x: x.mean(1), phi, **sizes)(torch.zeros(2, 3, 1, 8, 8))
    with pytest.raises(
        ValueError, match=r"one sample at a time for the layout 'C H W', which has no B, got 2"
    ):
        Layout.of("C H W").x.from_batch(torch.zeros(2, 1, 8, 8))
    with pytest.raises(
        ValueError, match=r"a field \(B, C, H, W\) for the layout 'B T C H W', got \(2, 24, 8\)"
    ):
        rollout(model, torch.zeros(2, 3, 8, 8), 1, window=Window(inputs=3))
    with pytest.raises(ValueError, match=r"a layout alone, .* got a layout beside channels='last'"):
        IterativeRefiner(torch.sin, phi, layout="B C H W", channels="last", **sizes)
    with pytest.raises(TypeError, match="layout of the refiner as str"):
        IterativeRefiner(torch.sin, phi, layout=3, **sizes)
    with pytest.raises(ValueError, match=r"a layout alone, .* got one for points or graphs"):
        GraphOperator(lambda data: data.x, layout="B C H W")


def test_a_layout_is_stored(tmp_path: Path) -> None:
    model = made("T B C H W -> B C H W")[0]
    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=model.base.module)
    assert again.config == model.config
    assert again.config["layout"] == "T B C H W -> B C H W"
