"""neuraloperator's Trainer evaluates rollouts, and what it reports is the error of `rollout`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import point_model
from neuralop.data.transforms.normalizers import UnitGaussianNormalizer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from neuralop_irno import IterativeRefiner, RefinementLoss, UNet, rollout
from neuralop_irno._neuralop import Trainer
from neuralop_irno.rollouts import (
    Autoregression,
    Clock,
    RolloutModel,
    RolloutTraining,
    Stepper,
    TrajectorySegments,
    Window,
)

FRAMES, BUNDLE = 5, 2


def flows(samples: int = 3) -> Tensor:
    return torch.randn(samples, 3 + FRAMES, 2, 6, generator=torch.Generator().manual_seed(7))


def loader(inputs: int, frames: int = FRAMES) -> DataLoader[Any]:
    return DataLoader(TrajectorySegments(flows(), inputs, frames, every=100), batch_size=2)


def mean_square(out: Tensor, y: Tensor, **sample: object) -> Tensor:
    return (out - y).square().flatten(1).mean(1).sum()


class OfX(nn.Module):
    """Called with y as well, as that Trainer calls models."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.model(x)


def train(model: nn.Module, processor: Autoregression | None, mode: str, **words: Any) -> dict[str, float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=words.pop("lr", 0.0))
    inputs, frames = words.pop("inputs", 1), words.pop("frames", FRAMES)
    trainer = Trainer(model=model, n_epochs=1, data_processor=processor)
    found: dict[str, float] = trainer.train(
        train_loader=loader(inputs, frames),
        test_loaders={"test": loader(inputs, frames)},
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size=10),
        training_loss=words.pop("loss", mean_square),
        eval_losses={"mse": mean_square},
        eval_modes={"test": mode},
        **words,
    )
    return found


@pytest.mark.parametrize("rule", ["out", "res", "der"])
@pytest.mark.parametrize("order", ["time", "channel"])
def test_its_error_is_that_of_our_rollout(rule: str, order: str) -> None:
    """Five true frames are two whole bundles; the fifth is left out."""
    window = Window(3, BUNDLE, order)
    scale = UnitGaussianNormalizer(dim=[0, 2])
    scale.fit(3 * flows().flatten(0, 1) + 1)
    model, stepper = point_model(6, 4).float(), Stepper(rule, normaliser=scale)
    past, after = flows().split([3, FRAMES], 1)
    own = rollout(model, past, 4, window=window, stepper=stepper, clock=Clock(step=0.5)).frames
    processor = Autoregression(window, stepper, lead=0.5)
    whole = train(OfX(model), processor, "autoregression", inputs=3)
    torch.testing.assert_close(float(whole["test_mse"]), float((own - after[:, :4]).square().mean()))
    one = train(OfX(model), processor, "single_step", inputs=3)
    first = (own[:, :BUNDLE] - after[:, :BUNDLE]).square().mean()
    torch.testing.assert_close(float(one["test_mse"]), float(first))


def refiner() -> IterativeRefiner:
    torch.manual_seed(8)
    return IterativeRefiner(nn.Conv1d(2, 2, 1), UNet(2, 2, width=4, depth=1, dim=1), steps=2, alpha=0.5)


def test_it_trains_a_refiner_meanwhile_on_one_call() -> None:
    model = refiner()
    before = [p.clone() for p in model.correction.parameters()]
    loss = RefinementLoss(fixed_point=0.1)
    found = train(model, Autoregression(), "autoregression", loss=loss, lr=0.1)
    assert any(not torch.equal(p, q) for p, q in zip(before, model.correction.parameters(), strict=True))
    own = rollout(model.eval(), flows()[:, 0], FRAMES).frames
    expected = (own - flows()[:, 1 : 1 + FRAMES]).square().mean()
    torch.testing.assert_close(float(found["test_mse"]), float(expected))


def test_it_trains_through_time_without_any_processor() -> None:
    """A model in time is a model from x to y: it is its own rollout in evaluation."""
    model = RolloutModel(refiner(), RolloutTraining(FRAMES - 1, free=1))
    found = train(model, None, "single_step", loss=RefinementLoss(), lr=0.1)
    own = rollout(model.model.eval(), flows()[:, 0], FRAMES).frames
    expected = (own - flows()[:, 1 : 1 + FRAMES]).square().mean()
    torch.testing.assert_close(float(found["test_mse"]), float(expected))
    assert model.updates == 2


def test_static_fields_are_seen_and_not_predicted() -> None:
    model = point_model(3, 2).float()
    frames, static = flows(), torch.randn(3, 1, 6)
    own = rollout(model, frames[:, 0], 2, static=static).frames
    processor = Autoregression().eval()
    sample: Any = {"x": frames[:, 0], "y": frames[:, 1:3].flatten(1, 2), "static": static}
    for step in range(2):
        sample = processor.preprocess(sample, step=step)
        assert sorted(sample) == ["x", "y"]
        with torch.no_grad():
            out, sample = processor.postprocess(model(sample["x"]), sample, step=step)
        assert torch.equal(out, own[:, step])
    assert processor.preprocess(sample, step=2) is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a lead for rule 'der', got None; try lead=0.1"):
        Autoregression(stepper=Stepper("der"))
    short = {"x": torch.zeros(1, 2, 4), "y": torch.zeros(1, 2, 4)}
    with pytest.raises(ValueError, match=r"expected x of 2 frames and y of at least 3, got 2 and 2 channels"):
        Autoregression(Window(2, 3)).preprocess(short)


def test_the_mode_that_its_documentation_names_is_unknown_to_it() -> None:
    """The day on which this fails, docs/rollouts.md has a note to lose."""
    with pytest.raises(UnboundLocalError):
        train(OfX(point_model(2, 2).float()), Autoregression(), "autoregressive")
