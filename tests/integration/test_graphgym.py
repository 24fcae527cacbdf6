"""GraphGym's own loader, model builder and main loop, with a refiner by name."""

from __future__ import annotations

import copy
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from graphgym_rings import checkpoint, configure, last_stats, ring, train
from interpreters import fresh
from torch import Tensor, nn

with warnings.catch_warnings():  # what torch says of Lightning as it is imported
    warnings.simplefilter("ignore")
    from torch_geometric import graphgym
    from torch_geometric.data import Batch
    from torch_geometric.graphgym import cfg, register
    from torch_geometric.graphgym.config import assert_cfg
    from torch_geometric.graphgym.loss import compute_loss
    from torch_geometric.graphgym.utils.agg_runs import agg_runs
    from torch_geometric.nn import GCNConv

import neuralop_irno.graphgym  # noqa: F401 - registers with GraphGym
from neuralop_irno import Correction, IterativeRefiner, RefinementLoss
from neuralop_irno.registry import CORRECTIONS

EXAMPLE = Path(__file__).parents[2] / "examples/configs/graphgym/heat.yaml"

pytestmark = [
    # What torch, Lightning and PyTorch Geometric say of GraphGym's loaders and of each other.
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true"),
    pytest.mark.filterwarnings("ignore:It is not recommended to directly access the internal storage"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode"),  # a frozen base is meant to be
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]


@register.register_network("plain_network")
class PlainNetwork(nn.Module):
    """A user's network: nothing of GraphGym's inside, and one of its batches is one call."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.convolution = GCNConv(dim_in, dim_out)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        batch.x = self.convolution(batch.x, batch.edge_index)
        return batch.x, batch.y


@CORRECTIONS.register("graphgym_test_relax")
class Relax(Correction):
    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return 0 * (x - h)


@pytest.fixture(autouse=True)
def _config(tmp_path: Path) -> Iterator[None]:
    cfg.out_dir = str(tmp_path)
    yield
    graphgym.set_cfg(cfg)


def batch_of(*sizes: int) -> Batch:
    """Rings that are all one split's, as GraphGym's loop hands them on."""
    batch = Batch.from_data_list([ring(n, seed=n) for n in sizes])
    batch.split = "train"
    return batch


def network(**groups: Any) -> Any:
    configure(**groups)
    torch.manual_seed(0)
    return graphgym.create_model().model


def awake(model: Any) -> Any:
    """A correction with something to say."""
    for parameter in model.refiner.correction.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


IRNO = "import neuralop_irno; assert 'torch_geometric' not in sys.modules; import neuralop_irno.graphgym"
GRAPHGYM = "import torch_geometric.graphgym"
# This module imports GraphGym first.
ORDERS = {
    "irno first": f"{IRNO}; {GRAPHGYM}",
    "no yacs": f"{{NO_YACS}}; {IRNO}; {GRAPHGYM}",
}
CHECKS = """
import importlib, neuralop_irno.graphgym.registration
from torch_geometric.graphgym import cfg, register, set_cfg
for again in range(2):
    assert all("irno" in d for d in (register.network_dict, register.loss_dict, register.config_dict))
    assert all({"pign", "itergnn"} <= d.keys() for d in (register.network_dict, register.config_dict))
    assert cfg is None if "yacs" in blocked else cfg.irno == cfg.pign == cfg.itergnn == {}
    importlib.reload(neuralop_irno.graphgym.registration)
    set_cfg(cfg)
assert "register_base" in __import__("inspect").getsource(register)
"""


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_name_is_registered_whoever_is_imported_first(order: str) -> None:
    # Lightning takes most of the time of the import, and nothing here reads it.
    blocked = ("pytorch_lightning", "lightning", *(["yacs"] if "NO_YACS" in order else []))
    block = f"import sys; blocked = {blocked}; sys.modules.update(dict.fromkeys(blocked))"
    code = "\n".join([block, order.removeprefix("{NO_YACS}; "), CHECKS])
    result = fresh(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("task", ["graph", "node"])
@pytest.mark.parametrize("loss", ["irno", "mse"])
def test_the_main_loop_trains_a_refiner(task: str, loss: str) -> None:
    model = train(task=task, model={"loss_fun": loss}).model.eval()
    stats = last_stats("test")
    # Evaluation reports the mean squared error, whatever training minimised.
    assert stats["loss"] == pytest.approx(stats["mse"], abs=2e-4)
    batch = batch_of(6, 9, 11)
    assert (model(batch)[0] - batch.y).square().mean() < 0.2 * batch.y.square().mean()


def test_every_step_is_supervised_by_the_refiners_own_loss() -> None:
    options = {"spectral": 0.1, "fixed_point": 0.1}
    model = awake(network(irno={"loss": options})).train()
    batch = batch_of(6, 9, 11)
    loss, score = compute_loss(*model(batch))
    trajectory = model.refiner(batch, y=batch.y)
    assert torch.equal(loss, RefinementLoss(**options, reduction="mean")(trajectory, batch.y))
    assert torch.equal(score, trajectory.last[:, 0])
    assert len(trajectory.iterates) == model.refiner.steps
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())

    twin = copy.deepcopy(model)
    assert torch.equal(compute_loss(*twin(batch))[0], loss)


def test_a_mask_of_nodes_trains_on_those_nodes_alone() -> None:
    model = awake(network(task="node")).train()
    batch = batch_of(6, 9, 11)
    mask = torch.arange(len(batch.x)) % 3 == 0
    mask[batch.batch == 1] = False  # a graph without any
    batch.train_mask, batch.y[~mask] = mask, torch.nan
    prediction, truth = model(batch)
    assert torch.equal(truth, batch.y[mask])
    iterates = model.refiner(batch, y=batch.y.nan_to_num()).iterates
    assert torch.equal(prediction, iterates[-1][mask])
    squares = torch.stack([(h - batch.y).square()[:, 0] for h in iterates])
    by_graph = [squares[:, mask & (batch.batch == i)].mean() for i in (0, 2)]
    torch.testing.assert_close(compute_loss(prediction, truth)[0], torch.stack(by_graph).mean())
    model.eval()
    assert torch.equal(model(batch)[0], model.refiner(batch)[mask])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("loss", ["irno", "mse"])
def test_the_truth_does_not_leak_into_a_prediction(training: bool, loss: str) -> None:
    model = awake(network(model={"loss_fun": loss})).train(training)
    batch = batch_of(6, 9)
    before = batch.clone()
    first, _ = model(batch)
    assert all(torch.equal(batch[key], before[key]) for key in ("x", "y", "edge_index"))
    batch.y = torch.randn_like(batch.y)
    assert torch.equal(model(batch)[0], first)
    del batch.y
    without, truth = model.eval()(batch)
    assert truth is None
    assert len(without) == len(first)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("base", ["gnn", "plain_network", "rigno"])
@pytest.mark.parametrize("correction", ["meshgraph", "pyg:GraphSAGE", "graphgym_test_relax"])
def test_bases_and_corrections_are_found_by_name(base: str, correction: str) -> None:
    words = {"model_arch": base, **({"width": 8, "steps": 1, "time": False} if base == "rigno" else {})}
    model = network(irno={"base": words, "correction": correction}).eval()
    operator, batch = model.refiner.base.module, batch_of(16, 20)  # RIGNO asks for 16 points
    assert isinstance(model.refiner, IterativeRefiner)
    answer, _ = model(batch)
    if base == "rigno":
        expected = operator(batch.x, batch.pos, batch.batch)
    else:
        del batch.split
        parts = batch.clone().to_dict()
        expected, _ = operator(batch)  # its batch is changed by this
        assert torch.equal(model.refiner(**parts), expected)
    assert torch.equal(answer, expected)
    assert not model.refiner.base.frozen


def test_a_network_trained_in_graphgym_is_refined_and_kept_as_it_is() -> None:
    base = train("base", model={"type": "gnn", "loss_fun": "mse"}).model
    alone = last_stats("test")["mse"]
    words = {"base": {"model_arch": "gnn", "checkpoint": checkpoint()}}
    model = train("refined", irno=words)
    kept = model.model.refiner.base.module.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in base.state_dict().items())
    assert last_stats("test")["mse"] < 0.7 * alone

    again = graphgym.create_model()
    again.load_state_dict(torch.load(checkpoint(), weights_only=True)["state_dict"], strict=True)
    batch = batch_of(6, 9)
    assert torch.equal(again.eval()(batch)[0], model.eval()(batch)[0])


def test_the_example_is_whole() -> None:
    graphgym.set_cfg(cfg)
    cfg.merge_from_file(str(EXAMPLE))
    assert_cfg(cfg)
    model = graphgym.create_model(dim_in=4, dim_out=1).model
    assert model.refiner.sizes.in_channels == 4
    assert model.refiner.steps == 3


def test_runs_of_several_seeds_are_aggregated_by_the_words_of_the_example() -> None:
    example = type(cfg).load_cfg(EXAMPLE.read_text())
    words = {name: example[name] for name in ("metric_best", "metric_agg", "tensorboard_agg")}
    folder = Path(cfg.out_dir)
    best = []
    for seed in (0, 1):
        train("runs", seed=seed, optim={"max_epoch": 2}, **words)
        lines = (Path(cfg.run_dir) / "val/stats.json").read_text().splitlines()
        best.append(min(json.loads(line)["mse"] for line in lines))
    agg_runs(str(folder / "runs"), cfg.metric_best)
    found = json.loads((folder / "runs/agg/val/best.json").read_text())
    assert found["mse"] == pytest.approx(sum(best) / len(best), abs=1e-4)


MISTAKES: dict[str, dict[str, Any]] = {
    "an option of cfg.irno, got 'stepz'; try 'steps'": {"irno": {"stepz": 3}},
    "an option of cfg.irno.loss, got 'spectrl'; try 'spectral'": {"irno": {"loss": {"spectrl": 1.0}}},
    "the name of a base in cfg.irno, got 'gnnn'; try 'gnn'": {"irno": {"base": "gnnn"}},
    "the name of a correction, got 'meshgrap'; try 'meshgraph'": {"irno": {"correction": "meshgrap"}},
    "the base of cfg.irno by name, got {'width': 8}": {"irno": {"base": {"width": 8}}},
    "nothing but a checkpoint beside the name of GraphGym's 'gnn', got ['width']; try cfg.gnn": {
        "irno": {"base": {"model_arch": "gnn", "width": 8}}
    },
    "a checkpoint of a GraphGym network, got one of 'rigno'": {
        "irno": {"base": {"model_arch": "rigno", "checkpoint": "a.ckpt"}}
    },
    "dataset.task node or graph, for fields on nodes, got link_pred": {"dataset": {"task": "link_pred"}},
}


@pytest.mark.parametrize(("words", "mistake"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_in_the_config_is_named(words: str, mistake: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"expected {words}")):
        network(**mistake)


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(FileNotFoundError, match="expected a checkpoint of GraphGym, got no file at gone"):
        network(irno={"base": {"model_arch": "gnn", "checkpoint": "gone.ckpt"}})
    pooled = network(gnn={"head": "graph"})
    with pytest.raises(ValueError, match=r"expected an answer of shape \(15, C\), a row for each node"):
        pooled(batch_of(6, 9))
    partly = network(irno={"loss": {"fixed_point": 0.1}})
    batch = batch_of(6)
    batch.train_mask = torch.arange(6) < 3
    with pytest.raises(
        ValueError, match=r"expected spatial as the only part of cfg.irno.loss .*, got fixed_point"
    ):
        partly(batch)
    configure(model={"type": "gnn"})
    with pytest.raises(
        ValueError, match=r"expected model.type irno beside model.loss_fun irno, got model.type gnn"
    ):
        compute_loss(torch.zeros(3), torch.zeros(3))
