"""The definition of a study: problems, bases, variants, seeds, and the kind of measurement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from neuralop_irno.config import Experiment, experiment
from neuralop_irno.errors import check_choice, expected, shown
from neuralop_irno.presets import merged, sections_of, with_recipe
from neuralop_irno.registry import MODELS, call_with_options, plain

BASE = "base"
"""The variant that every study has: the base alone, on which all refiners and controls are built."""

ADAPTERS = {"lora": "lora", "frequency_adapters": "frequency"}
"""The kinds of adapters of `neuralop_irno.base.adapters`, by the roles that train them."""

CONTROLS = {"same_parameters": "parameters", "same_compute": "compute", "capacity_matched": "both"}
"""What the one-shot controls match of the refiner, by their roles."""

ROLES = ("base", "refined", *CONTROLS, "last_layer", *ADAPTERS, "alone", "rebuilt")

NETWORKS = ("alone", "rebuilt")
"""The roles that train a network other than the base."""


class Run(NamedTuple):
    """One model to train: one row of the grid."""

    problem: str
    base: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its files."""
        name = f"{self.problem}.{self.base}.{self.variant}.seed{self.seed}"
        return "".join(c if c.isalnum() or c in ".-_" else "_" for c in name.replace(" = ", ""))


class Trial(NamedTuple):
    """One of the trainings of a variant, of which the best on validation data is taken.

    Attributes:
        deeper: layers that are added to the correction of a control.
        rate: factor of the learning rate.
    """

    deeper: int = 0
    rate: float = 1.0

    def __str__(self) -> str:
        return f"deeper by {self.deeper}, {self.rate:g} of the rate"


@dataclass(frozen=True)
class Variant:
    """One way to improve on a base, as changes to the problem's config.

    Attributes:
        role: what is trained: ``refined``, the refiner; ``same_parameters``, ``same_compute`` and
            ``capacity_matched``, one-shot controls, the last with at least the parameters and the arithmetic
            of all steps, trained for all epochs; ``last_layer`` of the base, in a Sobolev norm; ``lora`` and
            ``frequency_adapters`` inside of the base, with as many parameters as the refiner's correction;
            ``alone``, a different network from x to y; ``rebuilt``, a different network with the base's
            options and as many parameters, trained as the base is.
        network: config of the network for the last two roles, as for ``neuralop.get_model``.
        model: changes to the config of the refiner.
        loss: changes to the loss.
        training: changes to the recipe; for ``rebuilt``, to that of the base.
        recipe: a recipe by name, whose options replace those of the problem; changes are made to it.
        deeper: layers (levels, rounds) that are added to the correction of a control, whose width then meets
            the budget again. Of several numbers the one with the best validation score is taken.
        rates: factors of the learning rate, of which one is taken likewise.
    """

    role: str = "refined"
    network: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    deeper: list[int] = field(default_factory=lambda: [0])
    rates: list[float] = field(default_factory=lambda: [1.0])

    def __post_init__(self) -> None:
        check_choice("a role", self.role, ROLES)
        _check_trials("deeper", self.deeper, all(layers >= 0 for layers in self.deeper))
        _check_trials("rates", self.rates, all(rate > 0 for rate in self.rates))
        if self.deeper != [0] and self.role not in CONTROLS:
            wanted = f"deeper for the roles {', '.join(CONTROLS)} alone"
            raise ValueError(expected(wanted, self.role, "model: {correction: {depth: 4}}"))
        if self.recipe is not None:
            sections_of(self.recipe)
        if (self.role in NETWORKS) is not bool(self.network):
            got = f"role {self.role} and network {self.network}"
            wanted = f"a network for the role {' or '.join(map(repr, NETWORKS))}, and for no other"
            raise ValueError(expected(wanted, got, "network: {model_arch: fno}, or role: refined"))
        if self.network:
            MODELS.lookup(str(self.network.get("model_arch")).lower())

    @property
    def trials(self) -> list[Trial]:
        """Its trainings."""
        return [Trial(deeper, rate) for deeper in self.deeper for rate in self.rates]


@dataclass(frozen=True)
class Problem:
    """One problem: the config of an `Experiment`, with several bases.

    Attributes:
        data: the name of a data set and its options.
        bases: for each name, a config as for ``neuralop.get_model``, or a folder of files.
        base_training: the recipe of the bases, if they must be trained.
        model: config of the refiner around each of them.
        loss: loss of the refiner.
        training: recipe of the refiner.
        recipe: a recipe by name, for what model, loss and training do not state.
    """

    data: dict[str, Any]
    bases: dict[str, Any]
    model: dict[str, Any]
    base_training: dict[str, Any] | None = None
    loss: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    recipe: str | None = None

    def experiment(self, base: str, variant: Variant, seed: int) -> Experiment:
        """The experiment of a variant; the seed affects weights and batches, not the data."""
        own: dict[str, dict[str, Any]]
        own = {"model": self.model, "loss": self.loss, "training": self.training}
        if self.recipe is not None:
            own = with_recipe(self.recipe, own)
        if variant.recipe is not None:
            own = merged(own, sections_of(variant.recipe))
        own = merged(own, {"model": variant.model, "loss": variant.loss, "training": variant.training})
        base_training = self.base_training and {**self.base_training, "seed": seed}
        seeded = {"model": {"base": self.bases[base]}, "training": {"seed": seed}}
        return experiment({"data": self.data, "base_training": base_training, **merged(own, seeded)})


@dataclass(frozen=True)
class Study:
    """A study, as defined in its file.

    Attributes:
        name: name of its files.
        kind: what is measured on every trained model, or a list of several measurements; see
            `neuralop_irno.study.kinds`.
        about: a description in one sentence.
        problems: the problems by name.
        variants: the variants by name; `study_from` puts the base first.
        seeds: seeds of weights and batches.
        options: options of the kinds; each takes those that it has.
        needs: the machine for which it is intended.
        minutes: its run time there.
    """

    name: str
    kind: str | Sequence[str]
    about: str
    problems: dict[str, Problem]
    variants: dict[str, Variant]
    seeds: tuple[int, ...] = (0, 1, 2)
    options: dict[str, Any] = field(default_factory=dict)
    needs: str = "2 CPU cores"
    minutes: float | None = None

    def __post_init__(self) -> None:
        for given, what in ((self.problems, "problem"), (self.seeds, "seed"), (self.kinds, "kind")):
            if not given:
                raise ValueError(expected(f"at least one {what}", "none", f"a {what}"))
        check_seeds(self.seeds)
        for problem in self.problems.values():
            for base in problem.bases:
                for variant in self.variants.values():
                    problem.experiment(base, variant, seed=0).build_loss()

    @property
    def kinds(self) -> list[str]:
        """What is measured, as a list."""
        return [self.kind] if isinstance(self.kind, str) else list(self.kind)

    def needed(self, run: Run) -> list[Run]:
        """The runs that have to be finished before a run, in any order.

        Of a model built on bases those of its problem and seed; and that of the first seed, which decides
        which of several trials the other seeds train.
        """
        if run.variant == BASE:
            return []
        found = [run._replace(base=base, variant=BASE) for base in self.problems[run.problem].bases]
        if run.seed != self.seeds[0] and len(self.variants[run.variant].trials) > 1:
            found.append(run._replace(seed=self.seeds[0]))
        return found

    def runs(self) -> list[Run]:
        """Every model, in the order of training: the bases of a problem before the models built on them."""
        found = []
        others = [name for name in self.variants if name != BASE]
        for name, problem in self.problems.items():
            for seed in self.seeds:
                found += [Run(name, base, BASE, seed) for base in problem.bases]
                found += [Run(name, base, variant, seed) for base in problem.bases for variant in others]
        return found


def _check_trials(name: str, values: Sequence[float], fit: bool) -> None:
    if not values or not fit or len({*values}) < len(values):
        hint = {"deeper": "deeper: [0, 1]", "rates": "rates: [0.5, 1]"}[name]
        bound = {"deeper": ">= 0", "rates": "> 0"}[name]
        raise ValueError(expected(f"{name} as different numbers {bound}", shown(values), hint))


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that no training can have, and repeated ones: equal runs would pass for independent ones.

    Raises:
        ValueError: a seed is negative, or there twice.
    """
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        wanted = "different seeds >= 0"
        raise ValueError(expected(wanted, shown(list(seeds)), f"seeds: {list(range(len(seeds)))}"))


def study_from(config: Mapping[str, Any]) -> Study:
    """Build a study from a plain config; all parts are checked.

    Example:
        >>> fno = {"model_arch": "fno", "n_modes": [4], "hidden_channels": 4}
        >>> study = study_from({
        ...     "name": "tiny", "kind": "main", "about": "An example.", "seeds": [0, 1],
        ...     "problems": {"waves": {"data": {"name": "burgers"}, "bases": {"fno": fno}, "model": {}}},
        ...     "variants": {"refined": {}},
        ... })
        >>> [run.name for run in study.runs()][:2]
        ['waves.fno.base.seed0', 'waves.fno.refined.seed0']
    """
    content = plain(config)
    for key, of in (("problems", Problem), ("variants", Variant)):
        given = content.get(key)
        if not isinstance(given, dict) or not all(isinstance(part or {}, dict) for part in given.values()):
            raise TypeError(expected(f"{key} as a mapping of names", repr(given), f"{key}: {{name: ...}}"))
        content[key] = {
            name: call_with_options(of, part or {}, f"the {of.__name__.lower()} '{name}'")
            for name, part in given.items()
        }
    if BASE in content["variants"]:
        wanted = "variants other than 'base'"
        raise ValueError(expected(wanted, "'base', which is added anyway", "removing it"))
    content["variants"] = {BASE: Variant(BASE), **content["variants"]}
    seeds = content.get("seeds", [0, 1, 2])
    if not isinstance(seeds, Sequence) or not all(isinstance(seed, int) for seed in seeds):
        raise TypeError(expected("seeds as a list of whole numbers", repr(seeds), "seeds: [0, 1, 2]"))
    return call_with_options(Study, {**content, "seeds": tuple(seeds)}, "the study")


def plain_of(study: Study) -> dict[str, Any]:
    """A study as plain data, with all defaults; `study_of` returns the study."""
    content: dict[str, Any] = json.loads(json.dumps(asdict(study)))
    return content


def study_of(content: Mapping[str, Any]) -> Study:
    """The study that `plain_of` wrote.

    Example:
        >>> from neuralop_irno.study.catalogue import read_study
        >>> study_of(plain_of(read_study("main"))) == read_study("main")
        True
    """
    variants = {name: variant for name, variant in content["variants"].items() if name != BASE}
    return study_from({**content, "variants": variants})
