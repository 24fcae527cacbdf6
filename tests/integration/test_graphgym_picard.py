"""Iterated graph networks by GraphGym's own main loop."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from graphgym_rings import configure, last_stats, ring, train

with warnings.catch_warnings():  # what torch says of Lightning as it is imported
    warnings.simplefilter("ignore")
    from torch_geometric import graphgym
    from torch_geometric.data import Batch
    from torch_geometric.graphgym import cfg

from neuralop_irno import IterativeRefiner
from neuralop_irno.networks.graph_networks import Pign
from neuralop_irno.networks.itergnn import IterGNN

pytestmark = [
    # What torch, Lightning and PyTorch Geometric say of GraphGym's loaders and of each other.
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true"),
    pytest.mark.filterwarnings("ignore:It is not recommended to directly access the internal storage"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]

NETWORKS = {"pign": Pign, "itergnn": IterGNN}


@pytest.fixture(autouse=True)
def _config(tmp_path: Path) -> Iterator[None]:
    cfg.out_dir = str(tmp_path)
    yield
    graphgym.set_cfg(cfg)


def network(name: str, **groups: Any) -> Any:
    configure(model={"type": name, "loss_fun": "mse"}, **groups)
    torch.manual_seed(0)
    return graphgym.create_model().model


@pytest.mark.parametrize("name", NETWORKS)
def test_the_main_loop_tells_papers_apart(name: str) -> None:
    words = {
        "dataset": {"format": "papers", "name": "papers", "task_type": "classification"},
        "model": {"type": name, "loss_fun": "cross_entropy"},
        name: {"conv": "sage", "width": 16, "steps": 4},
        "optim": {"max_epoch": 40, "base_lr": 0.05},
    }
    model = train(task="node", **words).model
    assert isinstance(model.network, NETWORKS[name])
    assert model.network.network.steps == 4
    assert last_stats("test")["accuracy"] > 0.5  # of seven classes


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("by", ["graph", "node"])
def test_the_split_is_what_is_answered_for_and_the_whole_graph_what_is_seen(name: str, by: str) -> None:
    model = network(name, **{name: {"width": 8}}).eval()
    batch = Batch.from_data_list([ring(n, seed=n) for n in (6, 9)])
    whole, truth = model(batch)
    assert torch.equal(truth, batch.y)
    batch.split = "train"
    if by == "node":
        batch.train_mask = torch.arange(15) % 3 == 0
        whole, truth = whole[batch.train_mask], truth[batch.train_mask]
    answer, told = model(batch)
    assert torch.equal(answer, whole)
    assert torch.equal(told, truth)
    del batch.y
    assert model(batch)[1] is None


def test_it_is_a_base_like_any_other() -> None:
    words = {"base": {"model_arch": "pign", "width": 8}, "correction": "meshgraph"}
    model = network("irno", irno=words)
    assert isinstance(model.refiner, IterativeRefiner)
    assert isinstance(model.refiner.base.module, Pign)
    assert model.refiner.base.module.encoder.out_features == 8


def test_mistakes_are_named() -> None:
    with pytest.raises(
        ValueError, match=re.escape("expected an option of cfg.pign, got 'stepz'; try 'steps'")
    ):
        network("pign", pign={"stepz": 3})
    with pytest.raises(ValueError, match=r"expected dataset\.task node or graph, for fields on nodes"):
        network("itergnn", dataset={"task": "link_pred"})
