"""Iterated graph networks with GraphGym's interface: from a batch to prediction and truth."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neuralop_irno.errors import expected
from neuralop_irno.graphgym.network import split_of
from neuralop_irno.registry import MODELS, call_with_options, plain


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

        if cfg.dataset.task in ("edge", "link_pred"):
            raise ValueError(
                expected(
                    "dataset.task node or graph, for fields on nodes", cfg.dataset.task, "model.type gnn"
                )
            )
        options = {"in_channels": dim_in, "out_channels": dim_out, **plain(cfg[name])}
        self.network: nn.Module = call_with_options(MODELS.lookup(name), options, f"cfg.{name}")

    def forward(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """Prediction and truth at the nodes of the batch's split."""
        answer, mask = self.network(batch), split_of(batch)
        truth = batch.y if "y" in batch else None
        if mask is None:
            return answer, truth
        return answer[mask], None if truth is None else truth[mask]
