"""Meshes with holes
=================

Refine a graph network on meshes with holes; every sample has its own mesh.

Heat diffuses and is advected around cold holes. A GraphSAGE predicts the temperature after a time step, and a
correction by message passing refines it. Norms, losses and stopping are per graph, with nodes weighted by
area.
"""

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch_geometric.nn import GraphSAGE

import neuralop_irno as irno
from neuralop_irno import Recipe, Trainer, heat_in_wind, scores_per_step, vrmse

torch.manual_seed(0)
data = heat_in_wind(samples=(96, 8, 16), spacing=0.07, time=0.08)
print("nodes of the test meshes:", [graph.num_nodes for graph in data["test"]])

# %%
# The base: three rounds of averaging over neighbours
base = GraphSAGE(in_channels=4, hidden_channels=32, num_layers=3, out_channels=1)
Trainer(
    base, Recipe(optimizer="adamw", epochs=15, batch_size=4, learning_rate=3e-3), metric=vrmse, show=False
).fit(data["train"], data["valid"])

# %%
# The refiner: its correction also reads the positions of the nodes, and is applied repeatedly
correction = {"name": "meshgraph", "width": 32, "steps": 5}
model = irno.IterativeRefiner(base, correction, steps=3, alpha=1.0, in_channels=4, out_channels=1)
recipe = Recipe(optimizer="adamw", epochs=50, batch_size=8, learning_rate=3e-3, replay=4.0)
Trainer(model, recipe, metric=vrmse, show=False).fit(data["train"], data["valid"])
errors = scores_per_step(model, data["test"], steps=6).mean(1).tolist()
for k, error in enumerate(errors):
    print(f"k = {k}  VRMSE {error:.4f}")

# %%
# A batch of graphs is solved graph by graph
solution = model.eval().solve(data["test"][0], rtol=1e-2, max_steps=20, solver="anderson")
print(solution, f"({solution.steps.item()} steps)")

# %%
# A figure: the truth, the base, the refined field, and their errors
graph = data["test"][0]
with torch.no_grad():
    answers = model.iterates(graph)
truth, first, last = (field[:, 0].numpy() for field in (graph.y, answers[0], answers[-1]))
figure = Figure(figsize=(12, 5), layout="constrained")
panels = {
    "mesh": None, "truth": truth, "base": first, "refined": last, "base - truth": first - truth,
    "refined - truth": last - truth,
}  # fmt: skip
for axes, (title, values) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
    axes.set(title=title, aspect="equal")
    axes.set_axis_off()
    corners = (*graph.pos.T.numpy(), graph.face.T.numpy())
    if values is None:
        axes.triplot(*corners, color="black", linewidth=0.4)
        continue
    limit = abs(truth).max() if "-" not in title else abs(first - truth).max()
    image = axes.tripcolor(*corners, values, shading="gouraud", cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=axes, shrink=0.7)
FigureCanvasAgg(figure)
path = Path("reports/mesh_with_holes.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=90)
print(path)
