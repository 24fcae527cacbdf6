"""Roll out a turbulent flow
=========================

Wrap, roll out, evaluate, assimilate: autoregressive prediction of a turbulent flow.

A small FNO learns to predict the next frame of two-dimensional turbulence, and a refiner is trained around
it. Both predict many frames from their own output. Then one point in ten is observed, with noise, in every
fifth frame.
"""

import math
from pathlib import Path

import torch
from neuralop.models import FNO

import neuralop_irno as irno
from neuralop_irno import (
    Interpolation,
    Nudging,
    Observations,
    Recipe,
    Refine,
    Trainer,
    evaluate_rollout,
    join_pairs,
    turbulence,
)

STEPS, FRAME = 50, 0.1
torch.manual_seed(0)
data = turbulence((24, 2, 4), STEPS + 1, FRAME, resolution=32, outputs=1, stride=4, viscosity=2e-2)

# %%
# The base that you already have, and a refiner around it
base = FNO(n_modes=(8, 8), in_channels=2, out_channels=1, hidden_channels=12, n_layers=3)
Trainer(base, Recipe(optimizer="adamw", epochs=12, batch_size=8), show=False).fit(
    data["train"], data["valid"]
)
model = irno.IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 2}, steps=3, alpha=1.0)
Trainer(model, Recipe(optimizer="adamw", epochs=6, batch_size=8, replay=12.0), show=False).fit(
    data["train"], data["valid"]
)
model.eval()

# %%
# Predict frame after frame; the constant forcing is passed to the model in every call
flow = join_pairs(data["test"], STEPS)


def predicted(**options: object) -> torch.Tensor:
    return irno.rollout(model, flow.start[:, 0], STEPS, static=flow.static, **options).frames


def judged(frames: torch.Tensor) -> object:
    return evaluate_rollout(frames, flow.frames, fields=["vorticity"], step=FRAME)


reports = {"base": judged(predicted(refinement=Refine(0))), "refined": judged(predicted())}

# %%
# Observations at one point in ten, in every fifth frame, with a noise of 0.1
seen_frames = range(4, STEPS, 5)
sensors = torch.rand(32, 32) < 0.1
values = flow.frames[:, list(seen_frames)]
seen = Observations(sensors, values + 0.1 * torch.randn_like(values), seen_frames)
reports["refined, nudged"] = judged(predicted(amend=Nudging(seen, gain=0.9)))
reach = Interpolation(seen, reach=0.3, noise=0.3, sides=2 * math.pi, periodic=True)
reports["refined, interpolated"] = judged(predicted(amend=reach))

# %%
# Errors and valid times of each rollout
for name, report in reports.items():
    errors = report.scores["vrmse"].mean((0, 2))
    times = f"valid {report.valid_time.median():.1f}, correlated {report.correlation_time.median():.1f}"
    print(f"{name:22} VRMSE of frame 7: {errors[6]:.3f}, mean of {STEPS}: {errors.mean():.3f}; {times}")
print(reports["refined, interpolated"])
print(reports["refined, interpolated"].write(Path("reports/rollout")))
