"""One YAML file is one experiment: data, base, model, loss and training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from neuralop_irno.base.files import load_base
from neuralop_irno.data.dataset import Splits, load_splits
from neuralop_irno.errors import expected
from neuralop_irno.host import UQNO, build_model
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import CORRECTIONS, call_with_options, plain

SECTIONS = {
    "data": "{name: turbulence}",
    "model": "{base: {model_arch: fno, n_modes: [16, 16]}, steps: 6}",
    "base_training": "{epochs: 20}",
    "loss": "{spectral: 1.0}",
    "training": "{epochs: 20}",
}
"""The parts of a config that are mappings, each with an example."""


@dataclass(frozen=True)
class Experiment:
    """What a config file says.

    Attributes:
        data: the name of a data set and its options.
        model: the refiner, in the words of `IterativeRefiner` and of ``neuralop.get_model``; its base
            may also be ``{"checkpoint": folder, "name": name}``, files that neuraloperator wrote.
        base_training: a recipe for the base, where it has to be trained first.
        loss: the options of `RefinementLoss`.
        training: the options of `Recipe`.
        folder: where the run goes.
    """

    data: dict[str, Any]
    model: dict[str, Any]
    base_training: dict[str, Any] | None = None
    loss: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    folder: str = "runs/irno"

    def __post_init__(self) -> None:
        for name, example in SECTIONS.items():
            value = getattr(self, name)
            left_out = value is None and name == "base_training"
            if not (isinstance(value, Mapping) or left_out):
                raise TypeError(expected(f"{name} as a mapping", repr(value), f"{name}: {example}"))

    def splits(self) -> Splits:
        """The data sets."""
        return load_splits(self.data)

    def build_base(self, splits: Splits) -> nn.Module:
        """The base: built from its config, or read from neuraloperator's files."""
        options = plain(self.model.get("base"))
        if isinstance(options, str):
            options = {"model_arch": options}
        if not isinstance(options, dict):
            raise TypeError(expected("a base in the model", repr(options), f"model: {SECTIONS['model']}"))
        model: nn.Module
        if "checkpoint" in options:
            options["folder"] = options.pop("checkpoint")
            model = call_with_options(load_base, options, "the base's files")
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
        """The refiner around a base; how the data go on at their boundaries, the correction is told here."""
        words = plain(self.model)
        words["correction"] = _padded(words.get("correction", "unet"), padding)
        for given_elsewhere in ("model_arch", "base", "data_channels"):
            words.pop(given_elsewhere, None)
        refiner: IterativeRefiner = call_with_options(IterativeRefiner, {"base": base, **words}, "the model")
        return refiner

    def build_loss(self) -> RefinementLoss:
        """The training loss."""
        loss: RefinementLoss = call_with_options(RefinementLoss, self.loss, "the loss")
        return loss

    def build_recipe(self) -> Recipe:
        """The recipe of the refiner."""
        recipe: Recipe = call_with_options(Recipe, self.training, "the training")
        return recipe

    def build_base_recipe(self) -> Recipe | None:
        """The recipe of the base, if it is trained here."""
        if self.base_training is None:
            return None
        recipe: Recipe = call_with_options(Recipe, self.base_training, "the base's training")
        return recipe


def _padded(correction: Any, padding: Sequence[str] | None) -> Any:
    """The words for a correction, with the padding of the data where they leave it open."""
    words = {"name": correction} if isinstance(correction, str) else correction
    if padding is None or not isinstance(words, dict) or not CORRECTIONS.takes(words, "padding"):
        return correction
    return {"padding": list(padding), **words}


def experiment(config: Any) -> Experiment:
    """An experiment from a mapping, or from a zencfg config."""
    content = plain(config)
    if not isinstance(content, Mapping):
        raise TypeError(expected("a config as a mapping", type(config).__name__, "data: ..., model: ..."))
    result: Experiment = call_with_options(Experiment, content, "the config")
    return result


def read_experiment(path: str | os.PathLike[str]) -> Experiment:
    """An experiment from a YAML file."""
    return experiment(read_yaml(path))


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file."""
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(expected("a config file", f"no file at {source}", "examples/configs/*.yaml"))
    try:
        content = yaml.safe_load(source.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ValueError(expected(f"YAML in {source.name}", problem, "examples/configs/*.yaml")) from error
    if not isinstance(content, dict) or not content:
        got = type(content).__name__ if content else "nothing"
        raise ValueError(expected(f"a mapping in {source.name}", got, "data: ..., model: ..."))
    return content
