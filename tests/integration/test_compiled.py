"""``compile=True``: Phi as one graph gives the numbers and the gradients of Phi as it is.

Tracing takes seconds a graph: ``make test-compiled`` tries every correction and loss, other runs a few.
"""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from named_cases import CORRECTED, GRID, MESHES, UNET, Case, an_experiment, around
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from neuralop_irno import Correction, IterativeRefiner, Recipe, RefinementLoss, Trainer, compiling
from neuralop_irno.compiling import compiled
from neuralop_irno.data.fields import FieldDataset

pytestmark = [
    pytest.mark.filterwarnings("ignore:Dynamo (detected|does not know):UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning"),
]

ON_GRIDS = [name for name, case in CORRECTED.items() if case.data is GRID and case.refused is None]
IN_SINGLE = ("unet", "residual_unet", "public_unet", "fno")
ALL = os.environ.get("COMPILED") == "1"
CASES = [(name, torch.float64) for name in (ON_GRIDS if ALL else IN_SINGLE)]
CASES += [(name, torch.float32) for name in IN_SINGLE if ALL]
LOSSES = [{"fixed_point": 0.1}, *[{name: 0.1} for name in ("contraction", "monotone") if ALL]]
AGREEMENT = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> CompileCounterWithBackend:
    """Counts graphs, which are run without a C++ compiler; what earlier tests made is forgotten."""
    torch.compiler.reset()
    counts = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(compiling, "BACKEND", counts)
    return counts


def refiner(correction: Any, case: Case, **options: Any) -> IterativeRefiner:
    """A refiner with a correction that is not zero."""
    torch.manual_seed(0)
    known = {"steps": 2, "in_channels": 2, "out_channels": 2, **case.model, **options}
    model = IterativeRefiner(around(case)[0], correction, **known)
    with torch.no_grad():
        for parameter in model.correction.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def of_unet(**options: Any) -> IterativeRefiner:
    return refiner({"name": "unet", "width": 2, "depth": 0}, Case({}, GRID), **options).double()


def fields(samples: int, dtype: torch.dtype = torch.float64, cells: int = 8) -> list[Tensor]:
    """x, the start of the iteration and y."""
    draw = torch.Generator().manual_seed(samples)
    return list(torch.randn(3, samples, 2, cells, cells, dtype=dtype, generator=draw))


def a_pass(model: IterativeRefiner, on: bool, loss: RefinementLoss, parts: list[Tensor]) -> list[Tensor]:
    """The iterates of a training pass, its loss, and the gradients of the correction."""
    model = copy.deepcopy(model).train()
    x, start, y = parts
    torch.manual_seed(1)
    with compiled(model, on):
        trajectory = model(x, y=y, start=start)
        value = loss(trajectory, y)
        value.backward()
    gradients = [p.grad for p in model.correction.parameters() if p.grad is not None]
    return [*(h.detach() for h in trajectory.iterates), value.detach(), *gradients]


def assert_close(found: list[Tensor], wanted: list[Tensor], agreement: float) -> None:
    largest = max(other.norm() for other in wanted)  # some gradients are zero but for rounding
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).norm() <= agreement * largest


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_graphs_have_the_values_and_gradients_of_every_correction(
    name: str, dtype: torch.dtype, counter: CompileCounterWithBackend
) -> None:
    case = CORRECTED[name]
    model = refiner({"name": name, **case.options}, case, steps=1)
    model = model.double() if dtype == torch.float64 else model
    ways = [a_pass(model, on, RefinementLoss(), fields(3, dtype)) for on in (True, False)]
    assert_close(*ways, AGREEMENT[dtype])
    assert counter.frame_count >= 1


def with_mask(model: IterativeRefiner, x: Tensor) -> Tensor:
    mask = torch.ones(len(x), 1, *x.shape[2:])
    mask[..., :3] = 0
    return model(x, mask=mask, t=torch.arange(1.0, len(x) + 1, dtype=x.dtype))


AROUND: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[IterativeRefiner, Tensor], Tensor]]] = {
    "in the frame of x": ({"frame": True}, {}, lambda model, x: model(x)),
    "on a finer grid": ({}, {"resolution": {"cells": [4, 4], "extent": "fixed"}}, lambda model, x: model(x)),
    "in patches": ({"depth": 0}, {}, lambda model, x: model.in_patches(4)(x)),
    "with conditions": ({}, {"condition": {"t": "scalar", "mask": "mask"}}, with_mask),
    "by Anderson's method": ({}, {"solver": "anderson", "steps": 4}, lambda model, x: model(x)),
}


@pytest.mark.parametrize("way", AROUND)
def test_graphs_serve_what_is_around_a_correction(way: str, counter: CompileCounterWithBackend) -> None:
    words, options, call = AROUND[way]
    correction = {"name": "unet", "width": 2, "depth": 0, **words}
    model = refiner(correction, Case({}, GRID), **options).double().eval()
    x = fields(2)[0]
    with torch.no_grad():
        wanted = call(model, x)
        with compiled(model):
            found = call(model, x)
    assert_close([found], [wanted], 1e-10)
    assert counter.frame_count >= 1


@pytest.mark.filterwarnings("ignore:implicit gradient:UserWarning")
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("gradient", ["detached", "unrolled", "checkpointed", "implicit"])
def test_every_rule_has_the_gradient_of_eager_steps(
    gradient: str, loss: dict[str, float], counter: CompileCounterWithBackend
) -> None:
    model = of_unet(gradient=gradient, steps=3, alpha=0.05)
    ways = [a_pass(model, on, RefinementLoss(spectral=0.5, **loss), fields(3)) for on in (True, False)]
    assert_close(*ways, 1e-10)
    assert counter.frame_count >= 1


@pytest.mark.parametrize("name", ["unet", "fno"] if ALL else ["unet"])
def test_few_graphs_serve_all_numbers_of_steps_and_samples(
    name: str, counter: CompileCounterWithBackend
) -> None:
    model = refiner({"name": name, **CORRECTED[name].options}, CORRECTED[name]).eval()
    counters.clear()
    for samples in range(16, 0, -1):
        x, start, _ = fields(samples, torch.float32)
        longest = 1 + samples % 12
        limits = torch.arange(samples) % longest + 1  # samples leave after different numbers of steps
        solved = [
            model.solve(x, start=start, rtol=1e-20, max_steps=limits, compile=on) for on in (True, False)
        ]
        assert torch.equal(solved[0].steps, solved[1].steps)
        assert_close([solved[0].value], [solved[1].value], 1e-5)
    assert counter.frame_count <= 4  # at most 3 recompilations
    assert not counters["graph_break"]


def test_copies_and_files_of_a_compiled_model_contain_no_graphs(
    tmp_path: Path, counter: CompileCounterWithBackend
) -> None:
    model = of_unet().float().eval()
    names, (x, start, _) = list(model.state_dict()), fields(2, torch.float32)
    solved = model.solve(x, start=start, compile=True).value
    assert counter.frame_count == 1
    assert list(model.state_dict()) == names
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model.correction))):
        assert not any("_orig_mod" in name for name in other.state_dict())
    model.save(tmp_path / "model.safetensors")
    read = IterativeRefiner.from_checkpoint(tmp_path / "model.safetensors").eval()
    assert_close([read.solve(x, start=start).value], [solved], 1e-5)


class Branching(Correction):
    """Its layers depend on its values."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return h if h.sum().item() > 0 else -h


def test_what_does_not_compile_is_refused(counter: CompileCounterWithBackend) -> None:
    x, start, _ = fields(2)
    model = refiner(Branching(), Case({}, GRID)).double().eval()
    with pytest.raises(ValueError, match="expected a correction that compiles to one graph, got Branching: "):
        model.solve(x, start=start, compile=True)
    assert model.solve(x, start=start).value.isfinite().all()
    with pytest.raises(TypeError, match="expected compile true or false, got 'inductor'; try compile=True"):
        model.solve(x, start=start, compile="inductor")
    with pytest.raises(ValueError, match="expected a refiner whose correction is compiled, got Conv2d"):
        Trainer(nn.Conv2d(2, 2, 1), Recipe(compile=True))


def test_meshes_are_refused(counter: CompileCounterWithBackend) -> None:
    case = Case({}, MESHES)
    built = an_experiment(*around(case), case)
    splits = built.splits()
    model = built.build_refiner(built.build_base(splits), None).eval()
    with pytest.raises(ValueError, match=r"expected a correction on a grid to compile, got MeshGraph"):
        model.solve(**model.arguments(splits["test"][0].to_dict()), compile=True)


def trained(on: bool) -> tuple[list[Tensor], list[dict[str, Any]]]:
    model = refiner(UNET, Case({}, GRID), steps=3)
    x, start, y = fields(6, torch.float32)
    recipe = Recipe(epochs=2, batch_size=4, optimizer="sgd", precision="float32", compile=on)
    trainer = Trainer(model, recipe, RefinementLoss(spectral=0.5, fixed_point=0.1), show=False)
    history = trainer.fit(FieldDataset(x, y), FieldDataset(start, y))
    return [p.detach() for p in model.correction.parameters()], history


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What the package logs."""
    import logging

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    lines: list[str] = []
    handler, log = Keep(), logging.getLogger("neuralop_irno")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(handler)
    log.setLevel(before)


def test_a_compiled_training_is_the_training(counter: CompileCounterWithBackend, messages: list[str]) -> None:
    (weights, history), (wanted, before) = trained(True), trained(False)
    assert_close(weights, wanted, 1e-5)
    assert [len(record) for record in history] == [len(record) for record in before]
    assert counter.frame_count >= 1
    (line,) = (line for line in messages if line.startswith("compile: "))
    assert "5 pairs; graphs made in" in line


class Small(Correction):
    """A layer and an activation, since a C++ compiler takes a second for each."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(2, 1, 3, padding=1, padding_mode="circular")

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return nn.functional.gelu(self.layer(torch.cat([x, h], 1)))


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_has_the_values_and_gradients() -> None:
    torch.manual_seed(0)
    model = IterativeRefiner(nn.Conv1d(1, 1, 1), Small(), steps=2, gradient="unrolled").double()
    parts = list(torch.randn(3, 2, 1, 8, dtype=torch.float64))
    ways = [a_pass(model, on, RefinementLoss(), parts) for on in (True, False)]
    assert_close(*ways, 1e-10)
