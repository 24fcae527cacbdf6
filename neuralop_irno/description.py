"""The config of a refiner, derived from its current parts."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from neuralop_irno._neuralop import BUILT_FROM, described
from neuralop_irno.base.conditions import Conditions
from neuralop_irno.base.neuraloperator import adapter_for
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.pyg import GraphOperator
from neuralop_irno.base.signatures import FunctionModule
from neuralop_irno.base.sizes import ModelSpec
from neuralop_irno.base.tuples import TupleOperator
from neuralop_irno.base.units import Units
from neuralop_irno.correction.from_module import Joined
from neuralop_irno.correction.graph import JoinedOnGraph
from neuralop_irno.correction.tuples import TupleCorrection
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.equations.equation import Equation
from neuralop_irno.printed import plain_numbers
from neuralop_irno.registry import GRADIENTS, PRECONDITIONERS, SOLVERS, STEP_SIZES, Registry, parameters_of
from neuralop_irno.solver.aitken import Aitken
from neuralop_irno.solver.anderson import Anderson
from neuralop_irno.solver.broyden import Broyden
from neuralop_irno.solver.gradient import GradientRule
from neuralop_irno.solver.preconditioner import Preconditioner
from neuralop_irno.solver.safeguarded import Safeguarded
from neuralop_irno.solver.solver import Solver
from neuralop_irno.solver.step_size import Given, StepSize

FAMILIES: tuple[tuple[type, Registry], ...] = (
    (Solver, SOLVERS),
    (StepSize, STEP_SIZES),
    (GradientRule, GRADIENTS),
    (Preconditioner, PRECONDITIONERS),
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
        return {"object": "Tensor"} if part.is_meta else plain_numbers(part)
    family = next((registry for kind, registry in FAMILIES if isinstance(part, kind)), None)
    if family is None:
        return described(part)
    name, part = _named(part, family)
    parameters = parameters_of(type(part))
    options = {key: config_of(_option(part, key)) for key in parameters if hasattr(part, key)}
    if name is None or len(options) < len(parameters):
        return {"object": type(part).__name__}
    return {"name": name, **options}


def _option(part: Any, key: str) -> Any:
    """An attribute; of a step size its numbers as given, in place of the buffer that rounds them."""
    value = getattr(part, key)
    return part.given if isinstance(part, Given) and value is part.rounded else value


def _named(part: Any, family: Registry) -> tuple[str | None, Any]:
    """The registered name of a part, and the object that has the options of that name."""
    if type(part) is Safeguarded and type(part.solver) in GUARDED:
        name = GUARDED[type(part.solver)]
        if part.growth == family.build(name).growth:
            return name, part.solver
    return next((name for name in family.names() if family.lookup(name) is type(part)), None), part


class Described(nn.Module):
    """A mixin, before `Persistent`, that derives the config of a refiner from its current parts.

    Solvers, step sizes and gradient rules are described by their attributes, bases and corrections by the
    config that they were built from.
    """

    base: BaseOperator
    conditions: Conditions
    sizes: ModelSpec
    correction: nn.Module
    solver: nn.Module
    gradient: GradientRule
    resolution: Resolution
    units: Units | None
    equation: Equation | None
    sees_residual: bool
    train_output: str
    ignore: tuple[str, ...]
    _steps: tuple[int, int]

    @property
    def config(self) -> dict[str, Any]:
        """The config that builds the same model again; see `Persistent`."""
        fewest, most = self._steps
        stated = bool(self.conditions.kinds or self.base.condition)
        conditions = {"condition": self.conditions.plain()} if stated else {}
        return {
            "base": _of_base(self.base),
            "correction": _of_correction(self.correction),
            "solver": config_of(self.solver),
            "gradient": config_of(self.gradient),
            "steps": most if fewest == most else [fewest, most],
            "freeze_base": self.base.frozen,
            "channels": self.base.channels,
            "output": described(self.base.output),
            "layout": self.base.stated_layout,
            # The actual channels, since a base that is built again from this config gets no data.
            **_channels(self.sizes),
            "resolution": self.resolution.plain() or None,
            "train_output": self.train_output,
            "ignore": list(self.ignore),
            # Left out where there are none: older versions do not have these options.
            **conditions,
            **({} if self.units is None else {"units": self.units.plain()}),
            **self._of_equation(),
        }

    def _of_equation(self) -> dict[str, Any]:
        """The options ``equation`` and ``sees_residual``; none without an equation."""
        if self.equation is None:
            return {}
        return {"equation": described(self.equation), "sees_residual": self.sees_residual}

    @property
    def _init_kwargs(self) -> dict[str, Any]:
        return self.config

    @_init_kwargs.setter
    def _init_kwargs(self, recorded: Any) -> None:
        # Ignored: neuraloperator would store the constructor's arguments, including modules.
        pass


def _channels(sizes: ModelSpec) -> dict[str, Any]:
    """The channels of x and h, of one field or of each of a tuple."""
    names, each = ("in_channels", "out_channels"), sizes.fields
    return {name: [getattr(size, name) for size in each] if each else getattr(sizes, name) for name in names}


def _of_base(base: BaseOperator) -> Any:
    """The config of a base; an adapter of the user's own has none."""
    if isinstance(base.stated, ModelSpec) and hasattr(base, BUILT_FROM):  # a model of another package by name
        return described(base)
    if isinstance(base, GraphOperator) and base.config is not None:
        return base.config
    made = base.parts if isinstance(base, TupleOperator) else [base]
    if any(type(part) is not adapter_for(part.module) for part in made):
        return {"object": type(base).__name__}
    return described(base.module.function if isinstance(base.module, FunctionModule) else base.module)


def _of_correction(correction: nn.Module) -> Any:
    """The config of a correction; a module of the user's own has none, whatever it says of itself."""
    if isinstance(correction, TupleCorrection):
        return [_of_correction(each) for each in correction.each]
    if hasattr(correction, BUILT_FROM):
        return copy.deepcopy(getattr(correction, BUILT_FROM))
    given = correction.module if isinstance(correction, (Joined, JoinedOnGraph)) else correction
    return {"object": type(given).__name__}
