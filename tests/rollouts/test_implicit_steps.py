"""Rollouts whose calls solve an implicit step in time are repeated calls, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, rollout
from neuralop_irno.rollouts import Refine

STEPS = 3


def flow() -> IterativeRefiner:
    torch.manual_seed(0)
    equation = {"name": "navier_stokes_step", "dt": 0.1, "viscosity": 0.01}
    words = {"name": "unet", "width": 4, "depth": 1}
    model = IterativeRefiner(
        nn.Identity(), words, equation=equation, solver="newton_krylov", in_channels=1, out_channels=1
    )
    for parameter in model.correction.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.eval()


def start(dtype: torch.dtype) -> Tensor:
    return torch.randn(2, 1, 8, 8, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{"rtol": 1e-10}, {"steps": 2}])
def test_a_rollout_is_repeated_calls(dtype: torch.dtype, options: dict[str, float]) -> None:
    model, h, single = flow(), start(dtype), []
    for _ in range(STEPS):
        h = model.solve(h, **options).value
        single.append(h)
    frames = rollout(model, start(dtype), steps=STEPS, refinement=Refine(**options)).frames
    assert frames is not None
    assert frames.dtype is torch.float64
    assert torch.equal(frames, torch.stack(single, 1))


def test_every_frame_solves_its_step() -> None:
    model = flow()
    run = rollout(model, start(torch.float64), steps=STEPS, refinement=Refine(rtol=1e-10))
    assert run.frames is not None
    x = torch.cat([start(torch.float64)[:, None], run.frames[:, :-1]], 1)
    for before, after in zip(x.unbind(1), run.frames.unbind(1), strict=True):
        system, _ = model.system((before,), {}, start=after)
        assert (system.domain.norm(system.physics(after)) < 1e-9 * system.scale(after)).all()


def test_the_models_own_steps_are_taken_without_a_refinement() -> None:
    model, x = flow(), start(torch.float64)
    model.steps = 2
    assert torch.equal(rollout(model, x, steps=1).frames[:, 0], model(x))
