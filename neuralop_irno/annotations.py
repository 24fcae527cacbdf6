"""Checks of values against the annotations of parameters."""

from __future__ import annotations

import inspect
import math
import operator
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from numbers import Number
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

LARGEST = 2**63 - 1
"""The largest integer of a tensor; larger ones fit no option, since torch overflows."""

YES, NO = {"yes", "on", "true", "y", "1"}, {"no", "off", "false", "n", "0"}
"""Words and numbers that stand for true and false elsewhere."""

SEQUENCES = (list, tuple, set, frozenset, Sequence, Collection, Iterable)


def hint_of(owner: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The annotation of a parameter as a type; ``Any`` if there is none or it cannot be resolved.

    Args:
        owner: the function or class of the parameter; annotations in text are resolved in its module.
        parameter: a parameter of its signature.
    """
    hint = parameter.annotation
    if hint is parameter.empty:
        return Any
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, dict(_globals_of(owner)))
    except Exception:  # a name imported under TYPE_CHECKING only
        return Any


def _globals_of(owner: Any) -> Mapping[str, Any]:
    """The global names of the module that defines the signature of a function or class."""
    for ancestor in owner.__mro__ if isinstance(owner, type) else ():
        own = vars(ancestor)
        if "__init__" in own or "__new__" in own:
            return vars(sys.modules.get(ancestor.__module__, object))
    return getattr(inspect.unwrap(owner), "__globals__", {})


def fits(value: Any, hint: Any) -> bool:
    """Whether a value fits the annotation of a parameter.

    Plain data are checked to any depth: numbers (not NaN, and not bool), strings, sequences and mappings. A
    list fits where a tuple does, since YAML and JSON have no tuples. Other objects fit every annotation;
    constructors check them.

    Example:
        >>> fits(1, float), fits(True, int), fits("1", int | None), fits([1, 2], tuple[int, int])
        (True, False, False, True)
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits(value, arguments[0])
    if origin in (Union, UnionType):
        return _is_part(arguments) or any(fits(value, choice) for choice in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) for choice in arguments)
    if hint is None or hint is NoneType:
        return value is None
    if not _is_plain(value):
        return True
    kind = origin or hint
    if kind in (float, complex, Number):
        return _is_number(value)
    if kind is int:
        return _is_number(value) and isinstance(value, int)
    if kind is str:
        return isinstance(value, str)
    if kind in SEQUENCES:
        return isinstance(value, (list, tuple)) and _elements_fit(value, kind, arguments)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping) and (
            not arguments or all(fits(element, arguments[1]) for element in value.values())
        )
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return isinstance(value, str)
    return _is_instance(value, kind)


def as_whole(value: Any) -> int | None:
    """A whole number as an int: one of Python or numpy, or an integer tensor with one element; else None.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> [as_whole(value) for value in (3, np.int64(3), torch.tensor(3), True, 3.0, "3")]
        [3, 3, 3, None, None, None]
    """
    if isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def hint_of_choice(name: str, value: Any, otherwise: str | None = None) -> str:
    """The hint for a value of an option that is true or false: what a word means, or else both.

    Args:
        name: of the option.
        value: what was given.
        otherwise: the hint in place of both, of an option that takes other values too.

    Example:
        >>> hint_of_choice("compile", "yes"), hint_of_choice("compile", "Off"), hint_of_choice("compile", 2)
        ('compile=True', 'compile=False', 'compile=True or compile=False')
    """
    word = str(value).strip().lower()
    if word in YES or word in NO:
        return f"{name}={word in YES}"
    return f"{name}=True or {name}=False" if otherwise is None else otherwise


def hint_of_option(parameter: inspect.Parameter, value: Any, hint: Any) -> str:
    """The hint for a value that does not fit an annotation: the parameter's default, or the kind of value.

    Args:
        parameter: of a signature.
        value: what was given.
        hint: the annotation, see `hint_of`.
    """
    name, default = parameter.name, parameter.default
    usual = f"{name}=<{described(hint)}>" if default is parameter.empty else f"{name}={default!r}"
    if hint is bool:
        return hint_of_choice(name, value)
    return hint_of_choice(name, value, usual) if bool in get_args(hint) else usual


def described(hint: Any) -> str:
    """An annotation as text, without module names.

    Example:
        >>> described(int | None), described(Sequence[str])
        ('int | None', 'Sequence[str]')
    """
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    text = str(hint)
    for prefix in ("typing.", "collections.abc.", "pathlib.", "os.", "numbers."):
        text = text.replace(prefix, "")
    return text


def _is_part(choices: tuple[Any, ...]) -> bool:
    """Whether a union stands for a part by name, config or object: its registry lists the choices."""
    return str in choices and any(get_origin(choice) is Mapping for choice in choices)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, list, tuple, Mapping))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= LARGEST if isinstance(value, int) else not math.isnan(value)


def _elements_fit(value: Sequence[Any], kind: Any, arguments: tuple[Any, ...]) -> bool:
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    return not arguments or all(fits(element, arguments[0]) for element in value)


def _is_instance(value: Any, kind: Any) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:  # TypeVar, Protocol and others cannot be checked
        return True
