"""Node classification: one graph whose nodes are split into training, validation and test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.errors import expected

MASKS = {"train": "train_mask", "valid": "val_mask", "test": "test_mask"}
"""PyTorch Geometric's names of the masks of the splits."""

NOISE_SEED = 2_147_483_647
"""Fixed, so that every training and every test on a graph uses the same noise."""


class NodeClasses(GraphDataset):
    """A graph for node classification: y is one-hot, and nan at nodes outside the split.

    Attributes:
        metric: the metric in which results are reported.
        loss: the default loss, as options of `RefinementLoss`.
    """

    metric = "error_rate"
    loss = {"spatial": 0.0, "cross_entropy": 1.0}  # noqa: RUF012 - never modified


def one_hot_at(y: Tensor, nodes: Tensor, classes: int) -> Tensor:
    """One-hot classes of the selected nodes, nan at the others.

    Args:
        y: the class of each node, ``(N,)``.
        nodes: a mask, ``(N,)``.
        classes: number of classes.

    Shapes:
        - returns: ``(N, classes)``

    Example:
        >>> one_hot_at(torch.tensor([1, 0]), torch.tensor([True, False]), 2)
        tensor([[0., 1.],
                [nan, nan]])
    """
    known = torch.nn.functional.one_hot(y, classes).float()
    return torch.where(nodes[:, None], known, torch.nan)


def by_mask(graph: Any, files: tuple[Path, ...] = ()) -> dict[str, NodeClasses]:
    """The three splits of a graph with PyTorch Geometric's masks; each has all of x, and y of its own nodes.

    Args:
        graph: a graph with x, edge_index, the class of each node as y, and train_mask, val_mask, test_mask.
        files: the files that the graph was read from.
    """
    from torch_geometric.data import Data

    classes = int(graph.y.max()) + 1
    return {
        split: NodeClasses(
            [Data(x=graph.x, edge_index=graph.edge_index, y=one_hot_at(graph.y, graph[mask], classes))], files
        )
        for split, mask in MASKS.items()
    }


def row_normalised(x: Tensor) -> Tensor:
    """Scale the rows of bag-of-words features to sum 1; zero rows stay zero.

    Example:
        >>> row_normalised(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).tolist()
        [[0.5, 0.5], [0.0, 0.0]]
    """
    return x / x.sum(1, keepdim=True).clamp(min=1)


def drop_in_noise(x: Tensor, rate: float) -> Tensor:
    """Add 1 to a random fraction of all entries of a feature matrix.

    As in the paper on Picard iterative graph networks (https://arxiv.org/abs/2310.01618): entries are drawn
    without replacement from the whole row-normalised matrix, so that in a citation graph one noise entry
    weighs as much as all words of a paper together.

    Args:
        x: ``(N, F)``.
        rate: p, between 0 and 1.

    Example:
        >>> drop_in_noise(torch.zeros(10, 10), 0.3).sum().item()
        30.0
    """
    if not 0 <= rate <= 1:
        raise ValueError(expected("a noise rate between 0 and 1", rate, "noise=0.1"))
    order = torch.randperm(x.numel(), generator=torch.Generator().manual_seed(NOISE_SEED))
    raised = torch.zeros(x.numel()).index_fill(0, order[: math.floor(x.numel() * rate)], 1.0)
    return x + raised.reshape(x.shape)
