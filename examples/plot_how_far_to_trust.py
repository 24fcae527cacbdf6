"""Solve to a tolerance, and estimate the error
============================================

Two different questions: how far is a solution from the fixed point of the iteration (``error_bound``, from
the observed contraction), and how far is it from the truth (``error_estimate``, calibrated on other flows).
"""

from pathlib import Path

import torch
from neuralop.models import FNO
from torch.utils.data import DataLoader

import neuralop_irno as irno
from neuralop_irno import Recipe, Trainer, burgers

torch.manual_seed(0)
data = burgers(trajectories=(24, 24, 24))  # calibration needs many flows: windows of one flow are similar
base = FNO(n_modes=(8,), in_channels=1, out_channels=1, hidden_channels=16, n_layers=3)
Trainer(base, Recipe(epochs=8), show=False).fit(data["train"], data["valid"])
model = irno.IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 2}, steps=4, alpha=1.0)
Trainer(model, Recipe(epochs=12, replay=12.0), show=False).fit(data["train"], data["valid"])
model.eval()

# %%
# Each sample stops separately; Anderson's method needs fewer evaluations for the same tolerance
x, y = data["test"].x, data["test"].y
for solver in ("picard", "anderson"):
    solution = model.solve(x, rtol=1e-4, max_steps=60, solver=solver)
    print(f"{solver:9} evaluations a sample: {solution.steps.double().mean():.1f}   {solution}")

# %%
# The bound is on the distance to the fixed point, which a long solve approximates
solution = model.solve(x, rtol=1e-3, max_steps=60)
limit = model.solve(x, steps=200).value
distance = (solution.value - limit).square().mean((1, 2)).sqrt()
print(
    f"bound above the distance to the fixed point: {(distance <= solution.error_bound).double().mean():.0%}"
)

# %%
# For the distance to the truth, calibrate an estimate on held-out flows
calibration = irno.calibrate(model, DataLoader(data["valid"], batch_size=32), coverage=0.9)
solution = model.solve(x)
error = (solution.value - y).square().mean((1, 2)).sqrt()
print(f"error_estimate = {calibration.factor:.2f} x {calibration.predictor}", end=", ")
print(f"stated 90 %, covers {(error <= solution.error_estimate).double().mean():.0%} of the test samples")

# %%
# The full diagnosis
report = irno.diagnose(model, DataLoader(data["test"], batch_size=32), samples=4, show=False)
print(report)
print(report.write(Path("reports/how_far_to_trust")))
