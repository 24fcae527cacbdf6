"""Papers that cite each other: the statistics that are asked for, the noise, and splits that do not leak."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pickled_layouts import planetoid_files
from torch_geometric.data import Data
from torch_geometric.utils import degree, is_undirected

from neuralop_irno.data.node_classes import by_mask, drop_in_noise, row_normalised
from neuralop_irno.data.readers.planetoid import PARTS, planetoid
from neuralop_irno.data.solvers.citations import LIKE, citation_graph, citations
from neuralop_irno.data.splits import load_splits


@pytest.fixture(scope="module")
def cora() -> Any:
    return citation_graph("cora")


def test_counts_are_those_of_the_real_graph(cora: Any) -> None:
    assert cora.x.shape == (2708, 1433)
    assert cora.edge_index.shape == (2, 2 * 5278)
    assert is_undirected(cora.edge_index)
    assert cora.y.bincount().tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert [int(cora[mask].sum()) for mask in ("train_mask", "val_mask", "test_mask")] == [140, 500, 1000]
    assert cora.y[cora.train_mask].bincount().tolist() == [20] * 7


def test_citations_stay_in_a_class_as_often_as_asked(cora: Any) -> None:
    source, target = cora.edge_index
    assert (source != target).all()
    within = (cora.y[source] == cora.y[target]).double().mean().item()
    homophily = LIKE["cora"].homophily
    assert abs(within - homophily) < 3 * (homophily * (1 - homophily) / 5278) ** 0.5


def test_degrees_have_a_heavy_tail_and_nobody_stands_alone(cora: Any) -> None:
    degrees = degree(cora.edge_index[0], len(cora.y))
    assert degrees.min() == 1
    assert degrees.mean().item() == pytest.approx(2 * 5278 / 2708)
    assert degrees.max() > 20 * degrees.median()  # 168 and 3 in Cora; of a binomial it is about 4 times
    assert (degrees > 10).double().mean() > 0.02


def test_papers_hold_as_many_words_as_asked_and_those_of_their_class_more_often(cora: Any) -> None:
    held = cora.x > 0
    assert held.sum(1).double().mean().item() == pytest.approx(18.2, abs=3 * (18.2 / 2708) ** 0.5)
    torch.testing.assert_close(cora.x.sum(1), torch.ones(2708))
    rates = torch.stack([held[cora.y == own].double().mean(0) for own in range(7)])
    odd = [own + 7 * (torch.arange(int((cora.y == own).sum())) % 2) for own in range(7)]
    half = torch.empty_like(cora.y)
    for own in range(7):
        half[cora.y == own] = odd[own]
    halves = torch.stack([held[half == part].double().mean(0) for part in range(14)])
    nearest = torch.cdist(halves[7:], halves[:7]).argmin(1)
    assert nearest.tolist() == list(range(7))  # one half of a class is most like its other half
    assert torch.cdist(rates, rates).fill_diagonal_(1).min() > 0.03


def test_a_seed_is_a_graph() -> None:
    first, again, other = (citation_graph(scale=0.1, labels=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.edge_index, again.edge_index)
    assert not torch.equal(first.x, other.x)
    small = LIKE["citeseer"].scaled(0.1)
    graph = citation_graph("citeseer", scale=0.1, labels=5)
    assert graph.edge_index.shape[1] == 2 * small.citations == 2 * 455
    assert graph.x.shape == (sum(small.papers), 370)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_noise_raises_its_share_of_all_entries_by_one_and_is_always_the_same(rate: float) -> None:
    clean, noisy, again = (citation_graph(scale=0.1, labels=5, noise=p).x for p in (0.0, rate, rate))
    raised = noisy - clean
    assert torch.equal(noisy, again)
    assert int((raised > 0.5).sum()) == int(rate * clean.numel())
    torch.testing.assert_close(raised[raised > 0.5], torch.ones(int(rate * clean.numel())))
    assert torch.equal(noisy[raised <= 0.5], clean[raised <= 0.5])
    # Spread over all papers, whatever they hold.
    rates = (raised > 0.5).double().mean(1)
    assert (rates - rate).abs().max() < 5 * (rate * (1 - rate) / clean.shape[1]) ** 0.5 + 1e-9


def test_no_split_is_told_a_class_of_another() -> None:
    splits = load_splits({"name": "citations", "scale": 0.2, "labels": 10})
    graph = citation_graph(scale=0.2, labels=10)
    told = [~splits[name][0].y.isnan().any(1) for name in ("train", "valid", "test")]
    assert (torch.stack(told).sum(0) <= 1).all()
    for split, own in zip(splits.values(), told, strict=True):
        (sample,) = split
        assert sorted(sample.keys()) == ["edge_index", "x", "y"]  # no mask, and no other y
        assert torch.equal(sample.y[own].argmax(1), graph.y[own])
        assert sample.y[~own].isnan().all()
        assert torch.equal(sample.x, graph.x)


def test_row_normalised_features_are_those_of_pyg() -> None:
    from torch_geometric.transforms import NormalizeFeatures

    x = (torch.rand(20, 9) < 0.2).float()
    theirs = NormalizeFeatures()(Data(x=x.clone())).x
    torch.testing.assert_close(row_normalised(x), theirs)


def test_files_of_planetoid_are_read_and_never_downloaded(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"expected the files ind\.cora\.\* in .*, got none for x, tx"
    ):
        planetoid(str(tmp_path))
    graph = citation_graph(scale=0.4, labels=10)
    order = planetoid_files(tmp_path, graph)
    splits = planetoid(str(tmp_path), noise=0.2)
    sample = splits["train"][0]
    torch.testing.assert_close(sample.x, drop_in_noise(graph.x[order], 0.2))
    assert torch.equal(sample.y[:70].argmax(1), graph.y[order][:70])
    assert int((~splits["valid"][0].y.isnan().any(1)).sum()) == 500
    assert torch.equal(
        (~splits["test"][0].y.isnan().any(1)).nonzero()[:, 0],
        torch.arange(len(order))[-int(graph.test_mask.sum()) :],
    )
    (tmp_path / "Cora" / "raw" / f"ind.cora.{PARTS[-1]}").unlink()
    with pytest.raises(FileNotFoundError, match=r"got none for test\.index; try .*Planetoid"):
        planetoid(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("citations like a known graph, got 'coar'; try 'cora'", {"like": "coar"}),
        ("a scale above 0, up to 1, got 2", {"scale": 2}),
        ("a noise rate between 0 and 1, got 10", {"noise": 10, "scale": 0.1, "labels": 5}),
        ("20 papers a class and 150 more", {"scale": 0.1}),
    ],
)
def test_a_mistake_is_named(words: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"expected {words}"):
        citations(**options)


def test_a_graph_of_ones_own_is_split_by_its_masks() -> None:
    graph = citation_graph(scale=0.1, labels=5)
    assert [split.metric for split in by_mask(graph).values()] == ["error_rate"] * 3
