"""Flow matching out of the package's own parts: a velocity, its solver, and training on straight lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import identity, zero
from torch import Tensor

from neuralop_irno import IterativeRefiner
from neuralop_irno.correction.correction import Correction, FunctionCorrection
from neuralop_irno.correction.velocity import Velocity
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.losses.pointwise import DenoisingLoss
from neuralop_irno.recipe import Recipe
from neuralop_irno.solution import Outcome
from neuralop_irno.solver.flow import METHODS, Flow
from neuralop_irno.solver.gradient import FromPath
from neuralop_irno.training.trainer import Trainer

LEVELS = 4
CONFIG: dict[str, Any] = {
    "correction": {
        "name": "velocity",
        "levels": LEVELS,
        "correction": {"name": "unet", "width": 8, "depth": 1},
    },
    "solver": {"name": "flow", "levels": LEVELS},
    "gradient": "from_path",
    "steps": LEVELS,
}
X = torch.randn(5, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CALLS = [
    (method, calls)
    for method in METHODS
    for calls in (1, 2, 4, 8)
    if not (method == "midpoint" and calls == 1)
]


def flowing(
    field: Correction | Callable[[Tensor, Tensor], Tensor], solver: Flow, base: Any = identity
) -> Any:
    phi = field if isinstance(field, Correction) else FunctionCorrection(field)
    return IterativeRefiner(base, phi, solver=solver, steps=solver.calls).eval()


def test_with_the_velocity_of_a_straight_line_one_step_is_exact() -> None:
    truth = X.sin()
    model = flowing(lambda x, z: truth - x, Flow(levels=1))
    torch.testing.assert_close(model(X), truth, rtol=0, atol=1e-15)


class ToTheTruth(Correction):
    """The velocity that ends at y = sin x, from any point at time t = k / levels."""

    stepwise = True

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: Tensor, h: Tensor, taken: Tensor | None = None) -> Tensor:
        assert taken is not None
        return (x.sin() - h) / (1 - taken.to(h.dtype) / self.levels)[:, None, None]


@pytest.mark.parametrize(("method", "calls"), CALLS)
def test_with_the_velocity_to_the_truth_every_estimate_is_the_truth(method: str, calls: int) -> None:
    model = flowing(ToTheTruth(8), Flow(8, calls, method))
    for answer in model.iterates(X)[1:]:
        torch.testing.assert_close(answer, X.sin(), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2)])
def test_the_methods_have_their_orders(method: str, order: int) -> None:
    """dz/dt = z, from x to e x."""
    errors = [
        (flowing(lambda x, z: z, Flow(calls, calls, method))(X) - X * torch.e).abs().max()
        for calls in (32, 64)
    ]
    assert (errors[0] / errors[1]).log2().item() == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("method", "calls"), CALLS)
def test_answers_draw_nothing_and_end_at_time_one(method: str, calls: int) -> None:
    network = {"name": "unet", "width": 8, "depth": 1, "dim": 1}
    phi = {"name": "velocity", "levels": 8, "correction": network}
    sizes = {"in_channels": 1, "out_channels": 1}
    model = IterativeRefiner(identity, phi, solver=Flow(8, calls, method), steps=calls, **sizes).double()
    for weight in model.correction.parameters():
        torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(0))
    model.eval()
    state = torch.get_rng_state()
    answer = model(X)
    assert torch.equal(model(X), answer)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.solve(X, steps=calls + 3).value, answer)
    solution = model.solve(X, atol=1e-9, max_steps=calls + 3)
    assert Outcome.CONVERGED not in solution.outcomes  # where it stays it is not at rest
    alone = torch.cat([model(x[None]) for x in X])
    torch.testing.assert_close(alone, answer, rtol=0, atol=1e-13)


def test_an_iterate_is_the_end_seen_from_its_point() -> None:
    """h = z + (1 - t) v with Euler's z, written without the solver."""
    model = flowing(lambda x, z: z.cos(), Flow(4))
    z = X
    for k, answer in enumerate(model.iterates(X)[1:]):
        torch.testing.assert_close(answer, z + (1 - k / 4) * z.cos(), rtol=0, atol=1e-15)
        z = z + z.cos() / 4
    torch.testing.assert_close(answer, z, rtol=0, atol=1e-15)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_training_begins_on_the_line_and_its_loss_is_that_of_the_velocity(noise: float) -> None:
    seen: list[Tensor] = []

    class Looks(ToTheTruth):
        def forward(self, x: Tensor, h: Tensor, taken: Tensor | None = None) -> Tensor:
            assert taken is not None
            seen.extend([h, taken])
            return 0 * h

    x = torch.randn(400, 1, 16, dtype=torch.float64)
    y = 3 + x.sin()
    model = IterativeRefiner(
        identity, Looks(LEVELS), solver=Flow(LEVELS), gradient=FromPath(noise), steps=LEVELS
    ).train()
    trajectory = model(x, y=y)
    z, taken = seen
    assert set(taken.tolist()) == {0, 1, 2, 3}
    t = taken[:, None, None] / LEVELS
    first = (z - t * y) / (1 - t)  # the start of the line
    assert (first - x).std().item() == pytest.approx(noise, rel=0.05, abs=1e-12)
    # Of a velocity of zero, the error is the velocity itself.
    losses = DenoisingLoss().per_sample(trajectory, y)
    torch.testing.assert_close(losses, (y - first).square().mean((1, 2)), rtol=1e-6, atol=0)


def test_from_a_config_it_trains_and_is_read_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 1, 8, 8)
    y = x - 0.5 * x.roll(1, -1)
    model = IterativeRefiner(identity, **CONFIG, in_channels=1, out_channels=1)
    Trainer(model, Recipe(epochs=30, batch_size=8), DenoisingLoss(), show=False).fit(FieldDataset(x, y))
    with torch.no_grad():
        errors = [(h - y).square().mean().item() for h in model.eval().iterates(x)]
        short = model.solve(x, solver={"name": "flow", "levels": LEVELS, "calls": 2}, steps=2).value
    assert errors[-1] < 0.5 * errors[0]
    assert (short - y).square().mean() < 0.5 * errors[0]
    again = IterativeRefiner.from_checkpoint(model.save(tmp_path / "flow.safetensors"), base=identity).eval()
    assert torch.equal(again(x), model(x))


def test_what_makes_no_sense_teaches() -> None:
    x = torch.zeros(1, 1, 4)
    phi = Velocity(FunctionCorrection(lambda x, h: h), levels=2)
    longer = IterativeRefiner(zero, phi, solver=Flow(2), gradient="from_path", steps=3).train()
    cases = {
        r"^expected levels >= 1, got 0; try": lambda: Velocity(phi, levels=0),
        r"^expected calls that divide levels >= 1, got 3 of 4 levels; try": lambda: Flow(4, 3),
        r"^expected an even number of calls for midpoint, got 1; try": lambda: Flow(2, 1, "midpoint"),
        r"^expected a method, got 'heun'; try": lambda: Flow(method="heun"),
        r"^expected noise >= 0, got -1": lambda: FromPath(-1),
        r"^expected at most 2 steps of training, got 3; try levels=3": lambda: longer(x, y=x),
        r"^expected the time of a velocity, got none; try fixed_point=0": lambda: phi.bind(
            x, GridDomain.of(x)
        )(x),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
