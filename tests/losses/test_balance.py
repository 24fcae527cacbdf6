"""`balance`: directions of the space of channels count by a power of what the base leaves of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import FieldDataset, IterativeRefiner, Recipe, RefinementLoss, Trainer
from neuralop_irno.domain.graph import GraphDomain, domain_of
from neuralop_irno.losses.balance import balancing, covariance


def random_covariance(channels: int, seed: int = 0) -> Tensor:
    mixed = torch.randn(channels, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return mixed @ mixed.mT


def rotation(channels: int) -> Tensor:
    return torch.linalg.qr(random_covariance(channels, 1))[0]


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_the_base_has_the_same_loss_with_any_balance(power: float, channels: int) -> None:
    sigma = random_covariance(channels)
    root = balancing(sigma, power)
    assert (root @ sigma @ root).trace().item() == pytest.approx(sigma.trace().item(), rel=1e-3)
    if power == 0 or channels == 1:
        torch.testing.assert_close(root, torch.eye(channels, dtype=torch.float64), rtol=0, atol=1e-3)


def test_with_a_balance_of_one_every_direction_has_the_same_error() -> None:
    sigma = random_covariance(4)
    root = balancing(sigma, 1.0)
    even = root @ sigma @ root / (sigma.trace() / 4)
    torch.testing.assert_close(even, torch.eye(4, dtype=torch.float64), rtol=0, atol=0.02)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_balance_does_not_depend_on_the_basis_of_the_channels(power: float) -> None:
    sigma, turn = random_covariance(3), rotation(3)
    torch.testing.assert_close(
        balancing(turn @ sigma @ turn.mT, power), turn @ balancing(sigma, power) @ turn.mT
    )


def test_the_covariance_is_that_of_the_measure_of_the_domain() -> None:
    error = torch.randn(2, 3, 5)
    wanted = torch.einsum("bis,bjs->ij", error, error) / 10
    found = covariance([(part, domain_of(part, {})) for part in error.split(1)])
    torch.testing.assert_close(found.float(), wanted)


def test_on_graphs_every_sample_counts_alike() -> None:
    domain = GraphDomain(torch.tensor([0] * 3 + [1] * 7), samples=2)
    error = torch.randn(10, 2)
    wanted = (error[:3].mT @ error[:3] / 3 + error[3:].mT @ error[3:] / 7) / 2
    torch.testing.assert_close(covariance([(error, domain)]).float(), wanted)


def frames(samples: int = 24) -> FieldDataset:
    """Two channels that differ by little."""
    x = torch.randn(samples, 1, 16, generator=torch.Generator().manual_seed(0))
    return FieldDataset(x, torch.cat([x, x + 0.01 * x.roll(1, -1)], 1))


def refiner(frozen: bool = True, channels: int = 2) -> IterativeRefiner:
    torch.manual_seed(0)
    base = nn.Conv1d(1, channels, 1)
    nn.init.zeros_(base.weight)
    return IterativeRefiner(base, {"name": "unet", "width": 4, "depth": 1, "dim": 1}, freeze_base=frozen)


RECIPE = Recipe(epochs=2, batch_size=8, replay=4, precision="float32")


def test_the_trainer_measures_the_base_and_the_spatial_part_is_weighed_by_it() -> None:
    data, model, loss = frames(), refiner(), RefinementLoss(balance=0.5)
    with torch.no_grad():
        error = model.base(data.x) - data.y
    Trainer(model, RECIPE, loss, show=False).fit(data)
    root = balancing(torch.einsum("bis,bjs->ij", error, error) / (24 * 16), 0.5)
    torch.testing.assert_close(loss.root, root, rtol=1e-3, atol=1e-3)
    loss.eval()
    weighed = torch.einsum("ij,bjs->bis", loss.root, error).square().mean() * len(error)
    torch.testing.assert_close(loss(data.y + error, data.y), weighed)


@pytest.mark.parametrize("channels", [1, 2])
def test_with_one_channel_there_is_nothing_to_balance(channels: int) -> None:
    data = FieldDataset(frames().x, frames().y[:, :channels])
    weights = []
    for loss in (RefinementLoss(), RefinementLoss(balance=0.5)):
        model = refiner(channels=channels)
        Trainer(model, RECIPE, loss, show=False).fit(data)
        weights.append(torch.cat([p.detach().flatten() for p in model.correction.parameters()]))
    assert torch.allclose(*weights, rtol=0, atol=1e-4) == (channels == 1)


def test_a_resumed_training_has_the_balance_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base trains too, so that its errors are others by then."""

    def fit(folder: str, resume: bool = False) -> Tensor:
        model, loss = refiner(frozen=False), RefinementLoss(balance=0.5)
        Trainer(model, replace(RECIPE, replay=0), loss, tmp_path / folder, show=False).fit(data, None, resume)
        return torch.cat([loss.root.flatten(), *(p.detach().flatten() for p in model.parameters())])

    data = frames()
    whole = fit("whole")
    score = Trainer._score

    def stopped(self: Trainer, progress: Any, *rest: Any) -> Any:
        if progress.epoch == 1:
            raise KeyboardInterrupt
        return score(self, progress, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_score", stopped)
        with pytest.raises(KeyboardInterrupt):
            fit("stopped")
    assert torch.equal(fit("stopped", resume=True), whole)


def test_a_mask_leaves_out_what_it_leaves_out() -> None:
    error, mask = torch.randn(2, 3, 5), torch.tensor([[[1, 1, 0, 0, 1]], [[0, 1, 1, 1, 1]]]).bool()
    wanted = torch.stack(
        [each[:, own[0]] @ each[:, own[0]].mT / own[0].sum() for each, own in zip(error, mask, strict=True)]
    )
    other = torch.where(mask.expand_as(error), error, 1e3)
    found = covariance([(other, domain_of(error, {}).masked(mask))])
    torch.testing.assert_close(found.float(), wanted.mean(0))


def test_a_base_without_errors_leaves_the_channels_as_they_are_and_one_that_is_not_finite_is_named() -> None:
    torch.testing.assert_close(balancing(torch.zeros(3, 3), 0.5), torch.eye(3))
    error = torch.full((1, 2, 4), torch.nan)
    with pytest.raises(ValueError, match=r"^expected finite errors of the base .*; try irno check"):
        covariance([(error, domain_of(error, {}))])


def test_without_a_spatial_part_nothing_is_measured_and_the_loss_prints_its_balance() -> None:
    assert not RefinementLoss(spatial=0.0, spectral=1.0, balance=0.5).measures
    assert repr(RefinementLoss(balance=0.5)) == "RefinementLoss(spatial=1.0, balance=0.5)"


@pytest.mark.parametrize("balance", [-0.1, 1.5])
def test_a_balance_that_is_none_is_named(balance: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a balance from 0 to 1, got .*; try balance=0.5"):
        RefinementLoss(balance=balance)


def test_a_loss_that_has_not_measured_and_a_model_without_a_base_teach() -> None:
    data = frames()
    with pytest.raises(ValueError, match=r"^expected a loss that has measured .*; try Trainer"):
        RefinementLoss(balance=0.5)(data.y, data.y)
    with pytest.raises(ValueError, match=r"^expected a refiner, whose base .*, got Conv1d; try balance=0"):
        Trainer(nn.Conv1d(1, 2, 1), Recipe(), RefinementLoss(balance=0.5), show=False)
