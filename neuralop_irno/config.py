"""Experiments as YAML files, with the sections data, model, base_training, loss and training.

The key ``recipe`` names a recipe of `neuralop_irno.presets`, for what model, loss and training do not state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from neuralop_irno._neuralop import UQNO
from neuralop_irno.base.units import Units
from neuralop_irno.budget import within_budget
from neuralop_irno.correction.correction import DEFAULT_CORRECTION
from neuralop_irno.data.fields import Splits
from neuralop_irno.data.splits import load_splits
from neuralop_irno.errors import at_key, expected, shown
from neuralop_irno.formats import FORMAT, current_experiment
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.model_config import (
    EXAMPLE,
    OBJECT,
    base_part,
    built_base,
    channels_of,
    comes_trained,
    refiner_part,
)
from neuralop_irno.presets import with_recipe
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import CORRECTIONS, DATASETS, Part, call_with_options, named, plain
from neuralop_irno.sealed import format_of
from neuralop_irno.yaml_files import parsed, read_yaml

SECTIONS = {
    "data": "{name: turbulence}",
    "model": EXAMPLE,
    "base_training": "{epochs: 20}",
    "loss": "{spectral: 1.0}",
    "training": "{epochs: 20}",
}
"""The sections of a config, each with an example for the hint of its error."""

FOLDER = "runs/irno"
"""The folder of a run that names none."""

EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Experiment:
    """A config file, parsed; see `experiment`.

    Attributes:
        content: the config as it was written, as plain data with every section and the options of its recipe.
        data: the data set.
        base: the base: a model, or the function that reads it from neuraloperator's files.
        model: the refiner, without its base.
        loss: the training loss.
        training: the recipe of the refiner.
        base_training: the recipe of the base; None uses the base untrained or from its files.
        folder: the folder of the run.
    """

    content: dict[str, Any]
    data: Part
    base: Part
    model: Part
    loss: Part
    training: Recipe
    base_training: Recipe | None
    folder: str

    @property
    def trains_base(self) -> bool:
        """Whether the base learns in the run from its first weights, and does not come trained."""
        learns = self.base_training is not None or self.model.options.get("freeze_base") is False
        return learns and not comes_trained(self.content["model"].get("base"))

    def changed(self, **sections: Any) -> Experiment:
        """The experiment with other content of some sections."""
        return experiment({**self.content, **sections})

    def splits(self) -> Splits:
        """The data sets."""
        with at_key("data"):
            return load_splits(self.data)

    def build_base(
        self, splits: Splits, trusted: bool = False, given: nn.Module | Callable[..., Any] | None = None
    ) -> Any:
        """Build the base, read it from neuraloperator's files, or take the one of the caller.

        Args:
            splits: the data sets, which give the channels.
            trusted: unpickle all objects in neuraloperator's files. A config cannot set this.
            given: the base, for a config with the base ``{object: its name}``.
        """
        with at_key("model.base"), within_budget():
            base = built_base(
                self.content["model"]["base"], self.base, self._channels(splits), trusted, given
            )
            if isinstance(base, UQNO) and self.base_training is not None:
                got, hint = "a UQNO, whose solution has no gradient", "base_training: null"
                raise ValueError(expected("a base that can be trained alone", got, hint))
        return base

    def _channels(self, splits: Splits) -> tuple[int, int]:
        """The channels of x and of y, each of one frame."""
        sample: Any = splits["train"][0]
        if not isinstance(sample, dict):  # graphs keep channels last
            found, answered = sample["x"].shape[1], sample["y"].shape[1]
        else:
            found, answered = channels_of(sample, self.content["model"])
        stated = self.content["model"].get("data_channels")
        if stated not in (None, found):
            wanted = f"data_channels={found}, as the data have it"
            raise ValueError(expected(wanted, stated, "leaving data_channels out"))
        return found, answered

    def build_refiner(
        self,
        base: nn.Module,
        padding: Sequence[str] | None = None,
        units: Units | None = None,
        dim: int | None = None,
    ) -> IterativeRefiner:
        """Build the refiner.

        Args:
            base: its base.
            padding: the boundary conditions of the data, for the correction.
            units: those of the fields; by default those that the config states.
            dim: coordinates per node of the data, for the correction; None on grids.
        """
        with at_key("model"), within_budget():
            correction = _of_data(self.model.options.get("correction", DEFAULT_CORRECTION), padding, dim)
            model = self.model if units is None else self.model.with_options(units=units)
            refiner: IterativeRefiner = model.with_options(base=base, correction=correction).build()
        return refiner

    def build_loss(self) -> RefinementLoss:
        """Build the training loss."""
        with at_key("loss"):
            loss: RefinementLoss = self.loss.build()
        return loss


def _of_data(correction: Any, padding: Sequence[str] | None, dim: int | None) -> Any:
    """The config of a correction, with what the data state of the options that it has and does not set."""
    stated = {"padding": None if padding is None else list(padding), "dim": dim}
    known = {name: value for name, value in stated.items() if value is not None}
    if not known or isinstance(correction, list):  # a list has a correction for each field
        return correction
    options = named(correction)
    taken = {name: value for name, value in known.items() if CORRECTIONS.takes(options, name)}
    return {**taken, **options} if taken else correction


def experiment(config: Any) -> Experiment:
    """An experiment from a mapping, or from a zencfg config.

    All names and options are checked here, before data are read and anything is built.
    """
    content = plain(config)
    if not isinstance(content, Mapping):
        raise TypeError(expected("a config as a mapping", type(config).__name__, "data: ..., model: ..."))
    _check_sections(content)
    _refuse_trust(content)
    result: Experiment = call_with_options(_parsed, content, "the config")
    return result


def _parsed(
    data: dict[str, Any],
    model: dict[str, Any],
    base_training: dict[str, Any] | None = None,
    loss: Mapping[str, Any] = EMPTY,
    training: Mapping[str, Any] = EMPTY,
    folder: str = FOLDER,
    recipe: str | None = None,
) -> Experiment:
    """An experiment from the sections of a config; their defaults are those of the file."""
    if recipe is not None:
        model, loss, training = with_recipe(
            recipe, {"model": model, "loss": loss, "training": training}
        ).values()
    if not folder.strip():
        with at_key("folder"):
            raise ValueError(expected("the folder of the run", shown(folder), f"folder: {FOLDER}"))
    content = {
        "data": data,
        "model": model,
        "base_training": base_training,
        "loss": dict(loss),
        "training": dict(training),
        "folder": folder,
    }
    with at_key("loss"):
        weights = Part(RefinementLoss, loss, "the loss")
    with at_key("training"):
        refiner_recipe: Recipe = call_with_options(Recipe, training, "the training")
    if loss and refiner_recipe.train_for == "preconditioner":
        with at_key("loss"):
            wanted = "no options beside train_for: preconditioner, which has its own loss"
            raise ValueError(expected(wanted, shown(dict(loss)), "leaving the section out"))
    own_recipe: Recipe | None = None
    if base_training is not None:
        with at_key("base_training"):
            own_recipe = call_with_options(Recipe, base_training, "the base's training")
    with at_key("data"):
        source = DATASETS.part(data)
        source.refuse_missing()
    with at_key("model"):
        base, refiner = base_part(model.get("base")), refiner_part(model)
    return Experiment(content, source, base, refiner, weights, refiner_recipe, own_recipe, folder)


def read_experiment(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    unstated: int = FORMAT,
    given: str | None = None,
) -> Experiment:
    """An experiment from a YAML file.

    Args:
        path: the file.
        overrides: ``section.option=value`` that replace those of the file, with values in YAML; see
            `overridden`.
        unstated: the format of a file without a first line that states it: today's for files of the user, 1
            for those in the folder of a run.
        given: the name of a base that Python builds, for a file without one.
    """
    content = read_yaml(path)
    version = format_of(Path(path).read_bytes(), Path(path).name)
    content = overridden(current_experiment(content, version or unstated), overrides)
    model = content.get("model")
    if given is not None and isinstance(model, dict):
        base = model.setdefault("base", {OBJECT: given})
        if base != {OBJECT: given}:
            with at_key("model.base"):
                raise ValueError(expected(f"no other base beside {given!r}", shown(base), "leaving it out"))
    return experiment(content)


def overridden(content: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A config with some of its options replaced.

    Args:
        content: the config; not modified.
        overrides: each ``section.option=value``, to any depth, with the value in YAML.

    Raises:
        ValueError: an override has another form, or a key before the last one is a value without options.

    Example:
        >>> config = {"model": {"correction": "unet", "steps": 4}}
        >>> overridden(config, ["model.steps=[2, 8]", "model.correction.width=8", "training.epochs=4"])
        {'model': {'correction': {'name': 'unet', 'width': 8}, 'steps': [2, 8]}, 'training': {'epochs': 4}}
    """
    result: dict[str, Any] = plain(content)
    for override in overrides:
        path, equals, text = override.partition("=")
        *above, last = path.split(".")
        if not equals or not all((*above, last)):
            raise ValueError(expected("section.option=value", shown(override), "training.epochs=40"))
        try:
            value = parsed(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            hint = "quotes around it, as in 'model.steps=[2, 8]'"
            raise ValueError(expected(f"a value in YAML for {path}", shown(text), hint)) from error
        place = result
        for key in above:
            inner = place.setdefault(key, {})
            if isinstance(inner, str):  # a name alone is a config without options
                inner = place[key] = {"model_arch" if key == "base" else "name": inner}
            if not isinstance(inner, dict):
                raise ValueError(expected(f"options below {key} for {path}", shown(inner), f"{key}=..."))
            place = inner
        place[last] = value
    return result


def _check_sections(content: Mapping[str, Any]) -> None:
    for name, example in SECTIONS.items():
        value = content.get(name, {})
        left_out = value is None and name == "base_training"
        if not (isinstance(value, Mapping) or left_out):
            with at_key(name):
                raise TypeError(expected(f"{name} as a mapping", shown(value), f"{name}: {example}"))


def _refuse_trust(content: Any) -> None:
    """Raise ValueError if a config contains ``trusted``: only the caller may allow unpickling."""
    if isinstance(content, Mapping):
        if "trusted" in content:
            raise ValueError(
                expected(
                    "trust from the command line, or from the caller",
                    "the key 'trusted' in a config",
                    "irno train --trust-base, if you know where the files of the base come from",
                )
            )
        for key, value in content.items():
            with at_key(str(key)):
                _refuse_trust(value)
    elif isinstance(content, list):
        for value in content:
            _refuse_trust(value)
