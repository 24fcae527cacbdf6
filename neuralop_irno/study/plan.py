"""What a study consists of: problems, bases, variants and seeds, and what is measured of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from neuralop_irno.config import Experiment, experiment
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import MODELS, call_with_options, plain

BASE = "base"
"""The variant that every study has: the base by itself, which all the others but rivals stand on."""

ROLES = ("base", "refined", "same_parameters", "same_compute", "last_layer", "alone", "rebuilt")

NETWORKS = ("alone", "rebuilt")
"""The roles that are about another network than the base."""


class Run(NamedTuple):
    """One model to train: one row of the grid."""

    problem: str
    base: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """A name for its files."""
        words = f"{self.problem}.{self.base}.{self.variant}.seed{self.seed}"
        return "".join(c if c.isalnum() or c in ".-_" else "_" for c in words.replace(" = ", ""))


@dataclass(frozen=True)
class Variant:
    """One way to improve a base, as changes to the problem's own words.

    Attributes:
        role: what is trained: ``refined``; ``same_parameters`` and ``same_compute``, networks that are asked
            once; ``last_layer`` of the base, in a Sobolev norm; ``alone``, a rival from x to y; ``rebuilt``,
            the base's own words with those of another network, at a width that has as many parameters,
            trained as the base is.
        network: of a rival, in the words of ``neuralop.get_model``: any registered name.
        model: changes to the words of the refiner.
        loss: to the loss.
        training: to the recipe; of a network that is rebuilt, to the base's.
    """

    role: str = "refined"
    network: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(expected("a role", repr(self.role), did_you_mean(str(self.role), ROLES)))
        if (self.role in NETWORKS) is not bool(self.network):
            got = f"role {self.role} and network {self.network}"
            wanted = f"a network for the role {' or '.join(map(repr, NETWORKS))}, and for no other"
            raise ValueError(expected(wanted, got, "both or none"))
        if self.network:
            MODELS.lookup(str(self.network.get("model_arch")).lower())


@dataclass(frozen=True)
class Problem:
    """One problem, in the words of an `Experiment` but with several bases.

    Attributes:
        data: the name of a data set and its options.
        bases: names to the words of ``neuralop.get_model``, or to a folder of files.
        base_training: the recipe of the bases, where they have to be trained.
        model: the refiner around any of them.
        loss: of the refiner.
        training: the recipe of the refiner.
    """

    data: dict[str, Any]
    bases: dict[str, Any]
    model: dict[str, Any]
    base_training: dict[str, Any] | None = None
    loss: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def experiment(self, base: str, variant: Variant, seed: int) -> Experiment:
        """What a variant trains; the seed draws weights and batches, and leaves the data as they are."""
        return experiment(
            {
                "data": self.data,
                "model": merged({**self.model, "base": self.bases[base]}, variant.model),
                "base_training": self.base_training and {**self.base_training, "seed": seed},
                "loss": merged(self.loss, variant.loss),
                "training": {**merged(self.training, variant.training), "seed": seed},
            }
        )


@dataclass(frozen=True)
class Study:
    """A study, as its file says it.

    Attributes:
        name: of its files.
        kind: what is measured of every trained model; see `neuralop_irno.study.kinds`.
        about: in a sentence.
        problems: by name.
        variants: by name; `study_from` puts the base first.
        seeds: of weights and batches.
        options: of the kind.
        needs: the machine that it is meant for.
        minutes: how long it takes there.
    """

    name: str
    kind: str
    about: str
    problems: dict[str, Problem]
    variants: dict[str, Variant]
    seeds: tuple[int, ...] = (0, 1, 2)
    options: dict[str, Any] = field(default_factory=dict)
    needs: str = "2 CPU cores"
    minutes: float | None = None

    def __post_init__(self) -> None:
        for given, what in ((self.problems, "problem"), (self.seeds, "seed")):
            if not given:
                raise ValueError(expected(f"at least one {what}", "none", f"a {what}"))
        for problem in self.problems.values():
            for base in problem.bases:
                for variant in self.variants.values():
                    trained = problem.experiment(base, variant, seed=0)
                    trained.build_recipe()
                    trained.build_base_recipe()
                    trained.build_loss()

    def runs(self) -> list[Run]:
        """Every model, in the order of training: the bases of a problem before what stands on them."""
        found = []
        others = [name for name in self.variants if name != BASE]
        for name, problem in self.problems.items():
            for seed in self.seeds:
                found += [Run(name, base, BASE, seed) for base in problem.bases]
                found += [Run(name, base, variant, seed) for base in problem.bases for variant in others]
        return found


def study_from(words: Mapping[str, Any]) -> Study:
    """A study from plain words, each of its parts checked.

    Example:
        >>> study = study_from({
        ...     "name": "tiny", "kind": "main", "about": "An example.", "seeds": [0, 1],
        ...     "problems": {"waves": {"data": {"name": "burgers"}, "bases": {"fno": "fno"}, "model": {}}},
        ...     "variants": {"refined": {}},
        ... })
        >>> [run.name for run in study.runs()][:2]
        ['waves.fno.base.seed0', 'waves.fno.refined.seed0']
    """
    content = plain(words)
    for key, of in (("problems", Problem), ("variants", Variant)):
        given = content.get(key)
        if not isinstance(given, dict) or not all(isinstance(part or {}, dict) for part in given.values()):
            raise TypeError(expected(f"{key} as a mapping of names", repr(given), f"{key}: {{name: ...}}"))
        content[key] = {
            name: call_with_options(of, part or {}, f"the {of.__name__.lower()} '{name}'")
            for name, part in given.items()
        }
    if BASE in content["variants"]:
        raise ValueError(
            expected("other variants than the base", "'base', which every study has", "none of it")
        )
    content["variants"] = {BASE: Variant(BASE), **content["variants"]}
    seeds = content.get("seeds", [0, 1, 2])
    if not isinstance(seeds, Sequence) or not all(isinstance(seed, int) for seed in seeds):
        raise TypeError(expected("seeds as a list of whole numbers", repr(seeds), "seeds: [0, 1, 2]"))
    study: Study = call_with_options(Study, {**content, "seeds": tuple(seeds)}, "the study")
    return study


def merged(words: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Words with changes; parts merge with parts, but for those that are named anew.

    Example:
        >>> merged({"correction": {"name": "unet", "width": 16}, "steps": 4}, {"correction": {"width": 8}})
        {'correction': {'name': 'unet', 'width': 8}, 'steps': 4}
        >>> merged({"correction": {"name": "unet", "width": 16}}, {"correction": {"name": "mgno"}})
        {'correction': {'name': 'mgno'}}
    """
    result = dict(words)
    for key, value in changes.items():
        both = isinstance(result.get(key), Mapping) and isinstance(value, Mapping)
        result[key] = merged(result[key], value) if both and "name" not in value else value
    return result
