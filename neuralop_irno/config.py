"""Experiments as YAML files, with the sections data, model, base_training, loss and training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from neuralop_irno._neuralop import UQNO, build_model, model_part
from neuralop_irno.annotations import fits
from neuralop_irno.base.files import load_base
from neuralop_irno.budget import within_budget
from neuralop_irno.correction.correction import FunctionCorrection
from neuralop_irno.correction.from_neuralop import neural_correction
from neuralop_irno.data.fields import Splits
from neuralop_irno.data.splits import load_splits
from neuralop_irno.errors import at_key, expected, shown
from neuralop_irno.formats import FORMAT, current_experiment
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import CORRECTIONS, DATASETS, Part, call_with_options, named, plain
from neuralop_irno.sealed import format_of
from neuralop_irno.yaml_files import parsed, read_yaml

SECTIONS = {
    "data": "{name: turbulence}",
    "model": "{base: {model_arch: fno, n_modes: [16, 16]}, steps: 6}",
    "base_training": "{epochs: 20}",
    "loss": "{spectral: 1.0}",
    "training": "{epochs: 20}",
}
"""The sections of a config, each with an example for the hint of its error."""

FOLDER = "runs/irno"
"""The folder of a run that names none."""

EMPTY: Mapping[str, Any] = {}
GIVEN_ELSEWHERE = ("model_arch", "base", "data_channels")
"""Options of ``neuralop.get_model`` that are no options of `IterativeRefiner` here."""
FROM_DATA = ("in_channels", "out_channels", "dim")
"""Options that the data give."""


@dataclass(frozen=True)
class Experiment:
    """A config file, parsed; see `experiment`.

    Attributes:
        content: the config as it was written, as plain data with every section.
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

    def changed(self, **sections: Any) -> Experiment:
        """The experiment with other content of some sections."""
        return experiment({**self.content, **sections})

    def splits(self) -> Splits:
        """The data sets."""
        with at_key("data"):
            return load_splits(self.data)

    def build_base(self, splits: Splits, trusted: bool = False) -> nn.Module:
        """Build the base, or read it from neuraloperator's files.

        Args:
            splits: the data sets, which give the channels.
            trusted: unpickle all objects in neuraloperator's files. A config cannot set this.
        """
        with at_key("model.base"), within_budget():
            if self.base.constructor is load_base:
                model: nn.Module = self.base.build(trusted=trusted)
                _refuse_band(isinstance(model, UQNO))
                return model
            built: nn.Module = build_model(self.content["model"]["base"], *self._channels(splits))
        return built

    def _channels(self, splits: Splits) -> tuple[int, int]:
        """The channels of x and of y."""
        sample: Any = splits["train"][0]
        axis = 0 if isinstance(sample, dict) else 1  # graphs keep channels last
        found, stated = sample["x"].shape[axis], self.content["model"].get("data_channels")
        if stated not in (None, found):
            wanted = f"data_channels={found}, as the data have it"
            raise ValueError(expected(wanted, stated, "leaving data_channels out"))
        return found, sample["y"].shape[axis]

    def build_refiner(self, base: nn.Module, padding: Sequence[str] | None = None) -> IterativeRefiner:
        """Build the refiner; ``padding`` (the boundary conditions of the data) goes to the correction."""
        with at_key("model"), within_budget():
            correction = _padded(self.model.options.get("correction", "unet"), padding)
            refiner: IterativeRefiner = self.model.with_options(base=base, correction=correction).build()
        return refiner

    def build_loss(self) -> RefinementLoss:
        """Build the training loss."""
        with at_key("loss"):
            loss: RefinementLoss = self.loss.build()
        return loss


def _padded(correction: Any, padding: Sequence[str] | None) -> Any:
    """The config of a correction, with the padding of the data if it has that option and does not set it."""
    options = named(correction)
    if padding is None or not CORRECTIONS.takes(options, "padding"):
        return correction
    return {"padding": list(padding), **options}


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
) -> Experiment:
    """An experiment from the sections of a config; their defaults are those of the file."""
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
        recipe: Recipe = call_with_options(Recipe, training, "the training")
    own_recipe: Recipe | None = None
    if base_training is not None:
        with at_key("base_training"):
            own_recipe = call_with_options(Recipe, base_training, "the base's training")
    with at_key("data"):
        source = DATASETS.part(data)
        source.refuse_missing()
    with at_key("model"):
        base, refiner = _base_part(model.get("base")), _refiner_part(model)
    return Experiment(content, source, base, refiner, weights, recipe, own_recipe, folder)


def _base_part(config: Any) -> Part:
    """The base of a config: a model, or `load_base` for files of neuraloperator."""
    config = {"model_arch": config} if isinstance(config, str) else config
    if not isinstance(config, dict):
        raise TypeError(expected("a base in the model", shown(config), f"model: {SECTIONS['model']}"))
    with at_key("base"):
        if "checkpoint" in config:
            rest = {name: value for name, value in config.items() if name != "checkpoint"}
            files = Part(load_base, {"folder": config["checkpoint"], **rest}, "the base's files")
            files.refuse_missing()
            return files
        _refuse_band(str(config.get("model_arch")).lower() == "uqno")
        _check_data_channels(config)
        part = model_part(config)
        part.refuse_missing(FROM_DATA)
        net = config.get("net")  # of an adapter for points or graphs
        if isinstance(net, (str, dict)):
            with at_key("net"):
                model_part({"model_arch": net} if isinstance(net, str) else net).refuse_missing(FROM_DATA)
        if part.constructor is IterativeRefiner:  # a refiner as the base of another
            _base_part(config.get("base"))
            _refiner_part(config)
        return part


def _refiner_part(config: Mapping[str, Any]) -> Part:
    """The refiner of a config; all of it that does not depend on the data is built once, as a check."""
    arch = config.get("model_arch", "irno")
    if str(arch).lower() != "irno":
        raise ValueError(expected("model_arch irno", shown(arch), f"model: {{base: {{model_arch: {arch}}}}}"))
    options = {key: value for key, value in config.items() if key not in GIVEN_ELSEWHERE}
    part = Part(IterativeRefiner, options, "the model")
    _check_data_channels(config)
    _check_correction(options.get("correction", "unet"))
    rest = {key: value for key, value in options.items() if key not in ("correction", *FROM_DATA)}
    with within_budget(), torch.random.fork_rng(devices=[]):
        IterativeRefiner(_same, FunctionCorrection(_difference), **rest)
    return part


def _check_correction(config: Any) -> None:
    """Check the names and options of a correction, and of those inside it."""
    with at_key("correction"):
        if not isinstance(config, (str, dict)):
            raise TypeError(
                expected("a correction as a name or a mapping", shown(config), "correction: unet")
            )
        part = CORRECTIONS.part(config)
        part.refuse_missing(FROM_DATA)
        if isinstance(part.constructor, partial) and part.constructor.func is neural_correction:
            rest = {key: value for key, value in part.options.items() if key not in FROM_DATA}
            model_part({"model_arch": part.constructor.args[0], **rest}).refuse_missing(FROM_DATA)
        if isinstance(part.options.get("correction"), (str, dict)):
            _check_correction(part.options["correction"])


def _check_data_channels(config: Mapping[str, Any]) -> None:
    stated = config.get("data_channels")
    if not fits(stated, int | None):
        with at_key("data_channels"):
            raise TypeError(expected("data_channels as a whole number", shown(stated), "leaving it out"))


def _same(x: Tensor) -> Tensor:
    return x


def _difference(x: Tensor, h: Tensor) -> Tensor:
    return x - h


def _refuse_band(is_uqno: bool) -> None:
    """Raise ValueError for UQNO."""
    if is_uqno:
        hint = "its base_model as the base, or IterativeRefiner(UQNO(...)) in Python"
        raise ValueError(expected("a base that answers with one field", "a UQNO, which adds a band", hint))


def read_experiment(
    path: str | os.PathLike[str], overrides: Sequence[str] = (), unstated: int = FORMAT
) -> Experiment:
    """An experiment from a YAML file.

    Args:
        path: the file.
        overrides: ``section.option=value`` that replace those of the file, with values in YAML; see
            `overridden`.
        unstated: the format of a file without a first line that states it: today's for files of the user, 1
            for those in the folder of a run.
    """
    content = read_yaml(path)
    version = format_of(Path(path).read_bytes(), Path(path).name)
    return experiment(overridden(current_experiment(content, version or unstated), overrides))


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
