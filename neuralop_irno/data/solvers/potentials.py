"""Potentials on long rings: a long-range problem, with boundary values at a few nodes only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.data.sizes import fits, real, seed_of, three, whole
from neuralop_irno.data.splits import by_split
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS

REACH = 3
"""Maximum span of a chord along the ring: short chords make rings irregular without shortening paths much."""

MOST = 10_000
"""Maximum nodes of a ring, since its matrix is dense."""


@DATASETS.register("potentials")
def potentials(
    samples: Sequence[int] = (128, 32, 64),
    nodes: Sequence[int] = (24, 32),
    held: int = 2,
    chords: float = 0.25,
    seed: int = 0,
) -> dict[str, GraphDataset]:
    r"""Potentials on a ring: a few nodes have fixed values, the others the mean of their neighbours.

    .. math:: u_i = g_i \text{ where held}, \qquad u_i = \frac{1}{d_i} \sum_{j \sim i} u_j \text{ elsewhere}

    x holds g, zero at free nodes, and an indicator of the held nodes; y holds u. Message passing needs one
    step per hop to a held node, up to half the ring.

    Args:
        samples: numbers of graphs for training, validation and test.
        nodes: minimum and maximum number of nodes of a ring.
        held: number of nodes with fixed values, drawn from a normal distribution and normalised to mean 0 and
            standard deviation 1.
        chords: number of additional edges per node of the ring, each spanning two or three nodes.
        seed: seed of rings and values.
    """
    counts = three("samples", samples, (128, 32, 64))
    real("chords", chords, most=1.0, zero=True), seed_of(seed)
    if not isinstance(nodes, Sequence) or len(nodes) != 2 or not 2 * REACH < nodes[0] <= nodes[1]:
        raise ValueError(expected(f"two numbers of nodes above {2 * REACH}", nodes, "nodes: [24, 32]"))
    for count in nodes:  # a dense system is solved for each graph
        whole("nodes", count, most=MOST)
    fits(sum(counts) * float(nodes[1]) * 30, sum(counts) * float(nodes[1]) ** 3)
    if not 2 <= held < nodes[0]:
        raise ValueError(expected("2 held nodes or more, but not all", held, "held=2"))

    def rings(place: int, count: int) -> GraphDataset:
        rng = np.random.default_rng([seed, place])
        sizes = rng.integers(nodes[0], nodes[1] + 1, count).tolist()
        return GraphDataset([_held_ring(n, held, round(chords * n), rng) for n in sizes])

    return by_split(rings, counts)


def _held_ring(n: int, held: int, chords: int, rng: np.random.Generator) -> Any:
    from torch_geometric.data import Data

    edges = _ring(n, chords, rng)
    known = np.zeros(n, dtype=bool)
    known[rng.choice(n, held, replace=False)] = True
    values = rng.standard_normal(held)
    given = np.zeros(n)
    given[known] = (values - values.mean()) / values.std()  # so that all rings have equal weight in the loss
    u = potential(edges, known, given)
    return Data(
        x=torch.from_numpy(np.stack([given, known], 1)).float(),
        y=torch.from_numpy(u[:, None]).float(),
        edge_index=torch.from_numpy(edges),
    )


def _ring(n: int, chords: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A cycle with chords, every edge in both directions, ``(2, E)``."""
    node = np.arange(n)
    start = rng.choice(n, chords, replace=False)
    ends = (start + rng.integers(2, REACH + 1, chords)) % n
    pairs = np.concatenate([np.stack([node, (node + 1) % n]), np.stack([start, ends])], 1)
    return np.unique(np.concatenate([pairs, pairs[::-1]], 1), axis=1)


def potential(
    edges: NDArray[np.int64], known: NDArray[np.bool_], given: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The potential at all nodes, from the values at the held ones.

    Args:
        edges: edges in both directions, ``(2, E)``.
        known: mask of the held nodes, ``(N,)``; at least one in every component of the graph.
        given: values at the held nodes, ``(N,)``; the other entries are not read.

    Example:
        >>> path = np.array([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> potential(path, np.array([True, False, True]), np.array([0.0, 0.0, 4.0])).tolist()
        [0.0, 2.0, 4.0]
    """
    laplacian = np.zeros((len(known), len(known)))
    np.add.at(laplacian, (edges[0], edges[1]), -1.0)
    laplacian -= np.diag(laplacian.sum(1))
    u = np.where(known, given, 0.0)
    free = ~known
    u[free] = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, known)] @ given[known])
    return u
