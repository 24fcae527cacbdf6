"""Training through rollouts: plain training is a case of it, and every rule is the gradient that it says."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import SIZES, graphs, point_model
from neuralop.data.transforms.normalizers import UnitGaussianNormalizer
from torch import Tensor, nn
from torch_geometric.nn import GCN

from neuralop_irno import IterativeRefiner, RefinementLoss, rollout
from neuralop_irno.rollouts import (
    Clock,
    Curriculum,
    RolloutModel,
    RolloutTraining,
    Stepper,
    TrajectorySegments,
    Window,
)

FREE, FRAMES = 2, 6


class Pointwise(nn.Module):
    """Phi: smooth, and not zero at the start, so that every gradient has something to say."""

    def __init__(self, x_channels: int, channels: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.linear = nn.Linear(x_channels + channels, channels).double()

    def forward(self, joint: Tensor) -> Tensor:
        return torch.tanh(self.linear(joint.movedim(1, -1))).movedim(-1, 1)


def refiner(gradient: Any = "unrolled", **words: Any) -> IterativeRefiner:
    options = {"in_channels": 2, "out_channels": 2, "steps": 3, "alpha": 0.4, **words}
    return IterativeRefiner(point_model(2, 2), Pointwise(2, 2), gradient=gradient, **options)


def plain() -> nn.Module:
    return point_model(2, 2)


def flow(samples: int = 3, channels: int = 2) -> tuple[Tensor, Tensor]:
    frames = torch.randn(samples, FRAMES + 1, channels, 5, dtype=torch.float64)
    return frames[:, 0], frames[:, 1:].flatten(1, 2)


def gradients(
    model: nn.Module, plan: RolloutTraining, x: Tensor, y: Tensor, **words: Any
) -> dict[str, Tensor]:
    in_time = RolloutModel(copy.deepcopy(model), plan, **words).train()
    loss = RefinementLoss(spectral=0.1, fixed_point=0.1, reduction="mean")
    loss(in_time(x, y), y).backward()
    return {name: p.grad for name, p in in_time.named_parameters() if p.grad is not None}


def same(mine: dict[str, Tensor], other: dict[str, Tensor], exact: bool = False) -> None:
    assert mine
    torch.testing.assert_close(mine, other, rtol=0 if exact else 1e-10, atol=0 if exact else 1e-13)


@pytest.mark.parametrize("make", [plain, refiner])
def test_one_call_is_plain_training(make: Callable[[], nn.Module]) -> None:
    x, y = flow()
    model = make().train()
    first = y[:, :2]
    loss = RefinementLoss(spectral=0.1, fixed_point=0.1, reduction="mean")
    loss(model(x, y=first) if isinstance(model, IterativeRefiner) else model(x), first).backward()
    by_hand = {f"model.{name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    same(gradients(make(), RolloutTraining(steps=1), x, y), by_hand, exact=True)


def test_pushforward_is_plain_training_from_frames_of_the_models_own() -> None:
    x, y = flow()
    model = refiner().eval()
    own = rollout(model, x, FREE).frames[:, -1]
    pushed = gradients(model, RolloutTraining(steps=1, free=FREE), x, y)
    same(pushed, gradients(model, RolloutTraining(steps=1), own, y[:, 2 * FREE :]))


@pytest.mark.parametrize("make", [plain, refiner])
def test_the_gradient_through_time_is_that_of_a_loop_by_hand(make: Callable[[], nn.Module]) -> None:
    x, y = flow()
    model, loss = make().train(), RefinementLoss(reduction="mean")
    by_hand = copy.deepcopy(model)
    state, total = x, torch.zeros(())
    for truth in y.split(2, 1):
        if isinstance(by_hand, IterativeRefiner):
            said = by_hand(state, y=truth)
            state = said.last
        else:
            said = state = by_hand(state)
        total = total + loss(said, truth) / FRAMES
    total.backward()
    in_time = RolloutModel(model, RolloutTraining(steps=FRAMES)).train()
    own = loss(in_time(x, y), y)
    own.backward()
    torch.testing.assert_close(own, total, rtol=1e-12, atol=0)
    for mine, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("rule", ["unrolled", "checkpointed", {"name": "last", "n": 2}, "detached"], ids=str)
def test_checkpointed_gradients_are_those_of_unrolled_time(rule: Any) -> None:
    x, y = flow()
    found = []
    for gradient in ("unrolled", "checkpointed"):
        torch.manual_seed(5)  # detached draws its states
        found.append(gradients(refiner(rule), RolloutTraining(4, free=1, gradient=gradient, noise=0.1), x, y))
    same(*found)


def test_checkpoints_keep_less() -> None:
    x, y = flow()
    kept = {}
    for gradient in ("unrolled", "checkpointed"):
        sizes: list[int] = []

        def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        in_time = RolloutModel(refiner(), RolloutTraining(FRAMES, gradient=gradient)).train()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            in_time(x, y)
        kept[gradient] = sum(sizes)
    assert kept["checkpointed"] < kept["unrolled"] / 4


def test_truncation_cuts_where_it_says() -> None:
    x, y = flow()
    whole = gradients(plain(), RolloutTraining(4), x, y)
    same(gradients(plain(), RolloutTraining(4, truncate=4), x, y), whole, exact=True)
    same(gradients(plain(), RolloutTraining(4, truncate=9), x, y), whole, exact=True)
    halves = gradients(plain(), RolloutTraining(4, truncate=2), x, y)
    later = gradients(plain(), RolloutTraining(2, free=2), x, y)
    first = gradients(plain(), RolloutTraining(2), x, y)
    same(halves, {name: (first[name] + later[name]) / 2 for name in first})
    assert not torch.allclose(halves["model.linear.weight"], whole["model.linear.weight"])


def test_under_detached_no_gradient_crosses_time() -> None:
    """Every call is supervised as if it stood alone, at the one k that the sample drew."""
    x, y = flow()
    model = refiner("detached")
    states = [x, *rollout(copy.deepcopy(model).eval(), x, 2).frames.unbind(1)]
    torch.manual_seed(6)
    together = gradients(model, RolloutTraining(3), x, y)
    alone = []
    for state, truth in zip(states, y.split(2, 1), strict=False):
        torch.manual_seed(6)
        alone.append(gradients(model, RolloutTraining(1), state, truth))
    same(together, {name: sum(each[name] for each in alone) / 3 for name in together})


def test_noise_is_in_units_of_the_change_and_none_draws_nothing() -> None:
    x = torch.zeros(2, 2, 4000, dtype=torch.float64)
    y = torch.ones(2, 1, 1, dtype=torch.float64) * torch.tensor([1.0, 100.0], dtype=torch.float64)[:, None]
    y = (y * torch.tensor([[[1.0]], [[7.0]]])).expand(2, 2, 4000)
    seen: list[Tensor] = []

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x

    before = torch.get_rng_state()
    RolloutModel(Looks(), RolloutTraining(1)).train()(x, y)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(seen[0], x)
    RolloutModel(Looks(), RolloutTraining(1, noise=0.1)).train()(x, y)
    expected = 0.1 * torch.tensor([[1.0, 100.0], [7.0, 700.0]], dtype=torch.float64)
    torch.testing.assert_close(seen[1].std(-1), expected, rtol=0.05, atol=0)
    RolloutModel(Looks(), RolloutTraining(1, noise=0.1)).eval()(x)
    assert torch.equal(seen[2], x)


def test_the_curriculum_is_the_stated_function_of_the_batches_seen() -> None:
    x, y = flow()
    in_time = RolloutModel(plain(), RolloutTraining(Curriculum(1, 4, updates=8), free=1)).train()
    supervised = []
    for _ in range(10):
        supervised.append(in_time(x, y).last.shape[1] // 2)
    assert supervised == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4]
    again = RolloutModel(plain(), in_time.plan).train()
    again.load_state_dict(in_time.state_dict())
    assert again.updates == 10
    assert in_time.eval()(x).shape[1] == 5 * 2
    assert in_time.updates == 10


@pytest.mark.parametrize("rule", ["out", "res", "der"])
@pytest.mark.parametrize("order", ["time", "channel"])
def test_windows_steppers_and_all_that_a_rollout_carries(rule: str, order: str) -> None:
    """In evaluation the answer is the rollout; in training the square error is that of its frames."""
    inputs, outputs, samples = 3, 2, 4
    model = point_model(inputs * 2 + 1 + outputs, outputs * 2)
    frames = torch.randn(samples, inputs + FRAMES, 2, 5, dtype=torch.float64)
    scale = UnitGaussianNormalizer(dim=[0, 2], eps=0)
    scale.fit(3 * frames.flatten(0, 1) + 1)
    words = {
        "window": Window(inputs, outputs, order),
        "stepper": Stepper(rule, normaliser=scale),
        "clock": Clock(step=0.5),
    }
    static = torch.randn(1, 1, 5, dtype=torch.float64)
    forcing = torch.randn(samples, FRAMES, 1, 5, dtype=torch.float64)
    past, after = frames[:, :inputs], frames[:, inputs:]
    run = rollout(model, past, FRAMES, static=static, forcing=forcing, **words).frames
    in_time = RolloutModel(model, RolloutTraining(FRAMES // outputs), **words)
    x, y = past.flatten(1, 2), after.flatten(1, 2)
    assert torch.equal(in_time.eval()(x, y, static, forcing).unflatten(1, (-1, 2)), run)

    trajectory = in_time.train()(x, y, static, forcing)
    lead = torch.tensor([1.0, 2.0] if rule == "der" else [2.0, 2.0]) / 2
    error = (run - after) / scale.std / lead.repeat(FRAMES // 2)[:, None, None]
    torch.testing.assert_close(
        RefinementLoss(reduction="mean")(trajectory, y), error.square().mean(), rtol=1e-10, atol=0
    )


def test_a_batch_is_its_members_on_grids() -> None:
    x, y = flow()
    plan = RolloutTraining(3, free=1, truncate=2)
    together = gradients(refiner(), plan, x, y)
    alone = [gradients(refiner(), plan, x[i : i + 1], y[i : i + 1]) for i in range(3)]
    same(together, {name: sum(each[name] for each in alone) / 3 for name in together})


def gcn(in_channels: int, out_channels: int) -> nn.Module:
    torch.manual_seed(3)
    return GCN(in_channels, 8, 2, out_channels).double()


def on_graphs() -> IterativeRefiner:
    words = {"name": "meshgraph", "width": 4, "steps": 1}
    model = IterativeRefiner(
        gcn(2, 1), words, steps=2, alpha=0.5, gradient="unrolled", in_channels=2, out_channels=1
    )
    nn.init.normal_(model.correction.last.weight, std=0.3)
    return model.double()


@pytest.mark.parametrize("make", [lambda: gcn(2, 1), on_graphs], ids=["plain", "refined"])
def test_a_batch_is_its_members_on_graphs(make: Callable[[], nn.Module]) -> None:
    """And a graph of many nodes has no more to say than one of few."""
    batch = graphs(times=2 + FRAMES)
    plan, window = RolloutTraining(3, free=1, gradient="checkpointed"), Window(inputs=2)

    def run(x: Tensor, **parts: Tensor) -> dict[str, Tensor]:
        in_time = RolloutModel(make(), plan, window=window).train()
        past, after = x[:, :2].flatten(1, 2), x[:, 2:].flatten(1, 2)
        trajectory = in_time(past, after, **parts)
        RefinementLoss(fixed_point=0.1, reduction="mean")(trajectory, after).backward()
        answer = in_time.eval()(past, **parts).unflatten(1, (-1, 1))
        frames = rollout(in_time.model, x[:, :2], plan.calls, window=window, given=parts).frames
        assert torch.equal(answer, frames)
        return {name: p.grad for name, p in in_time.named_parameters() if p.grad is not None}

    together = run(batch.x, edge_index=batch.edge_index, pos=batch.pos, batch=batch.batch)
    alone = [run(graph.x, edge_index=graph.edge_index, pos=graph.pos) for graph in batch.to_data_list()]
    same(together, {name: sum(each[name] for each in alone) / len(SIZES) for name in together})


def test_what_does_not_fit_is_refused() -> None:
    x, y = flow()
    mistakes: dict[str, Callable[[], object]] = {
        "steps >= 1, got 0": lambda: RolloutTraining(0),
        "free >= 0, got -1": lambda: RolloutTraining(free=-1),
        "truncate >= 1, got 0": lambda: RolloutTraining(truncate=0),
        "a gradient rule in time, got 'checkpoint'": lambda: RolloutTraining(gradient="checkpoint"),
        "1 <= first <= last, and updates >= 1, got (3, 2, 9)": lambda: Curriculum(3, 2, 9),
        "restart=1 in training, got 4": lambda: RolloutModel(plain(), clock=Clock(restart=4)),
        "y of 7 frames with 2 channels": lambda: RolloutModel(plain(), RolloutTraining(7)).train()(x, y),
        "trajectories of one length, got train_output='field'": lambda: RolloutModel(
            refiner(train_output="field")
        ).train()(x, y),
        "trajectories of one length, got train_output='trajectory', steps=[1, 3]": lambda: RolloutModel(
            refiner(steps=[1, 3])
        ).train()(x, y),
        "trajectories of 9 frames, got at most 7": lambda: TrajectorySegments(torch.zeros(2, 7, 1, 4), 1, 8),
        "every >= 1, got 0": lambda: TrajectorySegments(torch.zeros(2, 7, 1, 4), 1, 2, every=0),
    }
    for words, mistake in mistakes.items():
        with pytest.raises(ValueError, match=r"^expected [^\n]+, got [^\n]+; try [^\n]+$") as caught:
            mistake()
        assert words in str(caught.value)
