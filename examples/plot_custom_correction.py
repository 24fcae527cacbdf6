"""A custom correction from a known equation
=========================================

The task is an elliptic problem, (1 - d^2/ds^2) h = x on a periodic line. Its residual is known, so the
correction can be a smoothing step of a classical solver with one learned number, and the base can be the zero
field.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

import neuralop_irno as irno
from neuralop_irno import CORRECTIONS
from neuralop_irno.diagnostics import plots

SIZE = 32
STEP = 2 * torch.pi / SIZE


def operator(h: Tensor) -> Tensor:
    """(1 - d^2/ds^2) h by second differences."""
    return h - (h.roll(1, -1) - 2 * h + h.roll(-1, -1)) / STEP**2


@CORRECTIONS.register("jacobi")
class Jacobi(irno.Correction):
    """Phi(x, h) = w (x - A h) / diag(A), with w learned."""

    def __init__(self, weight: float = 0.5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.weight * (x - operator(h)) / (1 + 2 / STEP**2)


# %%
# Use the correction by its registered name
model = irno.IterativeRefiner(torch.zeros_like, {"name": "jacobi", "weight": 0.5}, steps=400, alpha=1.0)
torch.manual_seed(0)
truth = torch.randn(3, 1, SIZE)
x = operator(truth)
solution = model.eval().solve(x, rtol=1e-5, max_steps=5000)
print(solution)
print("steps of each sample:", solution.steps.tolist())
print("largest error:", f"{(solution.value - truth).abs().max():.1e}")

# %%
# The contraction rate depends on the correction, not on the base
model = model.with_base(lambda x: x)
errors = torch.stack([(h - truth).norm() for h in model.iterates(x, steps=200)])
print("observed contraction per step:", f"{(errors[200] / errors[100]).item() ** 0.01:.4f}")
path = Path("reports/custom_correction.png")
print(
    plots.error_per_step(path, (errors / errors[0]).tolist(), model.steps, {}, "error / error of the start")
)
