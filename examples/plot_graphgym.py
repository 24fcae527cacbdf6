"""GraphGym trains one of its networks, and then a refiner around it, by its own main loop.

The config is examples/configs/graphgym/heat.yaml. The second run changes two of its words: where the base's
trained weights are, and with that, that the base stays as it is.
"""

import logging
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

CONFIG = Path(__file__).parent / "configs/graphgym/heat.yaml"
# What GraphGym, Lightning and torch say of each other; none of it is about this script.
warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Meshes(InMemoryDataset):
    """Graphs for training, validation and test, with the index of each split that GraphGym asks for."""

    def __init__(self) -> None:
        super().__init__()
        splits = heat_in_wind(samples=(96, 8, 16), spacing=0.07, time=0.08)
        every = [graph for split in splits.values() for graph in split]
        for graph in every:  # GraphGym's head for nodes asks for masks, although whole graphs are split here
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
def meshes(format: str, name: str, folder: str) -> Meshes | None:  # noqa: A002 - GraphGym's word
    return Meshes() if format == "meshes" else None


def run(name: str, *words: str) -> tuple[GraphGymModule, GraphGymDataModule]:
    """What ``main.py --cfg heat.yaml words..`` does: train by the config with some of its words changed."""
    set_cfg(cfg)
    load_cfg(cfg, Namespace(cfg_file=str(CONFIG), opts=list(words)))
    set_out_dir(cfg.out_dir, name)
    set_run_dir(cfg.out_dir)
    torch.manual_seed(cfg.seed)
    data, model = GraphGymDataModule(), create_model()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    train_by_graphgym(model, data, logger=False, trainer_config=quiet)
    return model, data


# %% A network of GraphGym's own
run("base", "model.type", "gnn", "model.loss_fun", "mse")
(checkpoint,) = Path(cfg.run_dir).glob("ckpt/*.ckpt")

# %% The same config as it stands, but for one word: the base that is there now is refined, and kept as it is
model, data = run("refined", "irno.base.checkpoint", str(checkpoint))

# %% Below GraphGym's module is an IterativeRefiner, with all that it can do
refiner = model.model.refiner.eval()
columns = []
for batch in data.test_dataloader():
    answers = refiner.iterates(batch, steps=6)
    columns.append(torch.stack([score(vrmse, answer, batch.y, batch.batch) for answer in answers]))
for k, error in enumerate(torch.cat(columns, 1).mean(1).tolist()):
    print(f"k = {k}  VRMSE {error:.4f}")
print(refiner.solve(batch, solver="anderson", rtol=1e-2, max_steps=20))
