"""Build the model of a variant, with its recipe and loss."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import nn

from neuralop_irno.base.fine_tuning import last_spectral_layer, train_only
from neuralop_irno.config import Experiment
from neuralop_irno.devices import device_of
from neuralop_irno.losses.refinement import RefinementLoss, loss_for
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import MODELS, accepts, call_with_options, plain
from neuralop_irno.study import controls
from neuralop_irno.study.one_shot import WIDTHS, one_shot_like
from neuralop_irno.study.plan import Variant


@dataclass(frozen=True)
class Setting:
    """The inputs from which a contender is built.

    Attributes:
        experiment: the problem's config with the variant's changes.
        variant: the variant.
        base: the trained base; None if the contender is the base itself.
        splits: the data.
        seed: seed of its weights.
    """

    experiment: Experiment
    variant: Variant
    base: nn.Module | None
    splits: Any
    seed: int


def digest(setting: Setting) -> str:
    """A digest of everything that a contender's training depends on; equal in all studies that train it."""
    words = asdict(setting.experiment)
    if setting.variant.role == "base":  # a base does not depend on its refiners
        words = {"data": words["data"], "base": words["model"]["base"], "training": words["base_training"]}
    variant = setting.variant
    told = {"role": variant.role, "network": variant.network, "words": words, "seed": setting.seed}
    if variant.role == "last_layer":  # it uses the variant's loss only
        told["loss"] = variant.loss
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


class Contender(NamedTuple):
    """A model to train and evaluate.

    Attributes:
        model: the model.
        counted: the part of it whose parameters are counted: all but the base.
        recipe: its recipe; None if it is already trained.
        loss: its loss.
    """

    model: nn.Module
    counted: nn.Module
    recipe: Recipe | None
    loss: RefinementLoss


def contender(setting: Setting) -> Contender:
    """Build the contender of the variant's role, with weights drawn from the seed."""
    torch.manual_seed(setting.seed)
    return BUILDERS[setting.variant.role](setting)


def _base(setting: Setting) -> Contender:
    model = setting.experiment.build_base(setting.splits)
    return Contender(model, model, setting.experiment.build_base_recipe(), loss_for(setting.splits["train"]))


def _refined(setting: Setting) -> Contender:
    model, words = _refiner(setting), setting.experiment
    return Contender(model, model.correction, words.build_recipe(), words.build_loss())


def _same_parameters(setting: Setting) -> Contender:
    recipe = controls.asked_once(setting.experiment.build_recipe())
    return _control(setting, _refiner(setting), "parameters", recipe)


def _same_compute(setting: Setting) -> Contender:
    refiner = _refiner(setting)
    recipe = controls.with_compute_shared(setting.experiment.build_recipe(), refiner.gradient, refiner.steps)
    return _control(setting, refiner, "compute", recipe)


def _control(setting: Setting, refiner: IterativeRefiner, match: str, recipe: Recipe) -> Contender:
    torch.manual_seed(setting.seed)  # the refiner's initial weights, if the sizes agree
    model = one_shot_like(refiner, match, setting.splits["train"])
    return Contender(model, model.correction, recipe, _loss_of_the_last_step(setting.experiment))


def _last_layer(setting: Setting) -> Contender:
    assert setting.base is not None
    model = copy.deepcopy(setting.base)
    part = last_spectral_layer(model)
    recipe = controls.asked_once(setting.experiment.build_recipe())
    # Parts of the refiner's loss do not apply to a plain prediction: only the variant's loss is used.
    words = {"spatial": 0.0, "sobolev": 1.0, **setting.variant.loss}
    loss: RefinementLoss = call_with_options(RefinementLoss, words, "the loss")
    return Contender(train_only(model, part), part, recipe, loss)


def _alone(setting: Setting) -> Contender:
    words = replace(setting.experiment, model={"base": setting.variant.network})
    model = words.build_base(setting.splits)
    recipe = controls.asked_once(words.build_recipe())
    return Contender(model, model, recipe, _loss_of_the_last_step(words))


def _rebuilt(setting: Setting) -> Contender:
    assert setting.base is not None
    words, option = _in_the_place_of_the_base(setting)
    words = controls.widened(
        {**words, option: 1}, option, _size(setting.base), lambda wide: _size(_built(setting, wide))
    )
    torch.manual_seed(setting.seed)  # the search above has drawn random weights
    model = _built(setting, words)
    given = {**(setting.experiment.base_training or {}), **setting.variant.training}
    recipe: Recipe = call_with_options(Recipe, given, "the base's training")
    return Contender(model, model, recipe, loss_for(setting.splits["train"]))


def _in_the_place_of_the_base(setting: Setting) -> tuple[dict[str, Any], str]:
    """The config of a variant's network, completed by matching options of the base, and its width option."""
    network = setting.variant.network
    constructor = MODELS.lookup(str(network["model_arch"]).lower())
    base = plain(setting.experiment.model["base"])
    own = base if isinstance(base, dict) else {}
    words = {**{name: word for name, word in own.items() if accepts(constructor, name)}, **network}
    return words, next((name for name in WIDTHS if accepts(constructor, name)), WIDTHS[0])


def _built(setting: Setting, words: dict[str, Any]) -> nn.Module:
    return replace(setting.experiment, model={"base": words}).build_base(setting.splits)


def _size(model: nn.Module) -> int:
    """The number of parameters of a network."""
    return sum(weight.numel() for weight in model.parameters())


def _refiner(setting: Setting) -> IterativeRefiner:
    """The refiner around the trained base, on the base's device."""
    assert setting.base is not None
    padding = getattr(setting.splits["train"], "padding", None)
    return setting.experiment.build_refiner(setting.base, padding).to(device_of(setting.base))


def _loss_of_the_last_step(words: Experiment) -> RefinementLoss:
    """The loss of a network evaluated once: the spectral weights of the refiner's last step."""
    loss = words.loss
    if "lambda_end" in loss:
        loss = {**loss, "lambda_start": loss["lambda_end"]}
    return replace(words, loss=loss).build_loss()


BUILDERS = {
    "base": _base,
    "refined": _refined,
    "same_parameters": _same_parameters,
    "same_compute": _same_compute,
    "last_layer": _last_layer,
    "alone": _alone,
    "rebuilt": _rebuilt,
}
