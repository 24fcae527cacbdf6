"""The clock, the rules out, res and der, and restarts."""

import math

import pytest
import torch
from cases import point_model
from neuralop.data.transforms.normalizers import Normalizer
from torch import Tensor
from torch_geometric.data import Batch, Data

from neuralop_irno import IterativeRefiner, UNet, rollout
from neuralop_irno.models.rigno import RIGNO, Statistics, TimeStepper
from neuralop_irno.rollouts import Clock, Stepper, Window
from neuralop_irno.time_step import RULES

START = torch.tensor([1.0, -2.0], dtype=torch.float64)[:, None, None].expand(2, 1, 4).contiguous()


def grown(t: Tensor | float, tau: Tensor | float) -> Tensor:
    """By how much solutions of u' = cos(t) u grow from t to t + tau."""
    now, lead = (torch.as_tensor(value, dtype=torch.float64) for value in (t, tau))
    return torch.exp(torch.sin(now + lead) - torch.sin(now)).reshape(-1, 1, 1)


def exact(rule: str, scale: float = 1.0) -> object:
    """What a perfect network says of u' = cos(t) u under a rule, with fields in units of ``scale``."""

    def network(u: Tensor, t: Tensor | float, tau: Tensor | float) -> Tensor:
        after = grown(t, tau) * u
        change = after - u
        return {"out": after, "res": change, "der": change / torch.as_tensor(tau).reshape(-1, 1, 1)}[rule]

    return network


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("restart", [0.25, 0.5, 1, 2, 3, 8])
def test_a_perfect_network_gives_the_solution_whatever_the_rule_and_the_restarts(
    rule: str, restart: float
) -> None:
    clock = Clock(start=0.3, step=0.4, restart=restart)
    run = rollout(exact(rule), START, steps=7, clock=clock, stepper=Stepper(rule))
    for index, time in enumerate(run.times.tolist()):
        assert time == pytest.approx(0.3 + 0.4 * (index + 1))
        torch.testing.assert_close(run.frames[:, index], grown(0.3, time - 0.3) * START)


def test_samples_may_have_clocks_of_their_own() -> None:
    start, step = torch.tensor([0.0, 1.0]).double(), torch.tensor([0.1, 0.7]).double()
    run = rollout(exact("der"), START, 5, clock=Clock(start, step), stepper=Stepper("der"))
    assert run.times.shape == (2, 5)
    for i in range(2):
        clock = Clock(start[i].item(), step[i].item())
        alone = rollout(exact("der"), START[i : i + 1], 5, clock=clock, stepper=Stepper("der"))
        torch.testing.assert_close(alone.frames, run.frames[i : i + 1])
        torch.testing.assert_close(alone.times, run.times[i])


@pytest.mark.parametrize("restart", [1, 2, 3])
def test_restarts_ask_for_all_leads_from_one_frame(restart: int) -> None:
    calls: list[tuple[float, float, float]] = []

    def network(u: Tensor, t: float, tau: float) -> Tensor:
        calls.append((u[0, 0, 0].item(), t, tau))
        return u + tau

    run = rollout(network, START, steps=5, clock=Clock(step=1.0, restart=restart))
    assert len(calls) == 5  # nothing is asked for beyond the last frame
    for index, (seen, t, tau) in enumerate(calls):
        assert t == index // restart * restart
        assert tau == index % restart + 1
        assert seen == 1.0 + t
    assert run.frames[0, :, 0, 0].tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("changes", [False, True])
def test_what_a_network_should_say_leads_where_it_should(rule: str, changes: bool) -> None:
    normaliser = Normalizer(torch.tensor(2.0), torch.tensor(3.0))
    other = Normalizer(torch.tensor(-1.0), torch.tensor(0.5)) if changes and rule != "out" else None
    stepper = Stepper(rule, normaliser, other)
    last, after = torch.randn(2, 1, 3, 5), torch.randn(2, 4, 3, 5)
    lead = torch.arange(1.0, 5.0)[:, None, None]
    output = stepper.target(last, after, lead)
    torch.testing.assert_close(stepper.frames(last, output, lead), after)
    if rule == "res":
        scale = 3.0 if other is None else 1.0
        by_hand = (after - last) / scale
        torch.testing.assert_close(
            output, by_hand if other is None else (by_hand + 1) / 0.5, rtol=1e-5, atol=1e-5
        )


def test_bundles_reach_every_frame_from_the_last_one_that_went_in() -> None:
    def slopes(u: Tensor, tau: float) -> Tensor:
        return torch.ones(len(u), 3, u.shape[-1], dtype=u.dtype)

    window, clock = Window(outputs=3), Clock(step=0.5)
    run = rollout(slopes, START[:, None], 5, window=window, clock=clock, stepper=Stepper("der"))
    assert run.frames[0, :, 0, 0].tolist() == [1.5, 2.0, 2.5, 3.0, 3.5]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("restart", [1, 2, 0.5])
def test_rigno_steps_on_meshes_as_single_calls_do(restart: float) -> None:
    """The reference: from one state the leads tau, 2 tau, .. k tau; then on from the last of them."""
    torch.manual_seed(0)
    meshes = [torch.rand(n, 2) for n in (40, 56)]
    states = [torch.randn(len(pos), 1) for pos in meshes]
    coefficients = [torch.randn(len(pos), 1) for pos in meshes]
    statistics = Statistics.of(torch.randn(3, 6, 40, 1), torch.linspace(0, 1, 6), c=torch.randn(3, 6, 40, 1))
    network = RIGNO(2, 1, width=8, steps=1).eval()
    stepper = TimeStepper(network, statistics, "der").eval()
    model = IterativeRefiner(
        stepper, {"name": "rigno", "width": 8, "steps": 1}, steps=1, in_channels=2, out_channels=1
    )
    clock = Clock(start=0.0, step=0.2, restart=restart)
    data = Batch.from_data_list([Data(x=u, pos=pos) for u, pos in zip(states, meshes, strict=True)])
    run = rollout(model.eval(), data, 5, clock=clock, static=torch.cat(coefficients))
    for i, (pos, c) in enumerate(zip(meshes, coefficients, strict=True)):
        seen, t = states[i], 0.0
        for index in range(5):
            with torch.no_grad():
                for part in range(clock.calls):
                    ahead = index % clock.block + 1
                    tau = 0.2 * ahead / clock.calls
                    if clock.calls > 1:
                        t = 0.2 * (index + part / clock.calls)
                    frame = stepper(torch.cat([seen, c], 1), pos, t=t, tau=tau)
                    seen = frame if clock.calls > 1 else seen
            torch.testing.assert_close(run.frames[data.batch == i, index], frame, rtol=1e-4, atol=1e-5)
            if ahead == clock.block:
                seen, t = frame, 0.2 * (index + 1)


def test_a_sample_that_blows_up_within_a_frame_leaves_at_once() -> None:
    seen: list[int] = []

    def base(u: Tensor, tau: float) -> Tensor:
        seen.append(len(u))
        return u**9

    model = IterativeRefiner(base, UNet(1, 1, width=4, depth=1, dim=1), steps=1).double()
    start = torch.tensor([0.5, 1e60], dtype=torch.float64)[:, None, None].expand(2, 1, 8)
    run = rollout(model.eval(), start, 2, clock=Clock(restart=0.25))
    assert run.lasted.tolist() == [2, 0]
    assert seen == [2] + [1] * 7


def test_a_model_without_time_is_not_given_any() -> None:
    model = point_model(1, 1)
    with_clock = rollout(model, START, 3, clock=Clock(step=math.pi))
    assert torch.equal(with_clock.frames, rollout(model, START, 3).frames)


def test_a_model_without_tau_predicts_one_frame_from_one() -> None:
    model, clock = point_model(1, 1), Clock(restart=2)
    with pytest.raises(ValueError, match=r"^expected a model that takes tau, .*, got restart=2; try"):
        rollout(model, START, 4, clock=clock)
    assert rollout(model, START, 4, clock=clock, stepper=Stepper("der")).frames.isfinite().all()
