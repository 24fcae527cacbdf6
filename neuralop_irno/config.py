"""Experiments as YAML files, with the sections data, model, base_training, loss and training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml
from torch import nn

from neuralop_irno._neuralop import UQNO, build_model
from neuralop_irno.base.files import load_base
from neuralop_irno.budget import within_budget
from neuralop_irno.data.fields import Splits
from neuralop_irno.data.splits import load_splits
from neuralop_irno.errors import at_key, expected, shown
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import CORRECTIONS, call_with_options, plain
from neuralop_irno.yaml_files import parsed, read_yaml

SECTIONS = {
    "data": "{name: turbulence}",
    "model": "{base: {model_arch: fno, n_modes: [16, 16]}, steps: 6}",
    "base_training": "{epochs: 20}",
    "loss": "{spectral: 1.0}",
    "training": "{epochs: 20}",
}
"""The sections of a config, each with an example for the hint of its error."""


@dataclass(frozen=True)
class Experiment:
    """The content of a config file.

    Attributes:
        data: the name of a data set and its options.
        model: the options of `IterativeRefiner` and of ``neuralop.get_model``; the base may also be
            ``{"checkpoint": folder, "name": name}``, for files written by neuraloperator.
        base_training: a recipe to train the base first; None uses the base untrained or from its files.
        loss: the options of `RefinementLoss`.
        training: the options of `Recipe`.
        folder: the folder of the run.
    """

    data: dict[str, Any]
    model: dict[str, Any]
    base_training: dict[str, Any] | None = None
    loss: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    folder: str = "runs/irno"

    def __post_init__(self) -> None:
        _check_sections(vars(self))
        _refuse_trust(vars(self))

    def splits(self) -> Splits:
        """The data sets."""
        with at_key("data"):
            return load_splits(self.data)

    def build_base(self, splits: Splits, trusted: bool = False) -> nn.Module:
        """Build the base from its config, or read it from neuraloperator's files.

        Args:
            splits: the data sets, which give the channels.
            trusted: unpickle all objects in neuraloperator's files. A config cannot set this.
        """
        with at_key("model.base"), within_budget():
            return self._base(splits, trusted)

    def _base(self, splits: Splits, trusted: bool) -> nn.Module:
        options = plain(self.model.get("base"))
        if isinstance(options, str):
            options = {"model_arch": options}
        if not isinstance(options, dict):
            raise TypeError(expected("a base in the model", shown(options), f"model: {SECTIONS['model']}"))
        model: nn.Module
        if "checkpoint" in options:
            options["folder"] = options.pop("checkpoint")
            model = call_with_options(partial(load_base, trusted=trusted), options, "the base's files")
        else:
            sample: Any = splits["train"][0]
            axis = 0 if isinstance(sample, dict) else 1  # graphs keep channels last
            model = build_model(options, sample["x"].shape[axis], sample["y"].shape[axis])
        if isinstance(model, UQNO):
            hint = "its base_model as the base, or IterativeRefiner(UQNO(...)) in Python"
            raise ValueError(
                expected("a base that answers with one field", "a UQNO, which adds a band", hint)
            )
        return model

    def build_refiner(self, base: nn.Module, padding: Sequence[str] | None = None) -> IterativeRefiner:
        """Build the refiner; ``padding`` (the boundary conditions of the data) goes to the correction."""
        words = plain(self.model)
        words["correction"] = _padded(words.get("correction", "unet"), padding)
        for given_elsewhere in ("model_arch", "base", "data_channels"):
            words.pop(given_elsewhere, None)
        with at_key("model"), within_budget():
            refiner: IterativeRefiner = call_with_options(
                IterativeRefiner, {"base": base, **words}, "the model"
            )
        return refiner

    def build_loss(self) -> RefinementLoss:
        """Build the training loss."""
        with at_key("loss"):
            loss: RefinementLoss = call_with_options(RefinementLoss, self.loss, "the loss")
        return loss

    def build_recipe(self) -> Recipe:
        """Build the recipe of the refiner."""
        with at_key("training"):
            recipe: Recipe = call_with_options(Recipe, self.training, "the training")
        return recipe

    def build_base_recipe(self) -> Recipe | None:
        """Build the recipe of the base; None if it is not trained."""
        if self.base_training is None:
            return None
        with at_key("base_training"):
            recipe: Recipe = call_with_options(Recipe, self.base_training, "the base's training")
        return recipe


def _padded(correction: Any, padding: Sequence[str] | None) -> Any:
    """The config of a correction, with the padding of the data if it has that option and does not set it."""
    words = {"name": correction} if isinstance(correction, str) else correction
    if padding is None or not isinstance(words, dict) or not CORRECTIONS.takes(words, "padding"):
        return correction
    return {"padding": list(padding), **words}


def experiment(config: Any) -> Experiment:
    """An experiment from a mapping, or from a zencfg config.

    The sections are checked here, and their content when they are built: first loss and training, which are
    cheap, then data, base and model.
    """
    content = plain(config)
    if not isinstance(content, Mapping):
        raise TypeError(expected("a config as a mapping", type(config).__name__, "data: ..., model: ..."))
    _check_sections(content)
    result: Experiment = call_with_options(Experiment, content, "the config")
    return result


def read_experiment(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Experiment:
    """An experiment from a YAML file.

    Args:
        path: the file.
        overrides: ``section.option=value`` that replace those of the file, with values in YAML; see
            `overridden`.
    """
    return experiment(overridden(read_yaml(path), overrides))


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
