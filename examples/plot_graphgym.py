"""GraphGym's main loop
====================

Train a GraphGym network, and then a refiner around it, with GraphGym's own main loop.

The config is examples/configs/graphgym/heat.yaml. The second run sets the checkpoint of the base, which also
freezes the base.
"""

import logging
import sys
import warnings
from argparse import Namespace
from pathlib import Path

import torch
from torch_geometric.data import InMemoryDataset
from torch_geometric.graphgym import cfg, create_model, load_cfg, register, set_cfg, set_out_dir, set_run_dir
from torch_geometric.graphgym import train as train_by_graphgym
from torch_geometric.graphgym.model_builder import GraphGymModule
from torch_geometric.graphgym.train import GraphGymDataModule

import neuralop_irno.graphgym  # noqa: F401 - registers `irno` with GraphGym
from neuralop_irno import heat_in_wind, score, vrmse
from neuralop_irno.diagnostics import plots

CONFIG = Path(sys.argv[0]).parent / "configs/graphgym/heat.yaml"
# Warnings between GraphGym, Lightning and torch, unrelated to this script.
warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Meshes(InMemoryDataset):
    """Graphs for training, validation and test, with the split indices that GraphGym requires."""

    def __init__(self) -> None:
        super().__init__()
        splits = heat_in_wind(samples=(96, 8, 16), spacing=0.07, time=0.08)
        every = [graph for split in splits.values() for graph in split]
        for graph in every:  # GraphGym's node head requires masks, although whole graphs are split here
            graph.train_mask = graph.val_mask = graph.test_mask = torch.ones(
                graph.num_nodes, dtype=torch.bool
            )
        self._data, self.slices = self.collate(every)
        first = 0
        for name, graphs in zip(("train", "val", "test"), splits.values(), strict=True):
            index = torch.arange(first, first := first + len(graphs))
            self._data[f"{name}_graph_index"] = index
            self.slices[f"{name}_graph_index"] = torch.tensor([0, len(index)])


@register.register_loader("meshes")
def meshes(format: str, name: str, folder: str) -> Meshes | None:  # noqa: A002 - GraphGym's name
    return Meshes() if format == "meshes" else None


def run(name: str, *words: str) -> tuple[GraphGymModule, GraphGymDataModule]:
    """Like ``main.py --cfg heat.yaml options..``: train by the config with some options changed."""
    set_cfg(cfg)
    load_cfg(cfg, Namespace(cfg_file=str(CONFIG), opts=list(words)))
    set_out_dir(cfg.out_dir, name)
    set_run_dir(cfg.out_dir)
    torch.manual_seed(cfg.seed)
    data, model = GraphGymDataModule(), create_model()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    train_by_graphgym(model, data, logger=False, trainer_config=quiet)
    return model, data


# %%
# Train a GraphGym network
run("base", "model.type", "gnn", "model.loss_fun", "mse")
(checkpoint,) = Path(cfg.run_dir).glob("ckpt/*.ckpt")

# %%
# The same config with one option set: the checkpoint of the base, which is frozen and refined
model, data = run("refined", "irno.base.checkpoint", str(checkpoint))

# %%
# GraphGym's module contains an IterativeRefiner with all its methods
refiner = model.model.refiner.eval()
columns = []
for batch in data.test_dataloader():
    answers = refiner.iterates(batch, steps=6)
    columns.append(torch.stack([score(vrmse, answer, batch.y, batch.batch) for answer in answers]))
errors = torch.cat(columns, 1).mean(1).tolist()
for k, error in enumerate(errors):
    print(f"k = {k}  VRMSE {error:.4f}")
print(plots.error_per_step(Path("reports/graphgym.png"), errors, refiner.steps, {}, "VRMSE"))
print(refiner.solve(batch, solver="anderson", rtol=1e-2, max_steps=20))
