"""Arguments by sample, the end of a rollout by its own function, and input that does not fit."""

import os
import signal
from typing import Any

import pytest
import torch
from cases import graphs, point_model
from torch import Tensor, nn

import neuralop_irno as irno
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.rollouts import Clock, Ending, RolloutModel, RolloutTraining, Step, Window

START = torch.arange(1.0, 5.0)[:, None, None] * torch.ones(4, 4, 3)  # four samples, four channels


def losing(*samples: int) -> Any:
    """An amendment that spoils some samples in the first frame."""

    class Losing:
        def bind(self, last: Tensor, domain: Any, steps: int) -> Any:
            def spoil(index: int, frame: Tensor) -> Tensor:
                frame = frame.clone()
                frame[list(samples)] = torch.nan
                return frame

            return spoil

    return Losing()


def scaled(u: Tensor, means: Tensor, gain: Tensor, field: Tensor) -> Tensor:
    assert len(means) == 4, "a channel was lost"
    return gain[:, None, None] * (u - means[:, None]) + field


def test_only_arguments_by_sample_lose_rows_with_their_samples() -> None:
    given = {"means": torch.arange(4.0), "gain": torch.arange(1.0, 5.0), "field": START}
    run = irno.rollout(scaled, START, 3, given=given, per_sample=["gain"], amend=losing(1, 2))
    assert run.lasted.tolist() == [3, 0, 0, 3]
    for i in (0, 3):
        mine = {**given, "gain": given["gain"][i : i + 1], "field": START[i : i + 1]}
        alone = irno.rollout(scaled, START[i : i + 1], 3, given=mine)
        assert torch.equal(run.frames[i : i + 1], alone.frames)


REFUSED = {
    "per_sample to state whether 'means' has a row for each sample, got 4 rows and 4 samples": {
        "given": {"means": torch.ones(4)}
    },
    "per_sample to state whether 'names' has": {"given": {"names": ["a", "b", "c", "d"]}},
    "per_sample to name arguments in given, got 'gian'; try 'gain'": {
        "given": {"gain": torch.ones(4)},
        "per_sample": ["gian"],
    },
    "a row for each of 4 samples, got 3 in 'gain'": {
        "given": {"gain": torch.ones(3)},
        "per_sample": ["gain"],
    },
    "a start of at least one sample, got (0, 4, 3)": {"start": START[:0]},
    "a start of at least one sample, got (4, 4, 0)": {"start": START[..., :0]},
}


@pytest.mark.parametrize("words", REFUSED)
def test_arguments_that_do_not_fit_are_refused(words: str) -> None:
    options: dict[str, Any] = dict(REFUSED[words])
    start = options.pop("start", START)
    with pytest.raises(ValueError, match=r"^expected [^\n]+, got [^\n]+; try [^\n]+$") as caught:
        irno.rollout(lambda u, **_: u, start, 2, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize("time", [{"step": 0}, {"step": float("nan")}, {"start": float("inf")}])
def test_times_have_to_be_finite_and_to_go_on(time: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^expected a finite (step other than 0|start), got "):
        Clock(**time)


def test_rows_of_nodes_are_cut_and_rows_by_sample_are_asked_for() -> None:
    batch = graphs()
    parts = {"edge_index": batch.edge_index, "batch": batch.batch}

    def model(x: Tensor, edge_index: Tensor, batch: Tensor, pos: Tensor, gain: Tensor) -> Tensor:
        return gain[batch, None] * x + pos[:, :1]

    given = {**parts, "pos": batch.pos, "gain": torch.tensor([0.1, 0.2, 0.3]).double()}
    with pytest.raises(ValueError, match="whether 'gain' has"):
        irno.rollout(model, batch.x, 2, given=given)
    rows = (batch.batch == 1).nonzero()[:, 0].tolist()
    run = irno.rollout(model, batch.x, 3, given=given, per_sample=["gain"], amend=losing(*rows))
    whole = irno.rollout(model, batch.x, 3, given=given, per_sample=["gain"])
    kept = batch.batch != 1
    assert run.lasted.tolist() == [3, 0, 3]
    assert torch.equal(run.frames[kept], whole.frames[kept])


def test_in_time_takes_collated_arguments_by_sample_and_whole_frames_only() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor, gain: Tensor) -> Tensor:
            return self.weight * gain[:, None, None] * x[:, :1]

    model = RolloutModel(Scaled(), RolloutTraining(steps=2, free=1), Window(inputs=2))
    x, y = torch.randn(3, 2, 8), torch.randn(3, 3, 8)
    RefinementLoss()(model(x, y, gain=torch.ones(3)), y).backward()
    assert model.model.weight.grad
    for known in (x, x.expand(3, 2, 8)):
        with pytest.raises(ValueError, match=r"x of whole frames, .* got 3 channels for 2 frames"):
            model(torch.cat([known, known[:, :1]], 1), y, gain=torch.ones(3))


@pytest.mark.parametrize("broken", [(), (2,)])
def test_a_function_may_end_the_rollout(broken: tuple[int, ...]) -> None:
    seen: list[int] = []

    def take(step: Step) -> Ending | None:
        seen.append(step.index)
        return Ending.STOPPED if step.index == 2 else None

    run = irno.rollout(point_model(4, 4), START.double(), 9, to=take, amend=losing(*broken))
    assert seen == [0, 1, 2]
    for sample in range(4):
        ending = (0, Ending.NOT_FINITE) if sample in broken else (3, Ending.STOPPED)
        assert (run.lasted[sample].item(), run.endings[sample]) == ending


def test_what_a_function_returns_otherwise_does_not_end_it() -> None:
    seen: list[int] = []
    irno.rollout(lambda u: u, START, 4, to=lambda step: seen.append(step.index) or len(seen))
    assert seen == [0, 1, 2, 3]


def test_a_signal_ends_a_rollout_that_is_asked_to_heed_it() -> None:
    from neuralop_irno.training.stopping import stop_request

    def model(u: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.5 * u

    with stop_request() as request:
        to = [None, lambda step: irno.Ending.STOPPED if request else None]
        run = irno.rollout(model, START, 5, to=to)
    assert torch.equal(run.frames, 0.5 * START[:, None])
    assert run.lasted.tolist() == [1] * 4
