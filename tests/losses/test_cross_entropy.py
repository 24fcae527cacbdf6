"""Classes that are told at some of the points: torch's own cross-entropy, and nothing of the others."""

import pytest
import torch
import torch.nn.functional as F

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.domain.graph import GraphDomain
from neuralop_irno.losses.pointwise import CrossEntropyLoss
from neuralop_irno.metrics import METRICS, error_rate
from neuralop_irno.solution import Trajectory
from neuralop_irno.training.evaluation import score

HOLE = torch.nan


def truth(classes: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    return torch.where(told[:, None], F.one_hot(classes, 3).float(), HOLE)


def test_on_a_graph_it_is_that_of_torch_over_what_is_told() -> None:
    answer, classes, told = torch.randn(9, 3), torch.randint(3, (9,)), torch.arange(9) % 2 == 0
    loss = CrossEntropyLoss()(answer, truth(classes, told), batch=torch.zeros(9).long())
    torch.testing.assert_close(loss, F.cross_entropy(answer[told], classes[told]))


def test_a_large_graph_does_not_outvote_a_small_one() -> None:
    answer, classes, told = torch.randn(9, 3), torch.randint(3, (9,)), torch.tensor([True] * 8 + [True])
    batch = torch.tensor([0] * 2 + [1] * 7)
    each = [F.cross_entropy(answer[batch == i], classes[batch == i]) for i in (0, 1)]
    mean = CrossEntropyLoss(reduction="mean")(answer, truth(classes, told), batch=batch)
    torch.testing.assert_close(mean, torch.stack(each).mean())


def test_on_a_grid_it_is_that_of_torch() -> None:
    answer, classes = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    y = F.one_hot(classes, 3).movedim(-1, 1).float()
    torch.testing.assert_close(
        CrossEntropyLoss(reduction="mean")(answer, y), F.cross_entropy(answer, classes)
    )


def test_what_is_answered_elsewhere_costs_nothing() -> None:
    answer, classes, told = torch.randn(9, 3, requires_grad=True), torch.randint(3, (9,)), torch.arange(9) < 4
    CrossEntropyLoss()(answer, truth(classes, told), batch=torch.zeros(9).long()).backward()
    assert answer.grad is not None
    assert answer.grad[~told].eq(0).all()
    assert answer.grad[told].ne(0).any(1).all()


def test_a_graph_that_is_told_nothing_costs_nothing() -> None:
    answer, classes, told = torch.randn(6, 3), torch.randint(3, (6,)), torch.arange(6) < 3
    trajectory = Trajectory((answer,), (torch.ones(2),), GraphDomain(torch.tensor([0, 0, 0, 1, 1, 1]), 2))
    assert CrossEntropyLoss().per_sample(trajectory, truth(classes, told))[1] == 0


def test_every_iterate_is_supervised_and_the_sum_takes_it_as_a_part() -> None:
    domain = GraphDomain(torch.zeros(4).long(), 1)
    steps, y = tuple(torch.randn(3, 4, 3)), truth(torch.randint(3, (4,)), torch.arange(4) < 3)
    both = Trajectory(steps, (torch.ones(1),) * 3, domain)
    loss = RefinementLoss(spatial=0.0, cross_entropy=2.0)
    each = [CrossEntropyLoss()(h, y, batch=domain.batch) for h in steps]
    torch.testing.assert_close(loss(both, y), 2 * torch.stack(each).mean())
    assert set(loss.parts) == {"cross_entropy"}


def test_a_refiner_learns_classes_on_a_grid() -> None:
    model = IterativeRefiner(
        torch.nn.Conv1d(1, 3, 1), {"name": "unet", "width": 4, "depth": 1, "dim": 1}, steps=2
    )
    x = torch.randn(2, 1, 8)
    y = F.one_hot((x[:, 0] > 0).long(), 3).movedim(-1, 1).float()
    RefinementLoss(spatial=0.0, cross_entropy=1.0)(model.train()(x, y=y), y).backward()
    assert all(p.grad is not None for p in model.correction.parameters())


def test_the_error_rate_is_the_share_of_wrong_points_of_those_that_are_told() -> None:
    answer, classes, told = torch.randn(20, 3), torch.randint(3, (20,)), torch.arange(20) < 12
    y = truth(classes, told)
    wrong = (answer.argmax(1) != classes)[told].double().mean().float()
    assert score(error_rate, answer, y, torch.zeros(20).long()).item() == pytest.approx(wrong.item())
    batch = torch.arange(20) % 2
    each = [(answer.argmax(1) != classes)[told & (batch == i)].float().mean() for i in (0, 1)]
    torch.testing.assert_close(score(error_rate, answer, y, batch), torch.stack(each))
    assert METRICS.lookup("error_rate") is error_rate
    nothing = error_rate(answer.T[None], torch.full((1, 3, 20), HOLE))
    assert nothing.isnan().all()
    with pytest.raises(ValueError, match=r"expected a prediction \(B, classes, \*S\)"):
        error_rate(answer, y)
