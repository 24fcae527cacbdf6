"""PDE-Refiner out of the package's own parts: a denoiser, its solver, and training from the truth."""

from collections.abc import Callable

import pytest
import torch
from conftest import identity, zero
from solver_names import OF_CORRECTIONS
from torch import Tensor

from neuralop_irno import IterativeRefiner
from neuralop_irno.config import experiment
from neuralop_irno.correction.correction import Correction, FunctionCorrection
from neuralop_irno.correction.denoiser import Denoiser
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.losses.pointwise import DenoisingLoss
from neuralop_irno.models import DeepONet
from neuralop_irno.recipe import Recipe
from neuralop_irno.solver.denoising import Denoising
from neuralop_irno.training.trainer import Trainer

LEVELS, LEAST = 3, 0.05
NETWORK = {"name": "unet", "width": 8, "depth": 1}
WORDS = {
    "correction": {"name": "denoiser", "levels": LEVELS, "correction": NETWORK},
    "solver": {"name": "denoising", "levels": LEVELS, "least": LEAST},
    "gradient": "from_truth",
    "steps": LEVELS,
}
SIGMAS = torch.tensor([LEAST ** (k / LEVELS) for k in (1, 2, 3)])


class Oracle(Correction):
    """Sees all noise: it knows the truth, and divides what is left by the size of the noise."""

    stepwise = True

    def __init__(self, truth: Tensor) -> None:
        super().__init__()
        self.truth = truth

    def forward(self, x: Tensor, h: Tensor, taken: Tensor | None = None) -> Tensor:
        assert taken is not None
        return (h - self.truth) / SIGMAS[taken].reshape(-1, 1, 1)


def test_noise_falls_geometrically_to_the_least() -> None:
    solver = Denoising(levels=4, least=1e-4)
    sigma = solver.alpha(torch.arange(6))
    torch.testing.assert_close(sigma, torch.tensor([1e-1, 1e-2, 1e-3, 1e-4, 1e-4, 1e-4]))


def test_who_sees_all_noise_is_at_the_truth_after_every_step() -> None:
    truth = torch.randn(4, 1, 8)
    model = IterativeRefiner(zero, Oracle(truth), steps=LEVELS, solver=WORDS["solver"]).eval()
    for answer in model.iterates(truth)[1:]:
        torch.testing.assert_close(answer, truth, rtol=0, atol=1e-5)


def test_who_sees_none_adds_noise_of_every_level() -> None:
    asleep = FunctionCorrection(lambda x, h: 0 * h)
    model = IterativeRefiner(zero, asleep, steps=LEVELS, solver=WORDS["solver"]).eval()
    answers = torch.stack(model.iterates(torch.zeros(64, 1, 256)))
    spread = answers.diff(dim=0).flatten(1).std(1)
    torch.testing.assert_close(spread, SIGMAS, rtol=0.03, atol=0)
    torch.manual_seed(1)
    one = model(torch.zeros(1, 1, 8))
    torch.manual_seed(1)
    assert torch.equal(model(torch.zeros(1, 1, 8)), one)  # drawn from torch's generator


@pytest.mark.parametrize("base", [zero, identity, lambda x: x / 0])
def test_from_nothing_the_first_step_predicts_without_a_base(base: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(4, 1, 8)
    sigmas = torch.tensor([1.0, LEAST**0.5, LEAST])
    seen: list[Tensor] = []

    class Predicts(Oracle):
        def forward(self, x: Tensor, h: Tensor, taken: Tensor | None = None) -> Tensor:
            assert taken is not None
            seen.append(h)
            return (h - self.truth) / sigmas[taken].reshape(-1, 1, 1)

    solver = {"name": "denoising", "levels": 3, "least": LEAST, "from_nothing": True}
    model = IterativeRefiner(base, Predicts(2 * x), steps=3, solver=solver).eval()
    torch.testing.assert_close(model.iterates(x)[-1], 2 * x, rtol=0, atol=1e-5)
    assert seen[0].count_nonzero() == 0
    spread = [(h - 2 * x).std().item() for h in seen[1:]]
    assert spread == pytest.approx(sigmas[1:].tolist(), rel=0.5)


def test_from_nothing_its_loss_begins_with_the_mean_square_error_of_a_prediction() -> None:
    asleep = FunctionCorrection(lambda x, h: 0 * h)
    solver = {"name": "denoising", "levels": 2, "least": 0.5, "from_nothing": True}
    model = IterativeRefiner(zero, asleep, solver=solver, gradient="from_truth", steps=2).train()
    y = 3 * torch.randn(64, 1, 128)
    trajectory = model(y, y=y)
    losses, first = DenoisingLoss().per_sample(trajectory, y), trajectory.alpha == 1
    assert 0 < first.sum() < 64
    torch.testing.assert_close(losses[first], y[first].square().mean((1, 2)))
    torch.testing.assert_close(losses[~first], torch.ones(int((~first).sum())), rtol=0.5, atol=0)


def test_every_sample_is_told_its_own_level_by_a_channel() -> None:
    seen = {}

    def look(x: Tensor, h: Tensor) -> Tensor:
        seen["x"] = x
        return h

    x = torch.randn(3, 2, 4)
    bound = Denoiser(FunctionCorrection(look), levels=2).bind(x, GridDomain.of(x))
    bound(torch.zeros(3, 1, 4), torch.tensor([0, 1, 5]))
    assert torch.equal(seen["x"][:, :2], x)
    assert seen["x"][:, 2:, 0].tolist() == [[1, 0], [0, 1], [0, 1]]
    assert (seen["x"] == seen["x"][..., :1])[:, 2:].all()


def test_its_loss_is_the_mean_square_error_of_the_noise_that_was_seen() -> None:
    half = FunctionCorrection(lambda x, h: 0 * h)
    model = IterativeRefiner(zero, half, solver=WORDS["solver"], gradient="from_truth", steps=LEVELS).train()
    y = torch.randn(32, 1, 512)
    trajectory = model(y, y=y)
    assert len(trajectory.iterates) == 1
    # It sees no noise at all: what it misses is all of it, of variance one at every level.
    losses = DenoisingLoss().per_sample(trajectory, y)
    torch.testing.assert_close(losses, torch.ones(32), rtol=0.25, atol=0)
    assert losses.mean().item() == pytest.approx(1, rel=0.03)
    assert set(trajectory.alpha.tolist()) == set(SIGMAS.tolist())
    assert DenoisingLoss()(y, y).item() == 0


def test_training_never_shows_it_the_base() -> None:
    """From the truth: whatever the base answers, the same noise gives the same loss."""
    x = torch.randn(8, 1, 6, 5)
    losses = []
    for base in (zero, identity):
        torch.manual_seed(3)
        model = IterativeRefiner(base, **WORDS, in_channels=1, out_channels=1).train()
        losses.append(DenoisingLoss()(model(x, y=x), x).item())
    assert losses[0] == losses[1]


def test_by_words_alone_it_trains_in_the_same_harness_and_improves_on_its_base() -> None:
    x = torch.randn(64, 1, 8, 8)
    y = x - 0.5 * x.roll(1, -1)
    data = FieldDataset(x, y)
    model = IterativeRefiner(identity, **WORDS, in_channels=1, out_channels=1)
    Trainer(model, Recipe(epochs=30, batch_size=8), DenoisingLoss(), show=False).fit(data)
    with torch.no_grad():
        errors = [(h - y).square().mean().item() for h in model.eval().iterates(x)]
    assert errors[-1] < 0.5 * errors[0]


def test_a_config_says_it_all() -> None:
    content = {
        "data": {"name": "turbulence"},
        "model": {"base": {"model_arch": "deeponet"}, **WORDS},
        "loss": {"spatial": 0.0, "denoising": 1.0},
    }
    words = experiment(content)
    model = words.build_refiner(DeepONet(1, 1, sensors=4, width=8), padding=["circular", "replicate"]).train()
    assert model.correction.periodic == (True, False)  # the data's boundaries reach the network inside
    y = torch.randn(2, 1, 8, 8)
    torch.manual_seed(0)
    loss = words.build_loss()(model(y, y=y), y)
    torch.manual_seed(0)
    assert loss.item() == DenoisingLoss()(model(y, y=y), y).item()


@pytest.mark.parametrize("solver", sorted({*OF_CORRECTIONS} - {"denoising", "confidence"}))
def test_the_rule_wants_a_solver_that_adds_noise(solver: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a solver that adds noise, got .*; try solver='den"):
        IterativeRefiner(zero, solver=solver, gradient="from_truth", in_channels=1, out_channels=1)


def test_what_makes_no_sense_teaches() -> None:
    x = torch.zeros(1, 1, 4)
    phi = Denoiser(FunctionCorrection(lambda x, h: h), levels=2)
    cases = {
        r"^expected levels >= 1, got 0; try levels=3": lambda: Denoiser(phi, levels=0),
        r"^expected levels >= 1 and 0 < least < 1, got 3 and 1.0; try": lambda: Denoising(3, 1.0),
        r"^expected levels >= 2 and 0 < least < 1, got 1 and 0.5": lambda: Denoising(1, 0.5, True),
        r"^expected the noise level of a denoiser, got none; try fixed_point=0": lambda: phi.bind(
            x, GridDomain.of(x)
        )(x),
    }
    for message, mistake in cases.items():
        with pytest.raises(ValueError, match=message):
            mistake()
