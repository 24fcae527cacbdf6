"""Nodes that belong to classes, some of which are told: one graph, and a split of its nodes in three."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.errors import expected

MASKS = {"train": "train_mask", "valid": "val_mask", "test": "test_mask"}
"""What PyTorch Geometric calls the nodes of our splits."""

NOISE_SEED = 2_147_483_647
"""Noise is drawn once for a graph and a rate: every training, and the test, meets the same."""


class NodeClasses(GraphDataset):
    """A graph whose nodes are to be told apart: y is 1 at the class of a node, and nan where it is not told.

    Attributes:
        metric: what answers are scored by.
        loss: what networks are trained on, in the words of `RefinementLoss`, where nobody says otherwise.
    """

    metric = "error_rate"
    loss = {"spatial": 0.0, "cross_entropy": 1.0}  # noqa: RUF012 - read by everybody, written by nobody


def told_in(y: Tensor, nodes: Tensor, classes: int) -> Tensor:
    """The classes of some of the nodes, and nothing of the others.

    Args:
        y: the class of each node, ``(N,)``.
        nodes: a mask, ``(N,)``.
        classes: how many there are.

    Shapes:
        - returns: ``(N, classes)``

    Example:
        >>> told_in(torch.tensor([1, 0]), torch.tensor([True, False]), 2)
        tensor([[0., 1.],
                [nan, nan]])
    """
    told = torch.nn.functional.one_hot(y, classes).float()
    return torch.where(nodes[:, None], told, torch.nan)


def by_mask(graph: Any, files: tuple[Path, ...] = ()) -> dict[str, NodeClasses]:
    """The three data sets of a graph with PyTorch Geometric's masks; each sees all of x, and its own y alone.

    Args:
        graph: with x, edge_index, the class of each node as y, and train_mask, val_mask, test_mask.
        files: that the graph was read from.
    """
    from torch_geometric.data import Data

    classes = int(graph.y.max()) + 1
    return {
        split: NodeClasses(
            [Data(x=graph.x, edge_index=graph.edge_index, y=told_in(graph.y, graph[mask], classes))], files
        )
        for split, mask in MASKS.items()
    }


def row_normalised(x: Tensor) -> Tensor:
    """Features whose rows sum to one, as networks on bags of words are given them; empty rows stay empty.

    Example:
        >>> row_normalised(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).tolist()
        [[0.5, 0.5], [0.0, 0.0]]
    """
    return x / x.sum(1, keepdim=True).clamp(min=1)


def drop_in_noise(x: Tensor, rate: float) -> Tensor:
    """Features with a share of all their entries, wherever they are, raised by one.

    The definition is that of the experiments on Picard iterative graph networks: entries are drawn without
    replacement over the whole matrix, after its rows were normalised, so that in a graph of papers a wrong
    word weighs as much as all right ones together.

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
