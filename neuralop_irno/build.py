"""Builds the parts of a refiner from names and configs, and checks that they fit each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from neuralop_irno._neuralop import BUILT_FROM, described
from neuralop_irno.annotations import as_whole
from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.conditions import Conditions
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.sizes import ModelSpec
from neuralop_irno.base.tuples import TupleCall, TupleOperator
from neuralop_irno.base.units import Units
from neuralop_irno.correction.correction import BoundCorrection, Correction, FunctionCorrection, masked
from neuralop_irno.correction.from_module import as_correction
from neuralop_irno.correction.tuples import TupleCorrection
from neuralop_irno.errors import expected, shown
from neuralop_irno.registry import CORRECTIONS, SOLVERS, given_by_name, named, plain
from neuralop_irno.solver.denoising import Denoising
from neuralop_irno.solver.gradient import GradientRule
from neuralop_irno.solver.picard import Damped
from neuralop_irno.solver.solver import Solver, SolverLike, solver_from
from neuralop_irno.solver.step_size import StepSizeLike

MOST_STEPS = 10_000
"""The largest K of a model; `IterativeRefiner.solve` accepts more."""


def step_range(steps: int | Sequence[int]) -> tuple[int, int]:
    """``steps`` as a pair (low, high), checked: 0 <= low <= high <= 10,000.

    Example:
        >>> step_range(6), step_range([2, 8])
        ((6, 6), (2, 8))
    """
    several = isinstance(steps, Sequence) and not isinstance(steps, str)
    pair: tuple[Any, ...] = tuple(steps) if several else (steps, steps)  # type: ignore[arg-type]
    low, high = (as_whole(count) for count in pair) if len(pair) == 2 else (None, None)
    if low is None or high is None or not 0 <= low <= high <= MOST_STEPS:
        raise ValueError(
            expected("steps >= 0, or a pair [low, high]", shown(steps), "steps=6 or steps=[2, 8]")
        )
    if not low and high:  # with 0 steps there is nothing to train
        raise ValueError(expected("low >= 1 in steps=[low, high]", steps, f"steps=[1, {high}]"))
    return low, high


Channels = int | Sequence[int | None] | None
"""Channels of one field, or of each of several."""


def one_number(channels: Channels) -> int | None:
    """The channels of one field; None where there are several."""
    return as_whole(channels)


def given_sizes(in_channels: Channels, out_channels: Channels, base: BaseOperator) -> ModelSpec:
    """The channels from the options of the refiner, of one field or of each of a tuple."""
    if not isinstance(base, TupleOperator):
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if isinstance(value, Sequence):
                hint = "output=(...), with the place of each field in the answer"
                raise ValueError(expected(f"one {name} for one field", shown(list(value)), hint))
        return ModelSpec(one_number(in_channels), one_number(out_channels))
    count = len(base.parts)
    of_x = [in_channels] * count if not isinstance(in_channels, Sequence) else list(in_channels)
    of_h = (
        list(out_channels or [None] * count) if isinstance(out_channels, Sequence | None) else [out_channels]
    )
    for name, values in (("in_channels", of_x), ("out_channels", of_h)):
        if len(values) != count:
            got = shown(values[0] if len(values) == 1 else values)
            hint = f"{name}={[1] * count}, in the order of output"
            raise ValueError(expected(f"{name} for each of {count} fields", got, hint))
    return ModelSpec(fields=tuple(map(ModelSpec, map(as_whole, of_x), map(as_whole, of_h))))


def agreed_sizes(given: ModelSpec, stated: ModelSpec) -> ModelSpec:
    """The channels given by the user or stated by the base; raises ValueError if they differ."""
    if given.fields:
        return ModelSpec(fields=tuple(map(agreed_sizes, given.fields, stated.fields)))
    for name in ("in_channels", "out_channels"):
        ours, theirs = getattr(given, name), getattr(stated, name)
        if ours is None or theirs is None or (stated.per_time and not ours % theirs):
            continue
        if ours != theirs:
            raise ValueError(
                expected(f"{name}={theirs}, as the base has it", f"{name}={ours}", f"leaving {name} out")
            )
    return replace(
        stated,
        in_channels=given.in_channels or stated.in_channels,
        out_channels=given.out_channels or stated.out_channels,
    )


def completed(sizes: ModelSpec, correction: Correction, conditions: Conditions) -> ModelSpec:
    """The sizes, with channels from the correction if the base does not state them."""
    if isinstance(correction, TupleCorrection):
        pairs = list(zip(sizes.fields, correction.each, strict=True))
        of_h = [size.out_channels or each.out_channels for size, each in pairs]
        found = []
        for place, (size, each) in enumerate(pairs):
            whole = completed(ModelSpec(), each, conditions).in_channels
            of_x = None if whole is None else _added(whole, _others(of_h, place), -1)
            found.append(replace(size, in_channels=size.in_channels or of_x, out_channels=of_h[place]))
        return ModelSpec(fields=tuple(found))
    of_x = correction.in_channels
    if of_x is not None:
        of_x -= conditions.channels(scalars=not correction.scalars)
    return replace(
        sizes,
        in_channels=sizes.in_channels or of_x,
        out_channels=sizes.out_channels or correction.out_channels,
    )


def _others(channels: Sequence[int | None], place: int) -> int | None:
    """The channels of all fields but one; None if they are not known."""
    others = [count for other, count in enumerate(channels) if other != place]
    return None if None in others else sum(filter(None, others))


def _added(count: int | None, more: int | None, sign: int = 1) -> int | None:
    return None if count is None or more is None else count + sign * more


BaseLike = nn.Module | Callable[..., Any] | str | Mapping[str, Any]
"""A base: a module, any callable, the name of a model, or its config."""

CorrectionLike = str | Mapping[str, Any] | nn.Module
"""A correction: its name, its config, a `Correction`, or any module of [x, h]."""


CorrectionsLike = CorrectionLike | Sequence[CorrectionLike]
"""A correction, or one for each field of a tuple."""


def build_correction(
    correction: CorrectionsLike,
    sizes: ModelSpec,
    conditions: Conditions,
    padding: Sequence[str] | None = None,
) -> Correction:
    """A correction from its name, its config or itself, sized like the base.

    Args:
        correction: Phi; for a tuple of fields one for all or a list, see `TupleCorrection`.
        sizes: of the base.
        conditions: what Phi is given besides x and h. Their channels are added to those of x.
        padding: of each axis, for a correction by name that has this option and does not set it.
    """
    if sizes.fields:
        return _for_each_field(correction, sizes.fields, conditions, padding)
    if isinstance(correction, Sequence) and not isinstance(correction, str):
        hint = "output=(...), with the place of each field in the answer"
        raise ValueError(expected("one correction for one field", f"{len(correction)}", hint))
    if isinstance(correction, TupleCorrection):
        raise ValueError(expected("a correction of one field", "one of several", "output=(...)"))
    scalars = len(conditions.scalars)
    if given_by_name(correction):
        options = named(correction)
        conditioned = CORRECTIONS.takes(options, "scalars")
        for name in ("in_channels", "out_channels"):
            if getattr(sizes, name) is None and name not in options and CORRECTIONS.needs(options, name):
                got, hint = "a base that does not state it", f"IterativeRefiner(base, ..., {name}=...)"
                if sizes.in_time and name == "in_channels":
                    got, hint = "a base that takes any number of times", "in_channels=T * C, all frames of x"
                raise ValueError(expected(f"{name} for the correction", got, hint))
        stated = {name: getattr(sizes, name) for name in ("in_channels", "out_channels", "dim")}
        known = {name: value for name, value in stated.items() if value is not None}
        if "in_channels" in known:
            known["in_channels"] += conditions.channels(scalars=not conditioned)
        if padding is not None:
            known["padding"] = list(padding)
        if conditioned and scalars:
            known["scalars"] = scalars
        built = as_correction(CORRECTIONS.build(options, **known))
        setattr(built, BUILT_FROM, described(correction))
        return built
    taken = getattr(correction, "scalars", 0) if isinstance(correction, Correction) else 0
    if taken not in (0, scalars):
        fitting = f"a correction with scalars={scalars}, as condition names them"
        raise ValueError(expected(fitting, f"scalars={taken}", f"scalars={scalars}"))
    more = {"in_channels": conditions.channels(scalars=not taken)}
    for name in ("in_channels", "out_channels"):
        own, wanted = getattr(correction, name, None), getattr(sizes, name)
        wanted = None if wanted is None else wanted + more.get(name, 0)
        if isinstance(correction, Correction) and None not in (own, wanted) and own != wanted:
            raise ValueError(
                expected(f"a correction with {name}={wanted}, like the base", own, f"{name}={wanted}")
            )
    return as_correction(correction)


def _for_each_field(
    correction: CorrectionsLike,
    sizes: Sequence[ModelSpec],
    conditions: Conditions,
    padding: Sequence[str] | None,
) -> TupleCorrection:
    """The correction of each field, whose input are the input of the base and all other fields."""
    count = len(sizes)
    if conditions.fields or conditions.mask:
        got = f"condition={conditions.plain()}"
        raise ValueError(expected(f"scalars as conditions of a tuple of {count} fields", got, "condition=()"))
    if isinstance(correction, TupleCorrection):
        each: Sequence[CorrectionLike] = correction.each
    elif isinstance(correction, Sequence) and not isinstance(correction, str):
        each = correction
    elif count == 1 or given_by_name(correction):
        each = [correction] * count
    else:
        got = f"one {type(correction).__name__}"
        hint = "a list with a module for each, or a name for all"
        raise ValueError(expected(f"a correction for each of {count} fields", got, hint))
    if len(each) != count:
        raise ValueError(expected(f"a correction for each of {count} fields", len(each), "one name for all"))
    of_h = [size.out_channels for size in sizes]
    if None in of_h and any(map(given_by_name, each)):
        wanted, got = f"out_channels for each of {count} fields", shown(of_h)
        raise ValueError(expected(wanted, got, f"IterativeRefiner(base, ..., out_channels={[1] * count})"))
    wholes = [
        replace(size, in_channels=_added(size.in_channels, _others(of_h, place)))
        for place, size in enumerate(sizes)
    ]
    pairs = zip(each, wholes, strict=True)
    built = [build_correction(one, size, conditions, padding) for one, size in pairs]
    return correction if isinstance(correction, TupleCorrection) else TupleCorrection(built)


def physics_of(
    residual_fn: Callable[[Tensor, Tensor], Tensor] | None,
    residual_tol: float | None,
    call: BaseCall,
    units: Units | None = None,
) -> BoundCorrection | None:
    """h -> the residual of the equation for one call, 0 outside of its mask; None without ``residual_fn``.

    The equation is one of fields in the units of the data, those of the call are in ``units``.
    """
    if (residual_fn is None) is not (residual_tol is None):
        hint = "residual_fn=..., residual_tol=1e-3"
        raise ValueError(expected("residual_fn and residual_tol together", "one of them", hint))
    if residual_fn is None:
        return None
    if not callable(residual_fn):
        hint = "lambda x, h: ..."
        raise TypeError(expected("residual_fn as a function (x, h)", shown(residual_fn), hint))
    if isinstance(call, TupleCall):
        wanted, got = "one field for residual_fn", f"a tuple of {len(call.calls)}"
        raise ValueError(expected(wanted, got, "rtol=, a tolerance of the iteration"))
    equation = residual_fn if units is None else units.before(residual_fn)
    return masked(FunctionCorrection(equation).bind(call.x, call.domain), call.condition.mask)


def build_solver(solver: SolverLike, alpha: StepSizeLike | None, key: str | None = "solver") -> Solver:
    """A solver from a name, a config or an object, with the step size ``alpha`` if it is given.

    Args:
        solver: the name, the config or the object.
        alpha: the step size.
        key: that of a config, for errors; None for an argument of a call.
    """
    if alpha is not None:
        if not given_by_name(solver) or has_alpha(solver):
            raise ValueError(
                expected("one step size", "alpha beside a solver that has its own", "alpha=None")
            )
        solver = with_alpha(solver, alpha)
    return solver_from(solver, key)


def other_solver(solver: SolverLike | None, own: Solver) -> Solver:
    """The solver of one call; if its config does not set alpha, it uses that of the model's own solver."""
    if solver is None:
        return own
    if given_by_name(solver) and not has_alpha(solver):
        # The alpha of `Denoising` is its noise level, not a step size.
        damped = [part for part in own.modules() if isinstance(part, Damped)]
        alphas = [part.alpha for part in damped if not isinstance(part, Denoising)]
        solver = with_alpha(solver, alphas[0]) if alphas and takes_alpha(solver) else solver
    return build_solver(solver, None, key=None)


def takes_alpha(words: Any) -> bool:
    """Whether the config of a solver, or of the solver that it wraps, has the option alpha."""
    words = named(words)
    inner = words.get("solver", "picard")
    if SOLVERS.takes(words, "solver"):
        return given_by_name(inner) and takes_alpha(inner)
    return SOLVERS.takes(words, "alpha")


def has_alpha(words: Any) -> bool:
    """Whether the config of a solver, or of the solver that it wraps, sets alpha."""
    words = plain(words)
    return isinstance(words, Mapping) and ("alpha" in words or has_alpha(words.get("solver")))


def with_alpha(words: Any, alpha: Any) -> dict[str, Any]:
    """The config of a solver with alpha added, or added to the solver that it wraps."""
    words = named(words)
    if SOLVERS.takes(words, "solver"):
        return {**words, "solver": with_alpha(words.get("solver", "picard"), alpha)}
    return {**words, "alpha": alpha}


def check_gradient(rule: GradientRule, spec: Any, freeze_base: bool, solver: Solver) -> None:
    """Refuse a gradient rule by which nothing would be learnt.

    Args:
        rule: the gradient rule.
        spec: its name or config, for the error.
        freeze_base: whether the base is frozen.
        solver: the solver of the model.
    """
    if not (freeze_base or rule.reaches_start):
        hint = "gradient='unrolled' or 'checkpointed', or freeze_base=True"
        raise ValueError(expected("a gradient rule that reaches a base that trains", spec, hint))
    if rule.starts_at_truth and not solver.adds_noise:
        # At the truth an untrained correction has no error to learn from.
        got = f"{type(solver).__name__} beside gradient='from_truth'"
        hint = "solver='denoising', or gradient='detached'"
        raise ValueError(expected("a solver that adds noise", got, hint))
