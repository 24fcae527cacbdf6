"""Files: the same bits back, errors that say what is wrong, and never half a file or somebody's code."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from neuralop.models import FNO, TFNO
from safetensors.torch import load_file, save, save_file
from torch import nn

from neuralop_irno import IterativeRefiner, Picard, checkpoint
from neuralop_irno.checkpoint import FORMAT
from neuralop_irno.solver.step_size import Learned

UNET = {"name": "unet", "width": 4, "depth": 1}
MODES = {"n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}


def fno(kind: type[FNO] = FNO, **options: Any) -> FNO:
    return kind(
        (4, 4), **{"in_channels": 2, "out_channels": 1, "hidden_channels": 4, "n_layers": 1, **options}
    )


def convolution() -> nn.Module:
    return nn.Conv2d(2, 1, 3, padding=1)


def trained(*args: Any, **options: Any) -> IterativeRefiner:
    """A refiner whose weights are nobody's defaults."""
    model = IterativeRefiner(*args, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = dict(one.named_parameters()), dict(other.named_parameters())
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


DESCRIBED: dict[str, Callable[[], IterativeRefiner]] = {
    "a solver": lambda: trained(fno(), UNET, solver=Picard(0.2)),
    "a step size": lambda: trained(fno(), UNET, alpha=Learned(0.2, steps=2)),
    "a step size in words": lambda: trained(fno(), UNET, solver={"name": "picard", "alpha": Learned(0.2)}),
    "a model": lambda: trained(fno(), UNET, alpha=[0.5, 0.25], steps=[2, 5], gradient="unrolled"),
    "a model, arguments by position": lambda: trained(FNO((4, 4), 2, 1, 4, 2), UNET),
    "a factorized model": lambda: trained(fno(TFNO, rank=0.5), UNET, freeze_base=False),
    "words": lambda: trained(
        {"model_arch": "fno", **MODES}, {"name": "fno", **MODES}, in_channels=2, out_channels=1
    ),
    "a learned step size": lambda: trained(
        fno(), UNET, solver={"name": "picard", "alpha": {"name": "learned", "value": 0.5, "steps": 3}}
    ),
    "a refiner around a refiner": lambda: trained(
        IterativeRefiner(fno(), UNET).with_base(fno(TFNO)), UNET, in_channels=2, out_channels=1
    ),
}


@pytest.mark.parametrize("build", DESCRIBED.values(), ids=DESCRIBED)
def test_a_saved_model_comes_back_to_the_bit(tmp_path: Path, build: Callable[[], IterativeRefiner]) -> None:
    model = build()
    path = model.save(tmp_path / "deep" / "er" / "model.safetensors", notes={"score": 0.1})
    again = IterativeRefiner.from_checkpoint(path).eval()
    assert same_bits(model, again)
    assert again.config == model.config
    assert type(again.base.module) is type(model.base.module)
    assert again.base.frozen == model.base.frozen
    x = torch.randn(2, 2, 8, 8)
    assert torch.equal(model(x), again(x))
    twice = IterativeRefiner.from_checkpoint(again.save(tmp_path / "again.safetensors"))
    assert same_bits(model, twice)
    assert twice.config == model.config


def test_neuraloperators_own_calls_save_and_load(tmp_path: Path) -> None:
    model, other = trained(fno(), UNET), trained(fno(), UNET)
    model.save_checkpoint(tmp_path, "model")
    assert same_bits(model, IterativeRefiner.from_checkpoint(tmp_path, "model", map_location="cpu"))
    other.load_checkpoint(tmp_path, "model")
    assert same_bits(model, other)
    state = torch.load(tmp_path / "model_state_dict.pt", weights_only=True)
    assert trained(fno(), UNET).load_state_dict(state).missing_keys == []


def test_a_part_can_be_replaced_on_the_way_in(tmp_path: Path) -> None:
    model = trained(fno(), UNET, steps=3)
    path = model.save(tmp_path / "model.safetensors")
    longer = IterativeRefiner.from_checkpoint(path, steps=9)
    assert longer.steps == longer.config["steps"] == 9
    assert same_bits(model, longer)
    with pytest.raises(ValueError, match="a part of the model, got 'stepz'"):
        IterativeRefiner.from_checkpoint(path, stepz=9)


class OwnSolver(Picard):
    """A solver that no registry knows."""


class OwnStepSize(Learned):
    """A step size that no registry knows."""


OBJECTS: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "base": ("base", "Conv2d", convolution),
    "correction": ("correction", "Conv2d", lambda: nn.Conv2d(3, 1, 1)),
    "solver": ("solver", "OwnSolver", OwnSolver),
    "step size": ("solver", "OwnStepSize", lambda: Picard(OwnStepSize(0.5))),
    "step size in words": ("solver", "OwnStepSize", lambda: {"name": "picard", "alpha": OwnStepSize(0.5)}),
    "activation in words": (
        "base", "ReLU", lambda: {"model_arch": "fno", **MODES, "non_linearity": nn.ReLU()}
    ),
    "base of a base": ("base", "Conv2d", lambda: IterativeRefiner(convolution(), UNET)),
}  # fmt: skip


@pytest.mark.parametrize(("part", "kind", "build"), OBJECTS.values(), ids=OBJECTS)
def test_what_was_given_as_an_object_has_to_be_given_again(
    tmp_path: Path, part: str, kind: str, build: Callable[[], Any]
) -> None:
    sizes = {"in_channels": 2, "out_channels": 1}
    model = trained(**{"base": fno(), "correction": UNET, **sizes, part: build()})
    path = model.save(tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=rf"the {part} of this checkpoint, with a {kind} .*from_checkpoint\("
    ):
        IterativeRefiner.from_checkpoint(path)
    again = IterativeRefiner.from_checkpoint(path, **{part: build()})
    assert same_bits(model, again)
    assert again.config == model.config


WITNESSES: list[str] = []


def confess() -> Callable[..., Any]:
    """What a pickle could run. This one is harmless: it leaves a note, and returns an activation."""
    WITNESSES.append("ran")
    return nn.functional.gelu


class Witness:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return confess, ()


def header(path: Path, **words: Any) -> None:
    content = json.dumps({"format": FORMAT, "config": {}, **words})
    path.write_bytes(save(load_file(path), {"neuralop_irno": content}))


DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut short": (
        lambda path: os.truncate(path, path.stat().st_size // 2),
        "a whole safetensors file in model",
    ),
    "empty": (lambda path: path.write_bytes(b""), "a whole safetensors file in model"),
    "another kind": (lambda path: path.write_text("a letter"), "a whole safetensors file in model"),
    "a pickle": (lambda path: torch.save({"w": Witness()}, path), "a pickle in model.safetensors"),
    "a plain pickle": (lambda path: path.write_bytes(pickle.dumps(Witness())), "a pickle in model"),
    "newer": (
        lambda path: header(path, format=FORMAT + 1),
        f"a checkpoint of format {FORMAT} or older, got format {FORMAT + 1} .* try a newer neuralop_irno",
    ),
    "somebody else's": (lambda path: save_file(load_file(path), path), "a file that this package wrote"),
    "no refiner's": (
        lambda path: checkpoint.write(path, load_file(path), {"notes": {}}),
        "a refiner's checkpoint, got one of something else",
    ),
    "missing": (lambda path: path.unlink(), "a checkpoint file, got no file at"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_checkpoints_are_named_and_left_alone(
    tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    model = trained(fno(), UNET)
    model.save_checkpoint(tmp_path, "model")
    damage(tmp_path / "model.safetensors")
    before, weights = contents(tmp_path), [p.clone() for p in model.parameters()]
    WITNESSES.clear()
    load: list[Callable[[], Any]] = [lambda: IterativeRefiner.from_checkpoint(tmp_path, "model")]
    if "refiner" not in message:
        load.append(lambda: model.load_checkpoint(tmp_path, "model"))
    for attempt in load:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            attempt()
    assert not WITNESSES
    assert contents(tmp_path) == before
    assert all(map(torch.equal, weights, model.parameters()))


STRANGERS: dict[str, tuple[str, Callable[[], IterativeRefiner]]] = {
    "another base": ("base", lambda: trained(fno(hidden_channels=6), UNET)),
    "a factorized base": ("base", lambda: trained(fno(TFNO), UNET)),
    "another correction": ("correction", lambda: trained(fno(), {**UNET, "width": 8})),
    "another solver": ("solver", lambda: trained(fno(), UNET, alpha={"name": "learned", "value": 0.5})),
}


@pytest.mark.parametrize(("part", "build"), STRANGERS.values(), ids=STRANGERS)
def test_a_checkpoint_of_another_model_is_refused_whole(
    tmp_path: Path, part: str, build: Callable[[], IterativeRefiner]
) -> None:
    trained(fno(), UNET).save_checkpoint(tmp_path, "model")
    model, before = build(), contents(tmp_path)
    weights = [p.clone() for p in model.parameters()]
    with pytest.raises(
        ValueError, match=rf"a checkpoint of the same {part}, got one that differs in \d+ tensors"
    ):
        model.load_checkpoint(tmp_path, "model")
    assert all(map(torch.equal, weights, model.parameters()))
    if part == "base":
        with pytest.raises(ValueError, match="a checkpoint of the same base"):
            IterativeRefiner.from_checkpoint(tmp_path, "model", base=model.base.module)
    assert contents(tmp_path) == before


def fail_to_describe(model: IterativeRefiner, path: Path) -> None:
    model.save(path, notes={"no JSON": object()})


def fail_to_rename(model: IterativeRefiner, path: Path) -> None:
    model.save(path.parent)  # a folder cannot be replaced by a file


def fail_to_write(model: IterativeRefiner, path: Path) -> None:
    limits = pytest.importorskip("resource")
    soft, hard = limits.getrlimit(limits.RLIMIT_FSIZE)
    limits.setrlimit(limits.RLIMIT_FSIZE, (1000, hard))  # a disk that is full
    try:
        model.save(path)
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fail", [fail_to_describe, fail_to_rename, fail_to_write])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, fail: Callable[[IterativeRefiner, Path], None]
) -> None:
    folder = tmp_path / "run"
    model = trained(fno(), UNET)
    path = model.save(folder / "model.safetensors")
    before = contents(tmp_path)
    with torch.no_grad():
        next(iter(model.parameters())).add_(1)
    with pytest.raises((TypeError, OSError)):
        fail(model, path)
    assert contents(tmp_path) == before


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = trained(fno(), UNET).save(tmp_path / "model.safetensors")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("with_base", [False, True])
def test_a_checkpoint_holds_nothing_but_tensors_and_words(tmp_path: Path, with_base: bool) -> None:
    model = trained(fno(), UNET)
    path = model.save(tmp_path / "model.safetensors", {"score": 0.5}, with_base)
    names = {name for name in model.state_dict() if with_base or not name.startswith("base.")}
    assert load_file(path).keys() == names
    assert re.search(rb'"steps\\*": 4', path.read_bytes())
