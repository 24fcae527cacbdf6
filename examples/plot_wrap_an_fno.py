"""Wrap an FNO: the ten lines that most people need, and what they buy.

An FNO that keeps few modes cannot draw steep fronts. We train one on Burgers' equation, freeze it, and
let a small U-Net correct it step by step.
"""

from pathlib import Path

import torch
from neuralop.models import FNO

import neuralop_irno as irno
from neuralop_irno import Recipe, Trainer, burgers, scores_per_step
from neuralop_irno.diagnostics import plots

torch.manual_seed(0)
data = burgers(trajectories=(24, 4, 8))

# %% The operator that you already have
base = FNO(n_modes=(8,), in_channels=1, out_channels=1, hidden_channels=16, n_layers=3)
Trainer(base, Recipe(epochs=10), show=False).fit(data["train"], data["valid"])

# %% The refiner around it: four steps, the base stays as it is
model = irno.IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 2}, steps=4, alpha=1.0)
Trainer(model, Recipe(epochs=15, replay=8.0), show=False).fit(data["train"], data["valid"])

# %% Called exactly as the base was, or asked for an account of every sample
x = data["test"].x[:5]
assert model.eval()(x).shape == base(x).shape
print(model.solve(x, max_steps=30, rtol=1e-4))

# %% The error after every step, past the four that it was trained for
errors = scores_per_step(model, data["test"], steps=12).mean(1).tolist()
for k, error in enumerate(errors):
    print(f"k = {k:2}  VRMSE {error:.4f}")
print(plots.error_per_step(Path("reports/wrap_an_fno.png"), errors, model.steps, {}, "VRMSE"))
