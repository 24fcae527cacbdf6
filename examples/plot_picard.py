"""Iterate a block to a fixed point
================================

`PicardNetwork` iterates a block, with a bound on the distance to its fixed point.

`PicardNetwork` solves u = lambda T(u) + f. First T is a known integral, so that the bounds can be checked;
then T is learned with a bounded norm, which gives proved error bounds; then T is a graph convolution, and
the effect of noise in f is bounded in advance.
"""

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

import neuralop_irno as irno
from neuralop_irno import Residual

torch.manual_seed(0)
SIZE = 64
S = torch.arange(SIZE) * (2 * torch.pi / SIZE)


def size(field: Tensor) -> Tensor:
    """The norm of each sample, the root mean square, as reported by solutions."""
    return field.flatten(1).square().mean(1).sqrt()


# %%
# An equation of the second kind: u(s) = 0.8 * mean_t 2 cos(s - t) u(t) + f(s).
# T projects onto the first wave, so that its norm is 1 and the solution is known.
class Integral(nn.Module):
    """The mean over the line of 2 cos(s - t) u(t)."""

    def forward(self, u: Tensor) -> Tensor:
        return u @ (2 * torch.cos(S[:, None] - S) / SIZE).T


equation = irno.PicardNetwork(Integral(), weight=0.8, smoothing=0.0, inject=True).eval()
f = (torch.cos(S) + torch.sin(2 * S))[None, None]
truth = (5 * torch.cos(S) + torch.sin(2 * S))[None, None]
print("steps     error     a-priori bound    a-posteriori bound")
counts, found = (1, 5, 10, 20), []
for steps in counts:
    solution = equation.solve(f, steps=steps, lipschitz=1.0)
    numbers = (size(solution.value - truth), solution.a_priori, solution.a_posteriori)
    found.append([number.item() for number in numbers])
    print(f"{steps:5d}   " + "   ".join(f"{number:10.6f}      " for number in found[-1]))
print("The bounds are sharp here: the error has only one direction, which contracts by exactly 0.8.")

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.add_subplot()
for style, name, values in zip(
    ("ko-", "s--", "x:"),
    ("error", "a-priori bound", "a-posteriori bound"),
    zip(*found, strict=True),
    strict=True,
):
    axes.semilogy(counts, values, style, label=name)
axes.set(xlabel="steps", ylabel="distance to the solution")
axes.legend()
FigureCanvasAgg(figure)
Path("reports").mkdir(exist_ok=True)
figure.savefig("reports/picard.png", dpi=90)

# %%
# The same with a learned T: pairs (f, u) of a hidden equation, and a block with a norm of at most 0.9.
hidden = nn.Conv1d(1, 1, 9, padding=4, padding_mode="circular", bias=False)
irno.spectrally_normalised(hidden, 0.85)
source = irno.PicardNetwork(hidden, smoothing=0.0, steps=60, inject=True).eval()


def pairs(number: int) -> tuple[Tensor, Tensor]:
    free = torch.randn(number, 1, SIZE)
    with torch.no_grad():
        return free, source(free)


block = irno.spectrally_normalised(nn.Conv1d(1, 1, 9, padding=4, padding_mode="circular"), 0.9)
network = irno.PicardNetwork(block, smoothing=0.2, steps=60, inject=True, gradient="implicit").train()
optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
for _ in range(150):
    free, answer = pairs(16)
    loss = (network(free) - answer).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
free, answer = pairs(4)
bound = irno.lipschitz_bound(block)
solution = network.eval().solve(free, rtol=1e-4, max_steps=300, lipschitz=bound)
off = (size(solution.value - answer) / size(answer)).max()
print(f"\nlearned: |T| <= {bound:.3f}, relative error {off:.4f}")
print("steps of each sample:", solution.steps.tolist())
rest = network.solve(free, rtol=1e-6, max_steps=2000).value
print("distance to u*:  ", [f"{d:.1e}" for d in size(solution.value - rest).tolist()])
print("bounded by:      ", [f"{d:.1e}" for d in solution.a_posteriori.tolist()])
anderson = network.solve(free, solver="anderson", rtol=1e-4, max_steps=300, lipschitz=bound)
print("Anderson needs   ", anderson.steps.tolist(), "and is within", f"{anderson.a_posteriori.max():.1e}")

# %%
# On a graph, k = 0.7 |conv|. Noise in f moves the fixed point by at most 1 / (1 - k) times the noise.
nodes = 40
joined = torch.triu_indices(nodes, nodes, 1)
joined = joined[:, torch.rand(joined.shape[1]) < 0.1]
edges = torch.cat([joined, joined.flip(0)], 1)
conv = irno.spectrally_normalised(GCNConv(8, 8))
k = 0.7 * irno.lipschitz_bound(conv, edges, nodes=nodes)
graphs = irno.PicardNetwork(conv, weight=0.7, inject=True).eval()
u = torch.randn(nodes, 8)
noise = 0.1 * torch.randn(nodes, 8)
clean, noisy = (graphs.solve(free, edges, rtol=1e-6, max_steps=300).value for free in (u, u + noise))
moved, pushed = (field.square().mean().sqrt().item() for field in (noisy - clean, noise))
print(f"\nnoise of {pushed:.3f} moved the fixed point by {moved:.3f}; the bound is {pushed / (1 - k):.3f}")

# %%
# For a Lipschitz bound of your own block, build it from layers with known constants.
own = irno.spectrally_normalised(nn.Sequential(nn.Linear(8, 8), Residual(nn.Linear(8, 8)), nn.Tanh()), 0.5)
print(f"Linear, x + Linear, tanh, at 0.5 each: |T| <= {irno.lipschitz_bound(own):.2f} = 0.5 * (1 + 0.5) * 1")
