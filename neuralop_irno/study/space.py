"""A search for options: its space, and the config of a trial."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuralop_irno.config import Experiment, experiment, overridden
from neuralop_irno.errors import at_key, check_choice, check_least, expected, shown
from neuralop_irno.formats import FORMAT, current_experiment
from neuralop_irno.registry import call_with_options
from neuralop_irno.sealed import format_of
from neuralop_irno.study.plan import Problem, Study, Variant, check_seeds
from neuralop_irno.yaml_files import read_yaml

SEARCHED = ("model", "loss", "training")
"""The sections of a config whose options can be searched; all trials share data and bases."""

PRUNERS = ("median", "halving", "none")

EXAMPLE = "{log: [1e-4, 1e-2]}, {range: [2, 8]} or {choice: [16, 32]}"

REFINED = "refined"
"""The name of the variant that a trial trains."""

PROBLEM = "search"
"""The name of the only problem of a search."""


@dataclass(frozen=True)
class Dimension:
    """The values of one option.

    Attributes:
        kind: ``log`` and ``range``, the numbers between two bounds, uniform in the logarithm or as they are;
            whole numbers if both bounds are. ``choice``, one of a list.
        values: the two bounds, or the list.
    """

    kind: str
    values: list[Any]

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.kind != "choice" and all(isinstance(bound, int) for bound in self.values)

    @property
    def choices(self) -> list[Any]:
        """The names of its choices: the values themselves, or as JSON where these are lists or mappings."""
        return [json.dumps(value) if isinstance(value, (list, dict)) else value for value in self.values]


@dataclass(frozen=True)
class Search:
    """A search for options of a refiner with the lowest validation score.

    Attributes:
        content: sections of a config of ``irno train``, which every trial has.
        search: the space: for each option as ``section.option``, its values; see `Dimension`.
        trials: number of trials.
        seeds: seeds of weights and batches; the score of a trial is the mean over them.
        pruner: ``median`` ends a trial whose score, after an epoch, is above the median of the others' there;
            ``halving`` ends, after an eighth, a quarter and half of the epochs, a trial whose score is not
            among the better half of those that came so far (https://arxiv.org/abs/1810.05934); ``none`` ends
            none.
    """

    content: dict[str, Any]
    search: dict[str, Any]
    trials: int = 20
    seeds: tuple[int, ...] = (0,)
    pruner: str = "median"

    def __post_init__(self) -> None:
        check_least(1, 20, trials=self.trials)
        check_choice("a pruner", self.pruner, PRUNERS)
        if not self.seeds:
            raise ValueError(expected("seeds as a list of whole numbers", "none", "seeds: [0]"))
        check_seeds(self.seeds)
        if not isinstance(self.search, Mapping) or not self.search:
            raise ValueError(
                expected("a space to search", shown(self.search), f"search: section.option: {EXAMPLE}")
            )
        first = {name: space.values[0] for name, space in self.space.items()}
        for name, space in self.space.items():
            for value in space.values:
                self.experiment({**first, name: value}, self.seeds[0]).build_loss()

    @property
    def space(self) -> dict[str, Dimension]:
        """The values of each option."""
        return {name: _dimension(name, given) for name, given in self.search.items()}

    def experiment(self, options: Mapping[str, Any], seed: int | None = None) -> Experiment:
        """The experiment of a trial.

        Args:
            options: a value for each option of the space; parts of an option replace those of its own value.
            seed: of both trainings; None leaves those of the config.
        """
        outer_first = sorted(options.items(), key=lambda option: option[0].count("."))
        changes = [f"{name}={json.dumps(value)}" for name, value in outer_first]
        if seed is not None:
            trained = ("training", "base_training") if self.content.get("base_training") else ("training",)
            changes += [f"{section}.seed={seed}" for section in trained]
        return experiment(overridden(self.content, changes))

    def variant(self, options: Mapping[str, Any]) -> Variant:
        """The variant of `study` that a trial trains."""
        content = self.experiment(options).content
        model = {name: value for name, value in content["model"].items() if name != "base"}
        return Variant(model=model, loss=content["loss"], training=content["training"])

    def study(self) -> Study:
        """The study whose problem and base the trials have."""
        content = self.experiment({}).content
        sections = ("data", "base_training", "loss", "training")
        model = {name: value for name, value in content["model"].items() if name != "base"}
        bases = {"base": content["model"].get("base")}
        problem = Problem(bases=bases, model=model, **{name: content[name] for name in sections})
        about = "The problem of a search."
        return Study("search", "main", about, {PROBLEM: problem}, {"base": Variant("base")}, self.seeds)

    def to_plain(self) -> dict[str, Any]:
        """The search as plain data; `search_of` returns it."""
        plain = json.loads(json.dumps(asdict(self)))
        return {**plain.pop("content"), **plain}


def search_of(content: Mapping[str, Any]) -> Search:
    """The search of plain data: sections of a config, and ``search``, ``trials``, ``seeds`` and ``pruner``.

    Example:
        >>> search = search_of({
        ...     "data": {"name": "burgers"},
        ...     "model": {"base": {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4}},
        ...     "search": {"training.learning_rate": {"log": [1e-4, 1e-2]}, "model.steps": {"range": [2, 8]}},
        ... })
        >>> search.space["model.steps"].whole, search.experiment({"model.steps": 3}).content["model"]["steps"]
        (True, 3)
    """
    own = {name: value for name, value in content.items() if name in ("search", "trials", "seeds", "pruner")}
    if isinstance(own.get("seeds"), list):
        own["seeds"] = tuple(own["seeds"])
    sections = {name: value for name, value in content.items() if name not in own}
    search: Search = call_with_options(Search, {"content": sections, "search": {}, **own}, "the search")
    return search


def read_search(path: str | os.PathLike[str]) -> Search:
    """The search in a YAML file."""
    version = format_of(Path(path).read_bytes(), Path(path).name) if Path(path).is_file() else None
    return search_of(current_experiment(read_yaml(path), version or FORMAT))


def _dimension(name: str, given: Any) -> Dimension:
    with at_key(f"search.{name}"):
        section, _, option = name.partition(".")
        if section not in SEARCHED or not option or f"{option}.".startswith("base."):
            wanted = f"an option of {', '.join(SEARCHED)}, but not of the base"
            raise ValueError(expected(wanted, shown(name), "training.learning_rate"))
        single = isinstance(given, Mapping) and len(given) == 1
        kind, values = next(iter(given.items())) if single else ("", [])
        if name == "training.seed":
            raise ValueError(expected("an option that seeds do not set", shown(name), "seeds: [0, 1]"))
        known = kind == "choice" or (kind in ("log", "range") and _are_bounds(values, kind == "log"))
        if not known or not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ValueError(expected("a range of numbers or choices", shown(given), EXAMPLE))
        if any(isinstance(value, Mapping) and "name" not in value for value in values):
            raise ValueError(
                expected("mappings with a name as choices", shown(values), "{name: unet, width: 16}")
            )
        return Dimension(kind, list(values))


def _are_bounds(values: Any, positive: bool) -> bool:
    """Whether the values are two finite numbers in order."""
    numbers = isinstance(values, Sequence) and all(type(bound) in (int, float) for bound in values)
    if not numbers or len(values) != 2 or not all(map(math.isfinite, values)):
        return False
    low, high = values
    return bool(low < high and (low > 0 or not positive))
