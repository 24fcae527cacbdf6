"""From a variant's words to a model, and how it is trained."""

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
from neuralop_irno.losses.refinement import RefinementLoss, loss_for
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import MODELS, accepts, call_with_options, plain
from neuralop_irno.study import controls
from neuralop_irno.study.cost import device_of
from neuralop_irno.study.one_shot import WIDTHS, one_shot_like
from neuralop_irno.study.plan import Variant


@dataclass(frozen=True)
class Setting:
    """What a contender is built from.

    Attributes:
        experiment: the problem's words with the variant's changes.
        variant: which role it plays.
        base: trained; None while the base itself is the contender.
        splits: the data.
        seed: of its weights.
    """

    experiment: Experiment
    variant: Variant
    base: nn.Module | None
    splits: Any
    seed: int


def digest(setting: Setting) -> str:
    """What a contender is trained from, in twelve letters: the same ones in every study that trains it."""
    words = asdict(setting.experiment)
    if setting.variant.role == "base":  # what will stand on a base is nothing to it
        words = {"data": words["data"], "base": words["model"]["base"], "training": words["base_training"]}
    variant = setting.variant
    told = {"role": variant.role, "network": variant.network, "words": words, "seed": setting.seed}
    if variant.role == "last_layer":  # its loss is the variant's alone
        told["loss"] = variant.loss
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


class Contender(NamedTuple):
    """A model about to be trained.

    Attributes:
        model: what is trained and scored.
        counted: the part of it whose parameters count: all but the base.
        recipe: how it is trained; None where it already is.
        loss: on what.
    """

    model: nn.Module
    counted: nn.Module
    recipe: Recipe | None
    loss: RefinementLoss


def contender(setting: Setting) -> Contender:
    """Build what a role says, from weights that the seed draws."""
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
    torch.manual_seed(setting.seed)  # the weights that the refiner starts from, where they are as many
    model = one_shot_like(refiner, match, setting.splits["train"])
    return Contender(model, model.correction, recipe, _loss_of_the_last_step(setting.experiment))


def _last_layer(setting: Setting) -> Contender:
    assert setting.base is not None
    model = copy.deepcopy(setting.base)
    part = last_spectral_layer(model)
    recipe = controls.asked_once(setting.experiment.build_recipe())
    # The refiner's loss has parts that a plain prediction does not have: only the variant's words count.
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
    torch.manual_seed(setting.seed)  # the search has drawn weights
    model = _built(setting, words)
    given = {**(setting.experiment.base_training or {}), **setting.variant.training}
    recipe: Recipe = call_with_options(Recipe, given, "the base's training")
    return Contender(model, model, recipe, loss_for(setting.splits["train"]))


def _in_the_place_of_the_base(setting: Setting) -> tuple[dict[str, Any], str]:
    """The words of a variant's network, with those of the base that such a network takes; and its width's."""
    network = setting.variant.network
    constructor = MODELS.lookup(str(network["model_arch"]).lower())
    base = plain(setting.experiment.model["base"])
    own = base if isinstance(base, dict) else {}
    words = {**{name: word for name, word in own.items() if accepts(constructor, name)}, **network}
    return words, next((name for name in WIDTHS if accepts(constructor, name)), WIDTHS[0])


def _built(setting: Setting, words: dict[str, Any]) -> nn.Module:
    return replace(setting.experiment, model={"base": words}).build_base(setting.splits)


def _size(model: nn.Module) -> int:
    """How many parameters a network has."""
    return sum(weight.numel() for weight in model.parameters())


def _refiner(setting: Setting) -> IterativeRefiner:
    """The refiner of the words around the trained base, where that is."""
    assert setting.base is not None
    padding = getattr(setting.splits["train"], "padding", None)
    return setting.experiment.build_refiner(setting.base, padding).to(device_of(setting.base))


def _loss_of_the_last_step(words: Experiment) -> RefinementLoss:
    """A network that is asked once is at its last step, whose spectral weights are the sharpest."""
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
