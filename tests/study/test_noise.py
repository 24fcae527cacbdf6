"""The unit of the noise is the deviation over the whole set, though the set is never held as a whole."""

import pytest
import torch
from torch_geometric.data import Data

from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.data.graphs import GraphDataset
from neuralop_irno.study.noise import Noisy


@pytest.mark.parametrize("mean", [0.0, 300.0, 1e5])
def test_a_deviation_beside_a_large_mean(mean: float) -> None:
    x = mean + torch.randn(7, 3, 6, 5) * torch.tensor([0.5, 1.0, 20.0]).reshape(3, 1, 1)
    x += torch.arange(7.0).reshape(7, 1, 1, 1)  # samples differ too
    expected = x.movedim(1, 0).flatten(1).double().std(1).float()
    noisy = Noisy(FieldDataset(x, x), 0.1)
    torch.testing.assert_close(noisy.spread, expected, rtol=1e-6, atol=0)


def test_graphs_weigh_as_much_as_they_have_nodes() -> None:
    fields = [300 + 2 * torch.randn(nodes, 2) for nodes in (3, 50, 8)]
    noisy = Noisy(GraphDataset([Data(x=x, y=x) for x in fields]), 0.1)
    torch.testing.assert_close(noisy.spread, torch.cat(fields).double().std(0).float(), rtol=1e-6, atol=0)
