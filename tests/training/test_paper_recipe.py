"""`recipe: paper`: its options, what has precedence over them, and that a training with it is the paper's."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import RECIPES, IterativeRefiner, Recipe, RefinementLoss, Trainer
from neuralop_irno.config import experiment
from neuralop_irno.correction.public_unet import PublicUNet
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.presets import merged
from neuralop_irno.study.plan import study_from

BASE = {"model_arch": "fno", "n_modes": [4, 4], "hidden_channels": 4, "n_layers": 1}
DATA = {"name": "turbulence"}
PAPER = RECIPES["paper"]


def parsed(**sections: Any) -> Any:
    model = {"base": BASE, **sections.pop("model", {})}
    return experiment({"recipe": "paper", "data": DATA, "model": model, **sections})


def test_a_config_with_the_recipe_is_the_config_with_its_options() -> None:
    named = parsed()
    model = {"base": BASE, **PAPER["model"]}
    spelt = experiment({"data": DATA, "model": model, "loss": PAPER["loss"], "training": PAPER["training"]})
    assert named.content == spelt.content
    assert named.training == spelt.training == Recipe(**PAPER["training"])
    assert "recipe" not in named.content  # a run's config does not change with the recipe


def test_its_options_are_those_of_the_public_configuration() -> None:
    training, loss = parsed().training, parsed().build_loss()
    assert (training.optimizer, training.peak, training.last_rate) == ("adam", 3e-4, 1e-6)
    assert (training.weight_decay, training.clip, training.batch_size) == (1e-5, 1.0, 16)
    assert (training.epochs, training.replay, training.ema, training.warmup) == (150, 0, 0, 0)
    weights = {name: weight for name, weight in loss.weights.items() if weight}
    assert weights == {"spatial": 1.0, "spectral": 1.0, "fixed_point": 0.01}
    assert loss.fixed_point_epochs == 5
    options = parsed().model.options
    assert (options["steps"], options["alpha"], options["gradient"]) == (6, 0.2, "unrolled")
    assert options["correction"] == {"name": "public_unet", "width": 16, "depth": 4}


def test_options_of_the_config_have_precedence() -> None:
    own = parsed(
        model={"correction": {"width": 8}, "steps": 4},
        training={"epochs": 3, "optimizer": "muon", "learning_rate": 0.02},
        loss={"spectral": 0.5},
    )
    assert own.content["model"]["correction"] == {"name": "public_unet", "width": 8, "depth": 4}
    assert (own.model.options["steps"], own.model.options["alpha"]) == (4, 0.2)
    assert (own.training.epochs, own.training.optimizer, own.training.clip) == (3, "muon", 1.0)
    assert own.build_loss().weights["spectral"] == 0.5
    assert parsed(model={"correction": "unet"}).content["model"]["correction"] == "unet"
    other = {"name": "unet", "width": 8}
    assert parsed(model={"correction": other}).content["model"]["correction"] == other


MISSPELT: list[tuple[dict[str, Any], str]] = [
    ({"recipe": "papers"}, "a recipe, got 'papers'; try 'paper' (the choices are paper)"),
    ({"recpie": "paper"}, "an option of the config, got 'recpie'; try 'recipe'"),
    ({"recipe": ["paper"]}, "recipe of the config as str | None, got"),
    ({"recipe": "paper", "training": {"epoch": 3}}, "an option of the training, got 'epoch'; try 'epochs'"),
    ({"recipe": "paper", "loss": {"fixed_point": -1}}, "a weight fixed_point >= 0, got -1"),
    ({"recipe": "paper", "loss": {"fixed_points": 1}}, "an option of the loss, got 'fixed_points'; try"),
    ({"recipe": "paper", "model": {"base": BASE, "stps": 3}}, "an option of the model, got 'stps'; try"),
]


@pytest.mark.parametrize(("content", "message"), MISSPELT)
def test_misspelt_names_are_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape('expected ' + message)}"):
        experiment({"data": DATA, "model": {"base": BASE}, **content}).build_loss()


def test_the_last_rate_is_reached_and_is_at_most_the_first() -> None:
    recipe = Recipe(learning_rate=3e-4, last_rate=1e-4, warmup=0.0)
    rates = [recipe.rate(update, 1000) for update in range(1000)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], round(rates[-1], 8)) == (3e-4, 1e-4)
    with pytest.raises(ValueError, match=r"^expected last_rate <= 0.0003, the learning rate, got 0.001; try"):
        Recipe(learning_rate=3e-4, last_rate=1e-3)


def test_in_a_study_the_recipe_is_beneath_a_problem_and_above_it_in_a_variant() -> None:
    problem = {"data": DATA, "bases": {"fno": BASE}, "model": {"steps": 4}, "training": {"optimizer": "muon"}}
    about = {"name": "a", "kind": "main", "about": "a", "seeds": [0], "variants": {"refined": {}}}
    beneath = study_from({**about, "problems": {"p": {**problem, "recipe": "paper"}}})
    found = beneath.problems["p"].experiment("fno", beneath.variants["refined"], 3)
    assert (found.training.optimizer, found.training.clip, found.training.seed) == ("muon", 1.0, 3)
    assert (found.model.options["steps"], found.model.options["alpha"]) == (4, 0.2)
    variants = {"refined": {}, "paper": {"recipe": "paper", "model": {"steps": 2}}}
    above = study_from({**about, "problems": {"p": problem}, "variants": variants})
    plain, paper = (above.problems["p"].experiment("fno", above.variants[name], 3) for name in variants)
    assert (plain.training.optimizer, plain.model.options["steps"]) == ("muon", 4)
    assert (paper.training.optimizer, paper.model.options["steps"]) == ("adam", 2)
    assert paper.model.options["correction"]["name"] == "public_unet"
    wrong: list[dict[str, Any]] = [
        {"problems": {"p": {**problem, "recipe": "pepper"}}, "variants": {"refined": {}}},
        {"problems": {"p": problem}, "variants": {"refined": {"recipe": "pepper"}}},
    ]
    for part in wrong:
        with pytest.raises(ValueError, match=r"^expected a recipe, got 'pepper'; try 'paper'"):
            study_from({**about, **part})


def spectral(h: Tensor, y: Tensor, sharpness: float) -> Tensor:
    """The mean over all frequencies of rho (|h^| - |y^|)^2 / (H W), rho over its mean."""
    height, width = h.shape[2:]
    along = [torch.fft.fftfreq(n, dtype=h.dtype) / 0.5 for n in (height, width)]
    rho = 1 + (along[0][:, None] ** 2 + along[1] ** 2).sqrt() ** sharpness
    difference = (torch.fft.fft2(h).abs() - torch.fft.fft2(y).abs()).square()
    return (rho / rho.mean() * difference).mean() / (height * width)


def by_hand(phi: nn.Module, x: Tensor, y: Tensor, start: Tensor, rates: list[float], steps: int) -> None:
    """The training loop in the paper's words, on one batch an epoch."""
    optimizer = torch.optim.Adam(phi.parameters(), weight_decay=1e-5)
    for epoch, rate in enumerate(rates, start=1):
        h, loss = start, torch.zeros((), dtype=x.dtype)
        for k in range(steps):
            h = h + 0.2 * phi(x, h)
            loss = loss + (h - y).square().mean() / steps
            loss = loss + spectral(h, y, 1 + k / (steps - 1)) / steps
        loss = loss + 0.01 * min(1, epoch / 5) * phi(x, y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(phi.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()


def test_a_training_with_it_is_the_loop_of_the_paper() -> None:
    """With as many samples as a batch has, in float64."""
    torch.manual_seed(0)
    x, y = torch.randn(4, 2, 12, 8).double(), 3 * torch.randn(4, 1, 12, 8).double()
    base = nn.Conv2d(2, 1, 1).double()
    phi = PublicUNet(2, 1, width=4, depth=2).double()
    nn.init.normal_(phi.last.get_parameter("weight"))
    other = copy.deepcopy(phi)
    options = {**merged(PAPER["model"], {"correction": phi, "steps": 3})}
    model = IterativeRefiner(base, in_channels=2, out_channels=1, **options)
    recipe = Recipe(**{**PAPER["training"], "epochs": 7, "batch_size": 4, "learning_rate": 1e-2})
    Trainer(model, recipe, RefinementLoss(**PAPER["loss"]), show=False).fit(FieldDataset(x, y))
    before = copy.deepcopy(other)
    by_hand(other.train(), x, y, base(x).detach(), [recipe.rate(update, 7) for update in range(7)], 3)
    trained = model.correction.state_dict()
    for name, weight in other.named_parameters():
        torch.testing.assert_close(trained[name], weight, rtol=1e-5, atol=1e-7, msg=name)
    moved = (other.last.get_parameter("weight") - before.last.get_parameter("weight")).abs()
    assert moved.max() > 1e-2
