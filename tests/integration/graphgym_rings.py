"""Rings as a data set of GraphGym's, and its main function from a config to a model that is trained."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

with warnings.catch_warnings():  # what torch says of Lightning as it is imported
    warnings.simplefilter("ignore")
    from torch_geometric import graphgym
    from torch_geometric.data import Data, InMemoryDataset
    from torch_geometric.graphgym import cfg, register
    from torch_geometric.graphgym.config import assert_cfg
    from torch_geometric.graphgym.model_builder import GraphGymModule
    from torch_geometric.graphgym.train import GraphGymDataModule

import neuralop_irno.graphgym  # noqa: F401 - registers with GraphGym
from neuralop_irno.data.solvers.citations import citation_graph

SPLITS = {"train": 24, "val": 8, "test": 8}
PAPERS = (143, 7)
"""Words and classes."""


def ring(n: int, seed: int) -> Data:
    """A cycle; y is x averaged over the two neighbours."""
    node, generator = torch.arange(n), torch.Generator().manual_seed(seed)
    edge_index = torch.cat([torch.stack([node, (node + 1) % n]), torch.stack([(node + 1) % n, node])], 1)
    x = torch.randn(n, 1, generator=generator)
    angle = node * (2 * torch.pi / n)
    pos = torch.stack([angle.cos(), angle.sin()], 1)
    return Data(x=x, y=0.5 * (x.roll(1, 0) + x.roll(-1, 0)), edge_index=edge_index, pos=pos)


class Rings(InMemoryDataset):
    """Rings of 6 to 12 nodes: split ring by ring, or node by node."""

    def __init__(self, by: str) -> None:
        super().__init__()
        rings = [ring(6 + seed % 7, seed) for seed in range(sum(SPLITS.values()))]
        for graph in rings:
            place = torch.arange(graph.num_nodes) % 4
            for split, own in {"train": (0, 1), "val": (2,), "test": (3,)}.items():
                everywhere = torch.ones_like(place, dtype=torch.bool)
                graph[f"{split}_mask"] = torch.isin(place, torch.tensor(own)) if by == "node" else everywhere
        self._data, self.slices = self.collate(rings)
        if by == "graph":
            indices = torch.arange(len(rings)).split(list(SPLITS.values()))
            for split, index in zip(SPLITS, indices, strict=True):
                self._data[f"{split}_graph_index"] = index
                self.slices[f"{split}_graph_index"] = torch.tensor([0, len(index)])


@register.register_loader("rings")
def rings(format: str, name: str, folder: str) -> Rings | None:  # noqa: A002
    return Rings(cfg.dataset.task) if format == "rings" else None


class Papers(InMemoryDataset):
    """Papers that cite each other, split node by node."""

    def __init__(self) -> None:
        super().__init__()
        self._data, self.slices = self.collate([citation_graph(scale=0.1, labels=10)])


@register.register_loader("papers")
def papers(format: str, name: str, folder: str) -> Papers | None:  # noqa: A002
    return Papers() if format == "papers" else None


def configure(task: str = "graph", **groups: Any) -> None:
    """A config as from a file, over GraphGym's defaults."""
    folder = cfg.out_dir
    graphgym.set_cfg(cfg)
    words: dict[str, Any] = {
        "out_dir": folder,
        "accelerator": "cpu",
        "dataset": {"format": "rings", "name": "rings", "task": task, "task_type": "regression"},
        "gnn": {"head": "node", "layers_mp": 1, "dim_inner": 8, "l2norm": False},
        "model": {"type": "irno", "loss_fun": "irno"},
        "irno": {"correction": {"name": "meshgraph", "width": 16, "steps": 1}, "steps": 2, "alpha": 1.0},
        "optim": {"max_epoch": 12, "weight_decay": 0.0},
    }
    for name, group in groups.items():
        words[name] = {**words.get(name, {}), **group} if isinstance(group, dict) else group
    cfg.merge_from_other_cfg(type(cfg)(words))
    assert_cfg(cfg)
    cfg.share.dim_in = cfg.share.dim_out = 1
    if cfg.dataset.format == "papers":
        cfg.share.dim_in, cfg.share.dim_out = PAPERS


def train(name: str = "run", **groups: Any) -> GraphGymModule:
    """GraphGym's main, from a config to a model that is trained and tested."""
    configure(**groups)
    graphgym.set_run_dir(f"{cfg.out_dir}/{name}")
    torch.manual_seed(0)
    data, model = GraphGymDataModule(), graphgym.create_model()
    cfg.params = graphgym.params_count(model)
    graphgym.train(model, data, trainer_config={"enable_progress_bar": False, "logger": False})
    return model


def last_stats(split: str) -> dict[str, float]:
    lines = (Path(cfg.run_dir) / split / "stats.json").read_text().splitlines()
    stats: dict[str, float] = json.loads(lines[-1])
    return stats


def checkpoint() -> str:
    (path,) = Path(cfg.run_dir).glob("ckpt/*.ckpt")
    return str(path)
