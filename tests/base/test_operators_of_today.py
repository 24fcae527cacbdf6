"""Published operators, by their signatures: each is wrapped in one line, trained, saved, read, rolled out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from operators import RNO, AViT, DPOTNet, IsotropicModel, ModelOutput, PDETransformer, ScOT
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, Recipe, Trainer, Window, rollout

UNET = {"name": "unet", "width": 4, "depth": 1}
T = 3
LABELS = {"state_labels": torch.ones(1), "bcs": torch.zeros(2)}


@dataclass
class Case:
    """A base, the options of its refiner, the axes of x in front of ``(C, H, W)``, and other arguments."""

    base: Callable[[], nn.Module]
    options: dict[str, Any]
    frames: int = 1
    given: dict[str, Any] = field(default_factory=dict)

    def refiner(self, base: nn.Module) -> IterativeRefiner:
        sizes = {"in_channels": self.frames, "out_channels": 1}
        return IterativeRefiner(base, UNET, steps=2, **sizes, **self.options)


CASES = {
    "Poseidon": Case(ScOT, {}, given={"time": torch.ones(1)}),
    "Poseidon's tuple": Case(ScOT, {"output": 0}, given={"time": torch.ones(1), "return_dict": False}),
    "PDE-Transformer": Case(PDETransformer, {"output": "sample"}),
    "PDE-Transformer's tuple": Case(lambda: PDETransformer(return_dict=False), {}),
    "DPOT": Case(DPOTNet, {"layout": "B X Y T C"}, frames=T),
    "MPP": Case(AViT, {"layout": "T B C H W -> B C H W"}, frames=T, given=LABELS),
    "Walrus": Case(IsotropicModel, {"layout": "T B C H W"}, frames=T, given={**LABELS, "metadata": 1}),
    "RNO": Case(RNO, {"layout": "B T C *S -> B C *S"}, frames=T),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def laid_out(case: Case, model: IterativeRefiner, samples: int = 2) -> tuple[Tensor, dict[str, Any]]:
    """x in the layout of the base, and the other arguments."""
    frames = torch.randn(samples, case.frames, 8, 9)
    return model.base.layout.x.unfold(frames, case.frames), case.given


def parts(answer: Any) -> list[Tensor]:
    """All tensors of an answer, in order."""
    if isinstance(answer, Tensor):
        return [answer]
    values = answer.values() if isinstance(answer, dict) else answer
    return [tensor for value in values for tensor in parts(value)]


def test_untrained_it_returns_the_answer_of_the_base_and_its_container(case: Case) -> None:
    base = case.base()
    model = case.refiner(base).eval()
    x, given = laid_out(case, model)
    plain = base(x, **given)
    for answer in (model(x, **given), model.solve(x, **given).value, model.iterates(x, **given)[-1]):
        assert type(answer) is type(plain)
        assert all(map(torch.equal, parts(answer), parts(plain)))


def test_forward_solve_and_iterates_agree_and_a_batch_is_a_loop(case: Case) -> None:
    model = case.refiner(case.base()).eval()
    nn.init.normal_(model.correction.last.weight, std=0.1)
    x, given = laid_out(case, model)
    answer = model(x, **given)
    for same in (model.solve(x, steps=2, **given).value, model.iterates(x, **given)[2]):
        assert all(map(torch.equal, parts(answer), parts(same)))
    whole = model.base.as_field(answer)
    for place, row in enumerate(model.base.layout.x.fold(x)):
        alone = model(model.base.layout.x.unfold(row[None], case.frames), **given)
        torch.testing.assert_close(model.base.as_field(alone)[0], whole[place])


def test_it_is_trained_saved_read_and_rolled_out(case: Case, tmp_path: Path) -> None:
    base = case.base()
    model = case.refiner(base)
    axes, target = model.base.layout.x, model.base.layout.answer
    fields = torch.randn(4, case.frames + 1, 8, 9)

    def alone(axes: Any, field: Tensor, frames: int) -> Tensor:
        """One sample as a data set holds it: without the axis of samples."""
        return axes.unfold(field[None], frames).select(axes.axis("B"), 0)

    pairs = [(field[:-1], field[-1:]) for field in fields]
    data = [{"x": alone(axes, x, case.frames), "y": alone(target, y, 1), **case.given} for x, y in pairs]
    recipe = Recipe(epochs=1, batch_size=2, learning_rate=1e-2)
    Trainer(model, recipe, show=False).fit(data, data)
    model.eval()
    x, given = laid_out(case, model)
    assert not torch.equal(model.base.as_field(model(x, **given)), model.base.as_field(base(x, **given)))
    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=case.base()).eval()
    assert all(map(torch.equal, parts(again(x, **given)), parts(model(x, **given))))
    start = torch.randn(2, case.frames, 1, 8, 9)
    run = rollout(again, start, 3, window=Window(inputs=case.frames), given=given, per_sample=[])
    frames = start[:, :, 0]
    for step in range(3):
        after = again.base.as_field(again(axes.unfold(frames[:, -case.frames :], case.frames), **given))
        torch.testing.assert_close(run.frames[:, step], after)
        frames = torch.cat([frames, after], 1)


def test_the_objects_of_a_base_are_not_modified() -> None:
    kept: list[ModelOutput] = []
    base = PDETransformer()
    base.register_forward_hook(lambda *call: kept.append(call[-1]))
    model = IterativeRefiner(base, UNET, steps=1).eval()
    nn.init.normal_(model.correction.last.weight)
    answer = model(torch.randn(1, 1, 8, 8))
    assert answer is not kept[0]
    assert answer.sample is answer["sample"]
    assert not torch.equal(answer.sample, kept[0].sample)
    assert kept[0].sample is kept[0]["sample"]
