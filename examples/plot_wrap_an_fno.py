"""Wrap an FNO
===========

Train a refiner around a frozen FNO and measure the gain.

An FNO with few modes cannot resolve steep fronts. This example trains one on the Burgers equation, freezes
it, and trains a small U-Net that corrects it step by step.
"""

from pathlib import Path

import torch
from neuralop.models import FNO

import neuralop_irno as irno
from neuralop_irno import Recipe, Trainer, burgers, scores_per_step
from neuralop_irno.diagnostics import plots

torch.manual_seed(0)
data = burgers(trajectories=(24, 4, 8))

# %%
# The base operator
base = FNO(n_modes=(8,), in_channels=1, out_channels=1, hidden_channels=16, n_layers=3)
Trainer(base, Recipe(epochs=10), show=False).fit(data["train"], data["valid"])

# %%
# The refiner around it: four steps; the base is frozen
model = irno.IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 2}, steps=4, alpha=1.0)
Trainer(model, Recipe(epochs=15, replay=8.0), show=False).fit(data["train"], data["valid"])

# %%
# Call it like the base, or solve to a tolerance with the outcome of every sample
x = data["test"].x[:5]
assert model.eval()(x).shape == base(x).shape
print(model.solve(x, max_steps=30, rtol=1e-4))

# %%
# The error after every step, beyond the four steps of the training
errors = scores_per_step(model, data["test"], steps=12).mean(1).tolist()
for k, error in enumerate(errors):
    print(f"k = {k:2}  VRMSE {error:.4f}")
print(plots.error_per_step(Path("reports/wrap_an_fno.png"), errors, model.steps, {}, "VRMSE"))
