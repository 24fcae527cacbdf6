"""Law 3: no sample sees its batch-mates."""

import pytest
import torch
from conftest import SmallNet, identity
from torch import nn

from neuralop_irno import IterativeRefiner, RefinementLoss, UNet
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.correction.equivariant import ShiftEquivariant
from neuralop_irno.domain.graph import GraphDomain


def refiner(norm: str = "layer") -> IterativeRefiner:
    phi = ShiftEquivariant(UNet(1, 1, width=4, depth=2, norm=norm)).double()
    nn.init.normal_(phi.correction.last.weight, std=0.1)
    return IterativeRefiner(identity, phi, steps=3, alpha=0.5).eval()


@pytest.mark.parametrize("norm", ["layer", "group", "instance", "none"])
def test_a_batch_equals_a_loop_and_permutes_with_its_order(norm: str) -> None:
    model = refiner(norm)
    x = torch.randn(5, 1, 9, 6, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x)
        loop = torch.cat([model(sample[None]) for sample in x])
        order = torch.tensor([3, 0, 4, 2, 1])
        torch.testing.assert_close(whole, loop, rtol=0, atol=1e-12)
        torch.testing.assert_close(model(x[order]), whole[order], rtol=0, atol=1e-12)


def test_samples_that_leave_the_batch_change_nobodys_answer() -> None:
    pull = FunctionCorrection(lambda x, h: x - h + 0.5 * torch.tanh(h.roll(1, -1)))
    model = IterativeRefiner(identity, pull, alpha=0.8).eval()
    x = torch.randn(6, 1, 8, dtype=torch.float64)
    start = x * torch.logspace(-3, 3, 6, dtype=torch.float64)[:, None, None]
    together = model.solve(x, start=start, max_steps=400, rtol=1e-5)
    assert len(set(together.steps.tolist())) > 2  # they do leave at different times
    for i in range(6):
        alone = model.solve(x[i : i + 1], start=start[i : i + 1], max_steps=400, rtol=1e-5)
        torch.testing.assert_close(alone.value[0], together.value[i], rtol=0, atol=1e-10)
        assert alone.outcomes[0] == together.outcomes[i]
        assert alone.steps[0] == together.steps[i]


def test_work_stops_for_samples_that_are_done() -> None:
    seen: list[int] = []

    def halve(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        seen.append(len(h))
        return 0.5 * (x - h)

    x = torch.zeros(2, 1, 4, dtype=torch.float64)
    start = torch.stack([torch.full((1, 4), 1e-9), torch.ones(1, 4)]).double()
    model = IterativeRefiner(identity, FunctionCorrection(halve), alpha=1.0).eval()
    solution = model.solve(x, start=start, max_steps=50, atol=1e-6)
    assert seen == [2] + [1] * (len(seen) - 1)
    assert solution.evaluations == sum(seen)


def test_the_loss_of_a_batch_is_the_sum_of_its_samples() -> None:
    model = refiner().train()
    model.gradient = IterativeRefiner(identity, SmallNet(), gradient="unrolled").gradient
    x, y = torch.randn(2, 4, 1, 8, 6, dtype=torch.float64)
    loss = RefinementLoss(spectral=1.0, fixed_point=0.5, compare="amplitude")
    whole = loss(model(x, y=y), y)
    parts = [loss(model(x[i : i + 1], y=y[i : i + 1]), y[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(whole, torch.stack(parts).sum())


def test_points_of_several_samples_in_any_order() -> None:
    """Norms on points are per sample, and do not depend on how the nodes are numbered."""
    batch = torch.tensor([0, 0, 0, 1, 1])
    field = torch.randn(5, 2, dtype=torch.float64)
    measure = torch.rand(5, dtype=torch.float64)
    domain = GraphDomain(batch, 2, measure=measure)
    by_hand = [
        ((field[rows] ** 2).mean(1) * measure[rows]).sum().div(measure[rows].sum()).sqrt()
        for rows in (slice(0, 3), slice(3, 5))
    ]
    torch.testing.assert_close(domain.norm(field), torch.stack(by_hand))
    order = torch.tensor([4, 0, 3, 2, 1])
    shuffled = GraphDomain(batch[order], 2, measure=measure[order])
    torch.testing.assert_close(shuffled.norm(field[order]), domain.norm(field))
    keep = torch.tensor([1])
    torch.testing.assert_close(domain.select(keep).norm(domain.take(field, keep)), domain.norm(field)[1:])
    put = domain.put(field, keep, torch.zeros(2, 2, dtype=torch.float64))
    assert put[3:].abs().sum() == 0
    assert torch.equal(put[:3], field[:3])


def test_a_frozen_base_does_not_see_the_batch_either() -> None:
    base = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.BatchNorm1d(1)).double()
    operator = BaseOperator(base).train()
    x = torch.randn(4, 1, 8, dtype=torch.float64)
    torch.testing.assert_close(operator(x)[:1], operator(x[:1]))
