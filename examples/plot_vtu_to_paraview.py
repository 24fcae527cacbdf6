"""From VTU files to a film in ParaView
====================================

The commands of docs/vtu-to-paraview.md, run from a folder of VTU files on.

The folder is made here in place of the user's own: a warm spot is carried by the wind around cold holes, on
24 meshes of different sizes, one folder of numbered files for each. Nothing after that is Python: a YAML and
five commands.
"""

import os
import shlex
import tempfile
from pathlib import Path

import numpy as np
import torch

from irno_cli.main import main
from neuralop_irno import write_fields
from neuralop_irno.data.graphs import as_graph
from neuralop_irno.data.mesh import random_holes, square_with_holes
from neuralop_irno.data.solvers.finite_elements import advection_diffusion

SERIES, FRAMES, STEP = 24, 11, 0.05
KELVIN = 293.15


def write_series(number: int) -> None:
    """Eleven frames of temperature, in kelvin, on a mesh of its own."""
    generator = np.random.default_rng(number)
    mesh = square_with_holes(0.075, random_holes(2, number), number)
    middle = generator.uniform(0.15, 0.4, 2)
    start = np.exp(-((mesh.pos - middle) ** 2).sum(1) / 0.02) * ~mesh.boundary
    times = STEP * np.arange(1, FRAMES)
    frames = np.vstack([start, advection_diffusion(mesh, start, times, 0.01, (1.0, 0.6))])
    graph = as_graph(mesh, torch.zeros(len(start), 1), torch.zeros(len(start), 1))
    for frame, values in enumerate(frames):
        name = f"heat/flow_{number:02}/frame_{frame:03}.vtu"
        write_fields(name, graph, {"temperature": torch.from_numpy(KELVIN + 40 * values)})


def run(command: str) -> None:
    """Run a command as in a terminal."""
    print(f"\n$ {command}", flush=True)
    code = main(shlex.split(command)[1:])
    assert code == 0, code


CONFIG = """
data:
  name: mesh_files
  train: heat/*          # folders of numbered files, each a series on a mesh of its own
  split: [18, 3, 3]      # series for training, validation and test
  x: temperature         # in kelvin, as the files have it
  boundary: true         # a further channel: 1 at walls and holes
model:
  base: {model_arch: gnn_stack, conv: sage, width: 32, layers: 3}
  correction: {name: meshgraph, width: 32, steps: 3}
  steps: 3
base_training: {epochs: 8, batch_size: 8, learning_rate: 3e-3, optimizer: adamw}
training: {epochs: 12, batch_size: 8, learning_rate: 3e-3, optimizer: adamw, replay: 4.0}
"""

if __name__ == "__main__":
    torch.set_num_threads(1)
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number in range(SERIES):
            write_series(number)
        Path("heat.yaml").write_text(CONFIG)
        run("irno train heat.yaml --folder runs/heat")
        run("irno check runs/heat")
        run("irno evaluate runs/heat")
        run(f"irno rollout runs/heat --steps 10 --step {STEP} --to film.vtkhdf")
        run("irno predict runs/heat heat/flow_23/frame_000.vtu --to next.vtu")
        os.chdir(home)
