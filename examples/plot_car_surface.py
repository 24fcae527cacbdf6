"""Air pressure on cars
====================

A graph network on the surfaces of cars is refined by message passing along them.

The data are the small Car-CFD set of neuraloperator: three cars to train on and one to test. They are not
part of this package; if they are missing, this script prints where to get them, and ends.
"""

import sys
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch_geometric.nn import GraphSAGE

import neuralop_irno as irno
from neuralop_irno import Recipe, Trainer, car_cfd, relative_l2, scores_per_step, write_fields

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "mini_car")
if not (folder / "train.txt").is_file():
    print(f"There are no cars in {folder}. The small set is a folder in the history of neuraloperator's")
    print(
        "repository, neuralop/data/datasets/data/mini_car of commit 6d69fd5; the whole set is record 13936501"
    )
    print("on Zenodo. With either, and after pip install 'neuralop_irno[meshes]':")
    print("python examples/plot_car_surface.py FOLDER, the folder that holds train.txt")
    sys.exit(0)

torch.manual_seed(0)
data = car_cfd(str(folder))
print({split: [f"{car.num_nodes} nodes" for car in cars] for split, cars in data.items()})

# %%
# The base: three rounds of averaging over neighbours; its inputs are position and normal of every node
base = GraphSAGE(in_channels=6, hidden_channels=32, num_layers=3, out_channels=1)
recipe = Recipe(optimizer="adamw", epochs=30, batch_size=1, learning_rate=3e-3)
Trainer(base, recipe, metric=relative_l2, show=False).fit(data["train"], data["valid"])

# %%
# The refiner: message passing along the edges of the surface, in three dimensions
correction = {"name": "meshgraph", "dim": 3, "width": 32, "steps": 3}
model = irno.IterativeRefiner(base, correction, steps=3, alpha=1.0, in_channels=6, out_channels=1)
recipe = Recipe(optimizer="adamw", epochs=20, batch_size=1, learning_rate=3e-3)
Trainer(model, recipe, metric=relative_l2, show=False).fit(data["train"], data["valid"])
for split in ("train", "test"):
    errors = scores_per_step(model, data[split], metric=relative_l2).mean(1).tolist()
    print(f"{split}: relative L2 after each step", [f"{error:.3f}" for error in errors])
print("Two or three cars say little about other cars: this is a demonstration of the data, not of a result.")

# %%
# A file for ParaView, with the true pressure, the base's prediction and the refined one
car = data["test"][0]
with torch.no_grad():
    answers = model.eval().iterates(car)
fields = {"pressure": car.y, "base": answers[0], "refined": answers[-1]}
print(write_fields("reports/car_surface.vtu", car, fields))

# %%
# A figure
figure = Figure(figsize=(12, 4), layout="constrained")
limit = car.y.abs().quantile(0.98).item()
for place, (title, field) in enumerate(fields.items(), start=1):
    axes = figure.add_subplot(1, 3, place, projection="3d")
    shade = field[:, 0][car.face].mean(0)
    surface = axes.plot_trisurf(
        *car.pos.T.numpy(), triangles=car.face.T.numpy(), cmap="RdBu_r", linewidth=0, antialiased=False
    )
    surface.set_array(shade.numpy())
    surface.set_clim(-limit, limit)
    axes.set(title=title, aspect="equal")
    axes.set_axis_off()
FigureCanvasAgg(figure)
figure.savefig("reports/car_surface.png", dpi=90)
print("reports/car_surface.png")
