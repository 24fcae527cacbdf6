"""Build the model of a variant, with its recipe and loss."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import nn

from neuralop_irno.base.adapters import adapters_of, with_adapters
from neuralop_irno.base.fine_tuning import last_spectral_layer, train_only
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.config import Experiment
from neuralop_irno.data.graphs import coordinates_of
from neuralop_irno.devices import device_of
from neuralop_irno.digest import of_json
from neuralop_irno.losses.refinement import RefinementLoss, loss_for
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import MODELS, accepts, call_with_options, plain
from neuralop_irno.study import controls
from neuralop_irno.study.plan import ADAPTERS, CONTROLS, Trial, Variant
from neuralop_irno.training.units import alone, units_of_run

PLAIN = Trial()
"""The training of a variant as it is."""


@dataclass(frozen=True)
class Setting:
    """The inputs from which a contender is built.

    Attributes:
        experiment: the problem's config with the variant's changes.
        variant: the variant.
        base: the trained base; None if the contender is the base itself.
        splits: the data.
        seed: seed of its weights.
        trial: which of the variant's trainings.
    """

    experiment: Experiment
    variant: Variant
    base: nn.Module | None
    splits: Any
    seed: int
    trial: Trial = PLAIN


def digest(setting: Setting) -> str:
    """A digest of everything that a contender's training depends on; equal in all studies that train it."""
    config, variant = setting.experiment.content, setting.variant
    if variant.role == "base":  # a base does not depend on its refiners
        config = {
            "data": config["data"],
            "base": config["model"]["base"],
            "training": config["base_training"],
        }
    # The key "words" is part of the names of training folders.
    owner = {"role": variant.role, "network": variant.network, "words": config, "seed": setting.seed}
    if variant.role == "last_layer":  # it uses the variant's loss only
        owner["loss"] = variant.loss
    if setting.trial != PLAIN:
        owner["trial"] = list(setting.trial)
    return of_json(owner)[:12]


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
    built = BUILDERS[setting.variant.role](setting)
    if built.recipe is None or setting.trial.rate == 1:
        return built
    return built._replace(recipe=replace(built.recipe, learning_rate=setting.trial.rate * built.recipe.peak))


def _base(setting: Setting) -> Contender:
    network = setting.experiment.build_base(setting.splits)
    model = _scaled(setting, network, learns=False)
    return Contender(model, model, setting.experiment.base_training, loss_for(setting.splits["train"]))


def _scaled(setting: Setting, network: nn.Module, learns: bool = True) -> nn.Module:
    """A network that is trained alone, in the units of the data set if it is to be normalised.

    Args:
        setting: its setting.
        network: the network.
        learns: whether it learns in every case; a base may come trained.
    """
    units = units_of_run(setting.experiment, network, setting.splits["train"])
    if units is None or not (learns or units.base):
        return network
    return alone(network, setting.experiment, replace(units, base=True))


def _refined(setting: Setting) -> Contender:
    model, experiment = _refiner(setting), setting.experiment
    return Contender(model, model.correction, experiment.training, experiment.build_loss())


def _control(setting: Setting) -> Contender:
    """A one-shot control; that of equal compute has the refiner's arithmetic in training too."""
    refiner, recipe = _refiner(setting), controls.without_replay(setting.experiment.training)
    match = CONTROLS[setting.variant.role]
    if match == "compute":
        recipe = controls.with_compute_shared(setting.experiment.training, refiner.gradient, refiner.steps)
    torch.manual_seed(setting.seed)  # the refiner's initial weights, if the sizes agree
    model = controls.one_shot_like(refiner, match, setting.splits["train"], setting.trial.deeper)
    return Contender(model, model.correction, recipe, _loss_of_the_last_step(setting.experiment))


def _last_layer(setting: Setting) -> Contender:
    assert setting.base is not None
    model = copy.deepcopy(setting.base)
    part = last_spectral_layer(model)
    recipe = controls.without_replay(setting.experiment.training)
    # Parts of the refiner's loss do not apply to a plain prediction: only the variant's loss is used.
    options = {"spatial": 0.0, "sobolev": 1.0, **setting.variant.loss}
    loss: RefinementLoss = call_with_options(RefinementLoss, options, "the loss")
    return Contender(train_only(model, part), part, recipe, loss)


def _adapted(setting: Setting) -> Contender:
    model = copy.deepcopy(setting.base)
    assert model is not None
    budget = _size(_refiner(setting).correction)
    torch.manual_seed(setting.seed)  # the refiner has drawn random weights
    with_adapters(model, ADAPTERS[setting.variant.role], budget)
    recipe = controls.without_replay(setting.experiment.training)
    loss = _loss_of_the_last_step(setting.experiment, around_a_base=False)
    return Contender(model, adapters_of(model), recipe, loss)


def _alone(setting: Setting) -> Contender:
    experiment = setting.experiment.changed(model={"base": setting.variant.network})
    model = _scaled(setting, experiment.build_base(setting.splits))
    recipe = controls.without_replay(experiment.training)
    return Contender(model, model, recipe, _loss_of_the_last_step(experiment, around_a_base=False))


def _rebuilt(setting: Setting) -> Contender:
    assert setting.base is not None
    config, option = _in_the_place_of_the_base(setting)
    config = controls.widened(
        {**config, option: 1}, option, _size(setting.base), lambda wide: _size(_built(setting, wide))
    )
    torch.manual_seed(setting.seed)  # the search above has drawn random weights
    model = _scaled(setting, _built(setting, config))
    given = {**(setting.experiment.content["base_training"] or {}), **setting.variant.training}
    recipe: Recipe = call_with_options(Recipe, given, "the base's training")
    return Contender(model, model, recipe, loss_for(setting.splits["train"]))


def _in_the_place_of_the_base(setting: Setting) -> tuple[dict[str, Any], str]:
    """The config of a variant's network, completed by matching options of the base, and its width option."""
    network = setting.variant.network
    constructor = MODELS.lookup(str(network["model_arch"]).lower())
    base = plain(setting.experiment.content["model"]["base"])
    own = base if isinstance(base, dict) else {}
    config = {**{name: value for name, value in own.items() if accepts(constructor, name)}, **network}
    return config, next((name for name in controls.WIDTHS if accepts(constructor, name)), controls.WIDTHS[0])


def _built(setting: Setting, config: dict[str, Any]) -> nn.Module:
    return setting.experiment.changed(model={"base": config}).build_base(setting.splits)


def _size(model: nn.Module) -> int:
    """The number of parameters of a network."""
    return sum(weight.numel() for weight in model.parameters())


def _refiner(setting: Setting) -> IterativeRefiner:
    """The refiner around the trained base, on the base's device."""
    assert setting.base is not None
    train, experiment = setting.splits["train"], setting.experiment
    base: Any = setting.base
    units = base.units if isinstance(base, BaseOperator) else None
    if units is not None:
        base = base.module  # its adapter is frozen apart from that of the refiner
    else:
        units = units_of_run(experiment, base, train)
    refiner = experiment.build_refiner(base, getattr(train, "padding", None), units, coordinates_of(train))
    return refiner.to(device_of(setting.base))


def _loss_of_the_last_step(experiment: Experiment, around_a_base: bool = True) -> RefinementLoss:
    """The loss of a network evaluated once: the spectral weights of the refiner's last step.

    Without a base, whose errors the balance of a loss is about, there is none.
    """
    options = experiment.loss.options
    start = {"lambda_start": options["lambda_end"]} if "lambda_end" in options else {}
    even = {} if around_a_base else {"balance": 0.0}
    return experiment.loss.with_options(**start, **even).build()


BUILDERS = {
    "base": _base,
    "refined": _refined,
    **dict.fromkeys(CONTROLS, _control),
    "last_layer": _last_layer,
    **dict.fromkeys(ADAPTERS, _adapted),
    "alone": _alone,
    "rebuilt": _rebuilt,
}
