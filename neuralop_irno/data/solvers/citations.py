"""Random citation graphs with the statistics of Cora or CiteSeer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuralop_irno.data.node_classes import MASKS, NodeClasses, by_mask, drop_in_noise, row_normalised
from neuralop_irno.data.sizes import seed_of, whole
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.registry import DATASETS

Whole = NDArray[np.int64]
Real = NDArray[np.float64]


@dataclass(frozen=True)
class GraphStatistics:
    """Statistics of a citation graph.

    Attributes:
        papers: number of papers of each class.
        citations: number of citing pairs, each counted once.
        words: number of words in the dictionary.
        length: mean number of words per paper.
        homophily: fraction of citations within a class.
        topic: fraction of a paper's words drawn from the distribution of its class; the others are drawn from
            that of all papers.
    """

    papers: tuple[int, ...]
    citations: int
    words: int
    length: float
    homophily: float
    topic: float

    def scaled(self, scale: float) -> GraphStatistics:
        """A smaller graph: fewer papers, citations and words, with the same number of words per paper."""
        papers = tuple(max(1, round(scale * count)) for count in self.papers)
        citations, words = round(scale * self.citations), round(scale * self.words)
        return GraphStatistics(papers, citations, words, self.length, self.homophily, self.topic)


LIKE = {
    "cora": GraphStatistics((351, 217, 418, 818, 426, 298, 180), 5278, 1433, 18.2, 0.81, 0.4),
    "citeseer": GraphStatistics((264, 590, 668, 701, 596, 508), 4552, 3703, 32.1, 0.74, 0.3),
}
"""Counts of the real graphs; topic is fitted so that a network without edges has the same error rate."""

TAIL = 2.5
"""Exponent of the citation weights w: their density falls like w^-TAIL."""

ZIPF = 0.8
"""Exponent of the word frequencies: that of the r-th most frequent word is proportional to r^-ZIPF."""


def citation_graph(
    like: str = "cora", scale: float = 1.0, noise: float = 0.0, labels: int = 20, seed: int = 0
) -> Any:
    """A citation graph as a PyTorch Geometric graph with x, y, edge_index and three masks.

    The model is a degree-corrected stochastic block model. Every paper has at least one citation; citing and
    cited papers are drawn by heavy-tailed weights, and within one class with probability ``homophily``. Word
    frequencies follow Zipf's law, with an order of the words that differs between classes. Arguments as in
    `citations`.
    """
    check_choice("citations like a known graph", like, LIKE)
    if not 0 < scale <= 1:
        raise ValueError(expected("a scale above 0, up to 1", scale, "scale=0.3"))
    whole("labels", labels), seed_of(seed)
    from torch_geometric.data import Data

    statistics = LIKE[like].scaled(scale)
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(statistics.papers)), statistics.papers))
    pairs = _citations(y, statistics, rng)
    x = row_normalised(torch.from_numpy(_words(y, statistics, rng)).float())
    edges = torch.from_numpy(np.concatenate([pairs, pairs[:, ::-1]]).T.copy())
    parts = _parts(y, labels, (round(500 * scale), round(1000 * scale)), rng)
    masks = {
        name: torch.from_numpy(np.isin(np.arange(len(y)), p))
        for name, p in zip(MASKS.values(), parts, strict=True)
    }
    return Data(x=drop_in_noise(x, noise), y=torch.from_numpy(y), edge_index=edges, **masks)


@DATASETS.register("citations")
def citations(
    like: str = "cora", scale: float = 1.0, noise: float = 0.0, labels: int = 20, seed: int = 0
) -> dict[str, NodeClasses]:
    """Classify papers by their words and citations; see `citation_graph`.

    Each of the three data sets is the whole graph. y holds one row per paper: one-hot, and nan for papers of
    another split.

    Args:
        like: ``cora`` or ``citeseer``.
        scale: factor on papers, citations, words, and the sizes of validation and test, 500 and 1,000.
        noise: the fraction of feature entries raised by one; see `drop_in_noise`.
        labels: training nodes per class.
        seed: seed of everything except the noise.
    """
    return by_mask(citation_graph(like, scale, noise, labels, seed))


def _citations(y: Whole, statistics: GraphStatistics, rng: np.random.Generator) -> Whole:
    """Pairs of papers, each once, the smaller index first, ``(citations, 2)``."""
    papers = len(y)
    if statistics.citations < papers:
        raise ValueError(expected(f"a citation for each of {papers}", statistics.citations, "a larger scale"))
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
    """Draw a cited paper for each citing one, within or outside its class, by the weights."""
    cited = np.empty_like(citing)
    for own in np.unique(y):
        for inside in (True, False):
            chosen = (y[citing] == own) & (within == inside)
            pool = np.flatnonzero((y == own) == inside)
            cited[chosen] = rng.choice(pool, size=int(chosen.sum()), p=weights[pool] / weights[pool].sum())
    return cited


def _words(y: Whole, statistics: GraphStatistics, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whether each paper contains each word, ``(papers, words)``."""
    usual = np.arange(1, statistics.words + 1, dtype=np.float64) ** -ZIPF
    usual /= usual.sum()
    lengths = rng.poisson(statistics.length, len(y)).clip(1)
    held = np.zeros((len(y), statistics.words), dtype=bool)
    for own in np.unique(y):
        rate = statistics.topic * rng.permutation(usual) + (1 - statistics.topic) * usual
        for paper in np.flatnonzero(y == own):
            held[paper, rng.choice(statistics.words, size=lengths[paper], replace=False, p=rate)] = True
    return held


def _parts(y: Whole, labels: int, sizes: tuple[int, int], rng: np.random.Generator) -> tuple[Whole, ...]:
    """``labels`` papers per class for training, and ``sizes`` others for validation and test."""
    order = rng.permutation(len(y))
    train = np.concatenate([order[y[order] == own][:labels] for own in np.unique(y)])
    rest = order[~np.isin(order, train)]
    valid, test = sizes
    if len(rest) < valid + test or len(train) < labels * len(np.unique(y)):
        got = f"{len(y)} in all, {len(rest)} of them left"
        raise ValueError(expected(f"{labels} papers a class and {valid + test} more", got, "fewer labels"))
    return train, rest[:valid], rest[valid : valid + test]
