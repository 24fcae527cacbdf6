"""All frames at once: the same frames as one after the other, for every rule, domain, window and solver."""

from pathlib import Path
from typing import Any

import pytest
import torch
from cases import KINDS, ONE_SENTENCE, Breaking, Interrupted, fno, graphs, point_model
from conftest import Contracting
from torch import Tensor, nn
from torch_geometric.nn import GCN

from neuralop_irno import Adaptive, Clock, IterativeRefiner, Known, Parallel, Refine, Stepper, Window, rollout
from neuralop_irno.rollouts import Ending

STEPS = 10
RULES = {
    "out": (Stepper(), None),
    "res": (Stepper("res"), None),
    "der": (Stepper("der"), Clock(0.5, torch.tensor([0.1, 0.2, 0.3]))),
}
WINDOWS = [Window(), Window(2, 1), Window(2, 3), Window(1, 2, "channel"), Window(3, 2)]
WAYS = [Parallel(4), Parallel(STEPS, rtol=0.0), Parallel(3, solver="anderson"), Parallel(7, solver="aitken")]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def on_grids(dim: int, inputs: int, channels: int) -> Tensor:
    return torch.randn((3, inputs, channels, *(5, 4, 3)[:dim]), generator=generator()).double()


class Net(nn.Module):
    """Messages between neighbours, then the mean of each graph, so that samples must not be mixed."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv = GCN(inputs, 4, 1, outputs)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        message = self.conv(x, edge_index)
        batch = torch.zeros(len(x), dtype=torch.long) if batch is None else batch
        count = batch.bincount()[:, None]
        mean = message.new_zeros(len(count), message.shape[1]).index_add(0, batch, message) / count
        return torch.tanh(message - mean[batch])


def same(together: Any, alone: Any) -> None:
    torch.testing.assert_close(together.frames, alone.frames, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert together.endings == alone.endings
    assert together.lasted.tolist() == alone.lasted.tolist()


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_frames_are_those_of_one_after_the_other(rule: str, window: Window, way: Parallel) -> None:
    stepper, clock = RULES[rule]
    model = point_model(2 * window.inputs + 1, 2 * window.outputs)
    options = {"window": window, "stepper": stepper, "clock": clock, "static": torch.ones(1, 1, 1).double()}
    start = on_grids(1, window.inputs, 2)
    alone = rollout(model, start, STEPS, **options)
    together = rollout(model, start, STEPS, **options, parallel=way)
    same(together, alone)
    block = -(-way.frames // window.outputs) * window.outputs
    assert together.sweeps.shape == (-(-STEPS // block), 3)
    assert alone.sweeps is None


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("form", ["grid 2", "grid 3", "batch", "one graph", "parts", "one in parts"])
def test_on_grids_and_graphs_of_many_sizes(form: str, way: Parallel) -> None:
    if form.startswith("grid"):
        start, model, given = on_grids(int(form[-1]), 1, 1)[:, 0], point_model(1, 1), {}
    else:
        batch = graphs() if form in ("batch", "parts") else graphs()[1]
        model, given = Net(1, 1).double().eval(), {}
        start = batch
        if "parts" in form:
            given = {"edge_index": batch.edge_index}
            given |= {"batch": batch.batch} if form == "parts" else {}
            start = batch.x
    alone = rollout(model, start, STEPS, given=given)
    same(rollout(model, start, STEPS, given=given, parallel=way), alone)


class Logistic(nn.Module):
    """Chaotic: two rollouts that differ by rounding part within fifty frames."""

    def forward(self, x: Tensor) -> Tensor:
        return 3.9 * x * (1 - x)


class Exploding(nn.Module):
    """Squares; samples above 1 overflow at different frames, which others must not notice."""

    def forward(self, x: Tensor) -> Tensor:
        return x**2


@pytest.mark.parametrize("frames", [1, 4, 16, 30])
@pytest.mark.parametrize("model", [Logistic(), Exploding()], ids=["chaotic", "overflowing"])
def test_models_that_do_not_contract(model: nn.Module, frames: int) -> None:
    start = torch.tensor([0.3, 0.7, 1e3, 0.999])[: 3 if isinstance(model, Logistic) else 4, None, None]
    start = start.double().clamp(max=0.9) if isinstance(model, Logistic) else start.double()
    alone = rollout(model, start, 16)
    for rtol in (0.0, 1e-8):
        together = rollout(model, start, 16, parallel=Parallel(frames, rtol=rtol))
        same(together, alone)
    if isinstance(model, Exploding):
        assert alone.endings[2] is Ending.NOT_FINITE


@pytest.mark.parametrize("rtol", [1e-2, 1e-4, 1e-8])
def test_a_contracting_model_stops_early_within_ten_times_the_tolerance(rtol: float) -> None:
    model = point_model(1, 1)
    start = on_grids(1, 1, 1)[:, 0]
    exact = rollout(model, start, 40).frames
    run = rollout(model, start, 40, parallel=Parallel(40, rtol=rtol))
    error = (run.frames - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert (error < 10 * rtol).all()
    assert (run.sweeps < 40).all()


def test_each_sample_stops_by_itself_and_is_not_evaluated_again() -> None:
    seen: list[int] = []

    def model(x: Tensor, gain: Tensor) -> Tensor:
        seen.append(len(x))
        return gain[:, None, None] * torch.tanh(x) + 0.1

    start, gain = torch.ones(3, 1, 4).double(), torch.tensor([0.4, 0.0, 0.1]).double()
    options = {"given": {"gain": gain}, "per_sample": ["gain"]}
    run = rollout(model, start, 12, **options, parallel=Parallel(12, rtol=1e-6))
    fast, slow = run.sweeps[0, [1, 2]].tolist(), int(run.sweeps[0, 0])
    assert fast[0] <= fast[1] < slow <= 12
    assert sum(seen) == 3 + 12 * int(run.sweeps.sum())
    same(run, rollout(model, start, 12, **options))


def test_forcing_amendments_and_time() -> None:
    def model(x: Tensor, t: Tensor, tau: Tensor) -> Tensor:
        when = torch.as_tensor(t, dtype=x.dtype).reshape(-1, 1, 1) + torch.as_tensor(tau).reshape(-1, 1, 1)
        return torch.tanh(x[:, :1] + 0.3 * x[:, 1:]) * torch.cos(when)

    wall = torch.tensor([True, False, False, False])
    options = {
        "forcing": torch.randn(3, STEPS, 1, 4, generator=generator()).double(),
        "amend": Known(wall, lambda frame: torch.full((1, 1, 1), 0.1 * frame).double()),
        "clock": Clock(torch.tensor([0.0, 1.0, 2.0]), 0.3),
    }
    start = on_grids(1, 1, 1)[:, 0, :, :4]
    alone = rollout(model, start, STEPS, **options)
    for way in WAYS:
        together = rollout(model, start, STEPS, **options, parallel=way)
        same(together, alone)
        assert torch.equal(together.times, alone.times)


def test_refinement_and_time_together() -> None:
    """The fixed point of both is that of every frame after the other, with one correction a sweep."""
    model = IterativeRefiner(lambda x: 0.9 * x, Contracting(), steps=4, alpha=0.7).eval()
    start = torch.linspace(-2, 2, 3 * 8, dtype=torch.float64).reshape(3, 1, 8)
    refine = Refine(rtol=1e-10, max_steps=90)
    alone = rollout(model, start, 8, refinement=refine)
    together = rollout(model, start, 8, refinement=refine, parallel=Parallel(8, rtol=1e-9))
    torch.testing.assert_close(together.frames, alone.frames, rtol=1e-6, atol=1e-7)
    assert together.sweeps.max() < alone.account.evaluations.sum(0).min()
    plain = rollout(model, start, 8, parallel=8)  # the model's own K in every sweep
    same(plain, rollout(model, start, 8))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_continued_at_a_window_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    model, start = fno(), torch.randn(2, 1, 8, 8, generator=generator())
    whole = rollout(model, start, 10, parallel=4).frames
    with pytest.raises(Interrupted):
        rollout(model, start, 10, parallel=4, to=Breaking(KINDS[kind](tmp_path / kind), 6))
    file = KINDS[kind](tmp_path / kind, existing="continue")
    run = rollout(model, start, 10, parallel=4, to=file)
    assert torch.equal(file.read().frames, whole)
    assert len(run.sweeps) == 2
    again = KINDS[kind](tmp_path / kind, existing="continue")
    with pytest.raises(ValueError, match="parallel"):
        rollout(model, start, 10, to=again)
    with pytest.raises(ValueError, match="number of steps"):  # its last window was a short one
        rollout(model, start, 12, parallel=4, to=again)
    other = KINDS[kind](tmp_path / f"other-{kind}", existing="continue")
    rollout(model, start, 8, parallel=4, to=other)
    rollout(model, start, 10, parallel=4, to=other)
    assert torch.equal(other.read().frames, whole)


@pytest.mark.parametrize(
    "options",
    [
        {"parallel": 0},
        {"parallel": 2.5},
        {"parallel": 4, "grad": True},
        {"parallel": 4, "clock": Clock(restart=2)},
        {"parallel": 4, "refinement": Refine(steps=2)},
        {"parallel": 4, "refinement": Refine(rtol=1e-3, warm_start=True)},
        {"parallel": 4, "refinement": Adaptive(2.0, 4)},
        {"parallel": Parallel(4, rtol=0.0), "refinement": Refine(rtol=1e-3)},
        {"parallel": 4, "refinement": Refine(rtol=1e-3), "limit": 0.1},
    ],
    ids=str,
)
def test_what_does_not_go_together_teaches(options: dict[str, Any]) -> None:
    model = IterativeRefiner(lambda x: 0.9 * x, Contracting(), steps=4).eval()
    with pytest.raises(ValueError, match=ONE_SENTENCE):
        rollout(model, torch.ones(1, 1, 4), 4, **options)


@pytest.mark.parametrize(
    "solver", ["picard", {"name": "picard", "alpha": 0.5}, "anderson", "aitken", "broyden"]
)
def test_without_a_tolerance_only_sweeps_of_picard_are_the_usual_rollout(solver: Any) -> None:
    start = torch.linspace(0.1, 0.9, 8, dtype=torch.float64).expand(2, 1, 8)

    def logistic(u: torch.Tensor) -> torch.Tensor:
        return 3.9 * u * (1 - u)

    usual = rollout(logistic, start, 20).frames
    if solver == "picard":
        assert torch.equal(rollout(logistic, start, 20, parallel=Parallel(16, rtol=0.0)).frames, usual)
    else:
        with pytest.raises(ValueError, match=r"^expected rtol > 0 with a solver other than picard"):
            Parallel(16, rtol=0.0, solver=solver)
    torch.testing.assert_close(
        rollout(logistic, start, 20, parallel=Parallel(16, solver=solver)).frames, usual
    )
