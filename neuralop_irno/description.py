"""The config of a refiner, derived from its current parts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from neuralop_irno._neuralop import described
from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.registry import GRADIENTS, SOLVERS, STEP_SIZES, Registry, parameters_of
from neuralop_irno.solver.aitken import Aitken
from neuralop_irno.solver.anderson import Anderson
from neuralop_irno.solver.broyden import Broyden
from neuralop_irno.solver.gradient import GradientRule
from neuralop_irno.solver.safeguarded import Safeguarded
from neuralop_irno.solver.solver import Solver
from neuralop_irno.solver.step_size import StepSize

FAMILIES: tuple[tuple[type, Registry], ...] = (
    (Solver, SOLVERS),
    (StepSize, STEP_SIZES),
    (GradientRule, GRADIENTS),
)

GUARDED = {Aitken: "aitken", Anderson: "anderson", Broyden: "broyden"}
"""Solvers that are registered inside `Safeguarded`."""


def config_of(part: Any) -> Any:
    """The config that builds a part again; ``{"object": class name}`` if there is none.

    For solvers, step sizes and gradient rules, each parameter of the constructor is read from the attribute
    of the same name; for neuraloperator's models, from what their base class recorded.

    Example:
        >>> from neuralop_irno.solver.picard import Picard
        >>> config_of(Picard(alpha=0.5))
        {'name': 'picard', 'alpha': {'name': 'constant', 'value': 0.5}}
    """
    if isinstance(part, Tensor):
        return part.tolist()
    family = next((registry for kind, registry in FAMILIES if isinstance(part, kind)), None)
    if family is None:
        return described(part)
    name, part = _named(part, family)
    parameters = parameters_of(type(part))
    options = {key: config_of(getattr(part, key)) for key in parameters if hasattr(part, key)}
    lost = any(isinstance(value, Mapping) and "object" in value for value in options.values())
    if name is None or lost or len(options) < len(parameters):
        return {"object": type(part).__name__}
    return {"name": name, **options}


def _named(part: Any, family: Registry) -> tuple[str | None, Any]:
    """The registered name of a part, and the object that has the options of that name."""
    if isinstance(part, Safeguarded) and type(part.solver) in GUARDED:
        name = GUARDED[type(part.solver)]
        if part.growth == family.build(name).growth:
            return name, part.solver
    return next((name for name in family.names() if family.lookup(name) is type(part)), None), part


class Described(nn.Module):
    """A mixin, before `Persistent`, that provides the config of a refiner.

    A part that has not changed since construction is described as it was given (a name, a config), so that
    configs stay short. A part that was replaced or changed is described by `config_of`.
    """

    base: Any
    sizes: Any
    correction: nn.Module
    solver: nn.Module
    gradient: Any
    train_output: str
    ignore: tuple[str, ...]
    _steps: tuple[int, int]

    def _remember(self, given: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
        """Store the arguments that the model was built from.

        Args:
            given: ``base``, ``correction``, ``solver``, ``alpha`` and ``gradient`` as they were given.
            fixed: options that are not stored in an attribute.
        """
        self._fixed = dict(fixed)
        self._given = {name: described(part) for name, part in given.items()}
        # In a list, so that the parts are not registered as submodules a second time.
        self._built = {name: ([part], config_of(part)) for name, part in self._parts().items()}

    def describe(self, **words: Any) -> None:
        """Set the configs of parts that were given as objects: ``describe(base={...})``."""
        for name in words.keys() - self._given.keys():
            raise TypeError(expected("a part of the model", repr(name), did_you_mean(name, self._given)))
        self._given.update({name: described(part) for name, part in words.items()})

    @property
    def config(self) -> dict[str, Any]:
        """The config that builds the same model again; see `Persistent`."""
        given = dict(self._given)
        for name, part in self._parts().items():
            built, description = self._built[name]
            if part is not built[0] or config_of(part) != description:
                given[name] = config_of(part)
                if name == "solver":
                    given["alpha"] = None  # now an option of the solver
        fewest, most = self._steps
        own = {
            "steps": most if fewest == most else [fewest, most],
            # The actual channels, since a base that is built again from this config gets no data.
            "in_channels": self.sizes.in_channels,
            "out_channels": self.sizes.out_channels,
            "train_output": self.train_output,
            "ignore": list(self.ignore),
        }
        return copy.deepcopy({**given, **self._fixed, **own})

    @property
    def _init_kwargs(self) -> dict[str, Any]:
        return self.config

    @_init_kwargs.setter
    def _init_kwargs(self, recorded: Any) -> None:
        # Ignored: neuraloperator would store the constructor's arguments, including modules.
        pass

    def _parts(self) -> dict[str, Any]:
        return {
            "base": self.base.module,
            "correction": self.correction,
            "solver": self.solver,
            "gradient": self.gradient,
        }
