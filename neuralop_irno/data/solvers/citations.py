"""A graph of papers that cite each other, with the statistics of Cora or CiteSeer, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuralop_irno.data.node_classes import NodeClasses, by_mask, drop_in_noise, row_normalised
from neuralop_irno.data.sizes import seed_of, whole
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import DATASETS

Whole = NDArray[np.int64]
Real = NDArray[np.float64]


@dataclass(frozen=True)
class GraphStatistics:
    """What a graph of papers has in common with a real one.

    Attributes:
        papers: of each class.
        citations: pairs of papers, counted once.
        words: in the dictionary.
        length: words of a paper, on average.
        homophily: the share of citations within a class.
        topic: the share of a paper's words that are drawn from those of its class, the others from those of
            all papers.
    """

    papers: tuple[int, ...]
    citations: int
    words: int
    length: float
    homophily: float
    topic: float

    def scaled(self, scale: float) -> GraphStatistics:
        """The same in small: fewer papers, citations and words, each paper as it was."""
        papers = tuple(max(1, round(scale * count)) for count in self.papers)
        citations, words = round(scale * self.citations), round(scale * self.words)
        return GraphStatistics(papers, citations, words, self.length, self.homophily, self.topic)


LIKE = {
    "cora": GraphStatistics((351, 217, 418, 818, 426, 298, 180), 5278, 1433, 18.2, 0.81, 0.4),
    "citeseer": GraphStatistics((264, 590, 668, 701, 596, 508), 4552, 3703, 32.1, 0.74, 0.3),
}
"""Counts are those of the real graphs; topic is such that a network without edges errs as often as there."""

TAIL = 2.5
"""The exponent of how often papers are cited: the density falls like w^-TAIL."""

ZIPF = 0.8
"""The exponent of how often words are used: the r-th most frequent one like r^-ZIPF."""


def citation_graph(
    like: str = "cora", scale: float = 1.0, noise: float = 0.0, labels: int = 20, seed: int = 0
) -> Any:
    """The graph itself, as PyTorch Geometric keeps such graphs: x, y, edge_index and three masks.

    A degree-corrected stochastic block model. Every paper cites one at least; who cites, and who is cited, is
    drawn by weights with a heavy tail; whether both are of one class, by the homophily. Words are frequent
    or rare as in any text, and which of them are frequent differs from class to class.

    Args:
        like: ``cora`` or ``citeseer``.
        scale: of papers, citations, words, and the sizes of validation and test, 500 and 1,000.
        noise: the share of the features that is raised by one; see `drop_in_noise`.
        labels: of each class, for training.
        seed: of everything but the noise.
    """
    if like not in LIKE:
        raise ValueError(expected("citations like a known graph", repr(like), did_you_mean(like, LIKE)))
    if not 0 < scale <= 1:
        raise ValueError(expected("a scale above 0, up to 1", scale, "scale=0.3"))
    whole("labels", labels), seed_of(seed)
    from torch_geometric.data import Data

    statistics = LIKE[like].scaled(scale)
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(statistics.papers)), statistics.papers))
    pairs = _citations(y, statistics, rng)
    x = row_normalised(torch.from_numpy(_words(y, statistics, rng)).float())
    masks = _masks(y, labels, (round(500 * scale), round(1000 * scale)), rng)
    return Data(
        x=drop_in_noise(x, noise),
        y=torch.from_numpy(y),
        edge_index=torch.from_numpy(np.concatenate([pairs, pairs[:, ::-1]]).T.copy()),
        train_mask=masks[0],
        val_mask=masks[1],
        test_mask=masks[2],
    )


@DATASETS.register("citations")
def citations(
    like: str = "cora", scale: float = 1.0, noise: float = 0.0, labels: int = 20, seed: int = 0
) -> dict[str, NodeClasses]:
    """What papers are about, from their words and who cites whom; see `citation_graph`.

    Each of the three data sets is the whole graph. y holds a row for each paper: 1 at its class, and nan
    where the paper belongs to another split.

    Args:
        like: ``cora`` or ``citeseer``.
        scale: of papers, citations, words, and the sizes of validation and test, 500 and 1,000.
        noise: the share of the features that is raised by one; see `drop_in_noise`.
        labels: of each class, for training.
        seed: of everything but the noise.
    """
    return by_mask(citation_graph(like, scale, noise, labels, seed))


def _citations(y: Whole, statistics: GraphStatistics, rng: np.random.Generator) -> Whole:
    """Pairs of papers, each once, the smaller number first, ``(citations, 2)``."""
    papers = len(y)
    if statistics.citations < papers:
        raise ValueError(expected(f"a citation for each of {papers}", statistics.citations, "more of them"))
    weights = rng.pareto(TAIL - 1, papers) + 1
    found = np.empty((0, 2), dtype=np.int64)
    while len(found) < statistics.citations:
        alone = np.setdiff1d(np.arange(papers), found)
        citing = alone if len(alone) else rng.choice(papers, size=papers, p=weights / weights.sum())
        within = rng.random(len(citing)) < statistics.homophily
        cited = _drawn(citing, within, y, weights, rng)
        pairs = np.sort(np.stack([citing, cited], 1), 1)
        pairs = np.concatenate([found, pairs[citing != cited]])
        _, first = np.unique(pairs, axis=0, return_index=True)
        found = pairs[np.sort(first)][: statistics.citations]
    return found


def _drawn(
    citing: Whole, within: NDArray[np.bool_], y: Whole, weights: Real, rng: np.random.Generator
) -> Whole:
    """For each citing paper another one, of its own class or of any other, by their weights."""
    cited = np.empty_like(citing)
    for own in np.unique(y):
        for inside in (True, False):
            asking = (y[citing] == own) & (within == inside)
            pool = np.flatnonzero((y == own) == inside)
            cited[asking] = rng.choice(pool, size=int(asking.sum()), p=weights[pool] / weights[pool].sum())
    return cited


def _words(y: Whole, statistics: GraphStatistics, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which paper holds which word, ``(papers, words)``."""
    usual = np.arange(1, statistics.words + 1, dtype=np.float64) ** -ZIPF
    usual /= usual.sum()
    lengths = rng.poisson(statistics.length, len(y)).clip(1)
    held = np.zeros((len(y), statistics.words), dtype=bool)
    for own in np.unique(y):
        rate = statistics.topic * rng.permutation(usual) + (1 - statistics.topic) * usual
        for paper in np.flatnonzero(y == own):
            held[paper, rng.choice(statistics.words, size=lengths[paper], replace=False, p=rate)] = True
    return held


def _masks(
    y: Whole, labels: int, sizes: tuple[int, int], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """So many papers of each class for training, and of the others some for validation and for the test."""
    order = rng.permutation(len(y))
    train = np.concatenate([order[y[order] == own][:labels] for own in np.unique(y)])
    rest = order[~np.isin(order, train)]
    valid, test = sizes
    if len(rest) < valid + test or len(train) < labels * len(np.unique(y)):
        got = f"{len(y)} in all, {len(rest)} of them left"
        raise ValueError(expected(f"{labels} papers a class and {valid + test} more", got, "fewer labels"))
    parts = (train, rest[:valid], rest[valid : valid + test])
    train_mask, val_mask, test_mask = (torch.zeros(len(y), dtype=torch.bool) for _ in parts)
    for mask, part in zip((train_mask, val_mask, test_mask), parts, strict=True):
        mask[torch.from_numpy(part)] = True
    return train_mask, val_mask, test_mask
