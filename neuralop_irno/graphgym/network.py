"""Networks with GraphGym's interface, from a batch to prediction and truth: refiners, iterated networks."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.errors import expected
from neuralop_irno.graphgym.loss import carrying
from neuralop_irno.graphgym.options import NAME, refiner_from
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.registry import MODELS, call_with_options, plain
from neuralop_irno.solution import Trajectory


class RefinedNetwork(nn.Module):
    """The network ``cfg.model.type: irno``: a refiner with the options ``cfg.irno``, for fields on nodes.

    If a batch has masks of the split's nodes (``train_mask``, ..), prediction and truth are restricted to
    these nodes. The refiner always reads the whole graph; the truth is used by the loss only.

    With ``cfg.model.loss_fun: irno`` every step is supervised by a `RefinementLoss` with the options
    ``cfg.irno.loss``; with GraphGym's own losses only the last iterate is. In training the prediction is
    the last supervised iterate.

    Args:
        dim_in: channels of x.
        dim_out: channels of the field.
    """

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        from torch_geometric.graphgym.config import cfg

        check_task(cfg)
        group = plain(cfg.irno)
        options = {"reduction": cfg.model.size_average, **(group.pop("loss", None) or {})}
        self.refiner = refiner_from(group, dim_in, dim_out)
        self.loss: RefinementLoss | None = None
        if cfg.model.loss_fun == NAME:
            self.loss = call_with_options(RefinementLoss, options, f"cfg.{NAME}.loss")

    def forward(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """Prediction and truth at the nodes of the batch's split."""
        if self.loss is None or not self.training or "y" not in batch:
            return of_split(self._field_of(self.refiner(batch)), batch)
        y, mask = batch.y.reshape(len(batch.y), -1), split_of(batch)
        if mask is not None:
            y = torch.where(mask[:, None], y, 0)  # nan at other nodes must not enter the loss
        trajectory = self.refiner(batch, y=y)
        answer = self._field_of(trajectory.as_answer(trajectory.last))
        prediction, truth = of_split(answer, batch)
        loss = self.loss(trajectory, y) if mask is None else loss_on(mask, self.loss, trajectory, y)
        return carrying(prediction, loss), truth

    def _field_of(self, answer: Any) -> Tensor:
        return self.refiner.base.field_of(answer)


class NodeNetwork(nn.Module):
    """The networks ``cfg.model.type: pign`` and ``itergnn``, with the options in the group of that name.

    The output is a field on nodes. If a batch has masks of the split's nodes, prediction and truth are
    restricted to these nodes; the network always reads the whole graph. Losses are GraphGym's own.

    Args:
        name: name of the network and of its config group.
        dim_in: channels of x.
        dim_out: channels of the output; for a classification, the number of classes.
    """

    def __init__(self, name: str, dim_in: int, dim_out: int) -> None:
        super().__init__()
        from torch_geometric.graphgym.config import cfg

        check_task(cfg)
        options = {"in_channels": dim_in, "out_channels": dim_out, **plain(cfg[name])}
        self.network: nn.Module = call_with_options(MODELS.lookup(name), options, f"cfg.{name}")

    def forward(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """Prediction and truth at the nodes of the batch's split."""
        return of_split(self.network(batch), batch)


def check_task(cfg: Any) -> None:
    """Raise ValueError if GraphGym's config asks for edges."""
    if cfg.dataset.task in ("edge", "link_pred"):
        wanted = "dataset.task node or graph, for fields on nodes"
        raise ValueError(expected(wanted, cfg.dataset.task, "model.type gnn"))


def of_split(answer: Tensor, batch: Any) -> tuple[Tensor, Tensor | None]:
    """An answer at all nodes as GraphGym's prediction and truth: those at the nodes of the batch's split."""
    mask, truth = split_of(batch), batch.y if "y" in batch else None
    if mask is None:
        return answer, truth
    return answer[mask], None if truth is None else truth[mask]


def split_of(batch: Any) -> Tensor | None:
    """The mask of the current split's nodes, ``(N,)``; None if these are all nodes."""
    mask = batch.get(f"{batch.split}_mask") if "split" in batch else None
    return None if mask is None or mask.all() else mask


def loss_on(mask: Tensor, loss: RefinementLoss, trajectory: Trajectory, y: Tensor) -> Tensor:
    """The loss at some of the nodes, reduced over the graphs that have any of them.

    Args:
        mask: the nodes whose truth is known, ``(N,)``.
        loss: the loss; only its part `spatial` can be restricted to some nodes.
        trajectory: the trajectory of all nodes.
        y: the truth, shaped like the iterates.
    """
    others = [name for name, weight in loss.weights.items() if weight and name != "spatial"]
    if others:
        wanted = f"spatial as the only part of cfg.{NAME}.loss where a split is a mask of nodes"
        hint = "dataset.task graph with gnn.head node, which splits by graphs"
        raise ValueError(expected(wanted, ", ".join(others), hint))
    domain = copy.copy(trajectory.domain)
    assert isinstance(domain, GraphDomain)
    domain.measure = mask if domain.measure is None else mask * domain.measure
    values = loss.per_sample(replace(trajectory, domain=domain), y)
    any_known = domain.mean(mask[:, None].to(values.dtype)) > 0
    return loss.reduce(values[any_known])
