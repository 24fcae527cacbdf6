"""A refiner with GraphGym's interface: from a batch to prediction and truth."""

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
from neuralop_irno.registry import call_with_options, plain
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

        if cfg.dataset.task in ("edge", "link_pred"):
            raise ValueError(
                expected(
                    "dataset.task node or graph, for fields on nodes", cfg.dataset.task, "model.type gnn"
                )
            )
        group = plain(cfg.irno)
        options = {"reduction": cfg.model.size_average, **(group.pop("loss", None) or {})}
        self.refiner = refiner_from(group, dim_in, dim_out)
        self.loss: RefinementLoss | None = None
        if cfg.model.loss_fun == NAME:
            self.loss = call_with_options(RefinementLoss, options, f"cfg.{NAME}.loss")

    def forward(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """Prediction and truth at the nodes of the batch's split."""
        mask = split_of(batch)
        truth = batch.y if "y" in batch else None
        if self.loss is not None and self.training and truth is not None:
            prediction = self._supervised(self.loss, batch, truth, mask)
        else:
            answer = self.refiner(batch)
            prediction = answer if mask is None else answer[mask]
        return prediction, truth if mask is None or truth is None else truth[mask]

    def _supervised(self, loss: RefinementLoss, batch: Any, truth: Tensor, mask: Tensor | None) -> Tensor:
        """A prediction with its loss attached."""
        y = truth.reshape(len(truth), -1)
        if mask is not None:
            y = torch.where(mask[:, None], y, 0)  # nan at other nodes must not enter the loss
        trajectory = self.refiner(batch, y=y)
        answer = trajectory.as_answer(trajectory.last)
        if mask is None:
            return carrying(answer, loss(trajectory, y))
        return carrying(answer[mask], loss_on(mask, loss, trajectory, y))


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
        raise ValueError(
            expected(
                f"spatial as the only part of cfg.{NAME}.loss where a split is a mask of nodes",
                ", ".join(others),
                "dataset.task graph with gnn.head node, which splits by graphs",
            )
        )
    domain = copy.copy(trajectory.domain)
    assert isinstance(domain, GraphDomain)
    domain.measure = mask if domain.measure is None else mask * domain.measure
    values = loss.per_sample(replace(trajectory, domain=domain), y)
    any_known = domain.mean(mask[:, None].to(values.dtype)) > 0
    return loss.reduce(values[any_known])
