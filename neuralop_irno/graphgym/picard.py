"""Iterated graph networks as GraphGym wants a network: from a batch to a prediction and the truth."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neuralop_irno.errors import expected
from neuralop_irno.graphgym.network import split_of
from neuralop_irno.registry import MODELS, call_with_options, plain


class NodeNetwork(nn.Module):
    """What ``cfg.model.type: pign`` and ``itergnn`` name: the network that the group of that name describes.

    It answers for nodes. Where a batch says by masks which nodes belong to a split, prediction and truth are
    those of the split's nodes, and the network sees the whole graph all the same. Losses are GraphGym's own.

    Args:
        name: of the network, and of the group.
        dim_in: channels of x.
        dim_out: channels of the answer: of a classification, the classes.
    """

    def __init__(self, name: str, dim_in: int, dim_out: int) -> None:
        super().__init__()
        from torch_geometric.graphgym.config import cfg

        if cfg.dataset.task in ("edge", "link_pred"):
            raise ValueError(
                expected(
                    "dataset.task node or graph, for answers on nodes", cfg.dataset.task, "model.type gnn"
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
