"""What is refused is no batch of graphs; the graphs of a sound batch are sound in any company."""

from itertools import combinations

import pytest
import torch

from neuralop_irno.domain.check import check_graphs
from neuralop_irno.domain.graph import GraphDomain


def test_some_graphs_of_a_sound_batch_are_a_sound_batch() -> None:
    batch = torch.tensor([2, 0, 1, 2, 0, 2, 1])  # nodes in no order
    pairs = torch.combinations(torch.arange(7), with_replacement=True).T  # loops among them
    known = {
        "batch": batch,
        "pos": torch.rand(7, 3),
        "measure": torch.rand(7) + 0.1,
        "edge_index": pairs[:, batch[pairs[0]] == batch[pairs[1]]],
        "face": torch.tensor([[0], [3], [5]]),
    }
    domain = GraphDomain.of(torch.zeros(7, 1), known)
    for count in range(4):
        for kept in combinations(range(3), count):
            part = domain.select(torch.tensor(kept, dtype=torch.long))
            words = {"batch": part.batch, "pos": part.pos, "measure": part.measure, "face": part.cells}
            check_graphs(len(part.batch), count, {**words, "edge_index": part.edges.index})
            rows = torch.isin(batch, torch.tensor(kept, dtype=torch.long)).sum()
            assert len(part.batch) == rows


def test_what_is_no_tensor_is_refused() -> None:
    known = {"batch": torch.tensor([0, 0]), "pos": [[0.0], [1.0]]}
    with pytest.raises(TypeError, match=r"expected pos as a tensor, got list; try torch.as_tensor\(pos\)"):
        check_graphs(2, 1, known)
