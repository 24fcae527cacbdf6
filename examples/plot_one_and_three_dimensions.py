"""One and three dimensions
========================

The same options in one and in three dimensions; only n_modes gets more entries.

The Burgers equation is solved on a line and in a box. Sizes need not be powers of two: these are odd.
"""

from pathlib import Path

import torch
from neuralop.models import FNO

import neuralop_irno as irno
from neuralop_irno import Recipe, Trainer, burgers, scores_per_step
from neuralop_irno.diagnostics import plots

CASES = {
    1: {"data": {"size": 63, "trajectories": (24, 2, 6)}, "modes": 6, "epochs": 12},
    3: {"data": {"size": 15, "trajectories": (6, 1, 2), "frames": 8}, "modes": 4, "epochs": 8},
}

for dim, case in CASES.items():
    torch.manual_seed(0)
    data = burgers(dim=dim, **case["data"])
    base = FNO(n_modes=(case["modes"],) * dim, in_channels=1, out_channels=1, hidden_channels=8, n_layers=2)
    Trainer(base, Recipe(epochs=case["epochs"]), show=False).fit(data["train"], data["valid"])
    model = irno.IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 2}, steps=3, alpha=1.0)
    Trainer(model, Recipe(epochs=case["epochs"]), show=False).fit(data["train"], data["valid"])
    errors = scores_per_step(model, data["test"], steps=6).mean(1).tolist()
    shape = tuple(data["test"].x.shape[2:])
    print(f"{dim}-D, grid {shape}: VRMSE by step " + "  ".join(f"{error:.3f}" for error in errors))
    plots.error_per_step(Path(f"reports/in_{dim}d.png"), errors, model.steps, {}, f"VRMSE in {dim}-D")
