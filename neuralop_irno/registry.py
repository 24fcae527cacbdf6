"""Names to constructors: one small registry for every family of parts.

A part is given as an object (used as it is), as a name, or as a mapping with a name and options:

    "unet"      {"name": "unet", "width": 16}      UNet(...)

Other packages add parts through the entry-point group ``neuralop_irno.<family>``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from neuralop_irno.errors import did_you_mean, expected
from neuralop_irno.functions import with_functions

BOOKKEEPING_KEYS = frozenset({"_config_name"})
"""What zencfg 1.0 writes into every level of a config it turns into a mapping."""


class Registry:
    """A family of named constructors.

    Args:
        family: what the entries are, as the user says it ("correction", "solver").

    Example:
        >>> shapes = Registry("shape")
        >>> @shapes.register("circle")
        ... def circle(radius: float) -> str:
        ...     return f"circle of {radius}"
        >>> shapes.build({"name": "circle", "radius": 2.0})
        'circle of 2.0'
        >>> shapes.build("circel")
        Traceback (most recent call last):
        ValueError: expected the name of a shape, got 'circel'; try 'circle' (the choices are circle)
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._entries: dict[str, Callable[..., Any]] = {}
        self._also: Callable[[], Mapping[str, Callable[..., Any]]] | None = None
        self._prefixes: dict[str, Callable[[str], Callable[..., Any]]] = {}
        self._plugins_loaded = False

    def register_prefix(self, prefix: str, find: Callable[[str], Callable[..., Any]]) -> None:
        """Let ``prefix:word`` name whatever a function finds for the word."""
        self._prefixes[prefix] = find

    def also_from(self, source: Callable[[], Mapping[str, Callable[..., Any]]]) -> None:
        """Look names up in a further place too, on every call; our own entries come first."""
        self._also = source

    def register(self, name: str, entry: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Add an entry, as a call or as a decorator. A name that is taken is refused."""
        if entry is None:
            return lambda decorated: self.register(name, decorated)
        if self._entries.get(name, entry) is not entry:
            raise ValueError(
                expected(f"a new {self.family} name", f"'{name}', which is taken", "another name")
            )
        self._entries[name] = entry
        return entry

    def names(self) -> list[str]:
        """Every name that `lookup` knows, sorted."""
        return sorted(self._known())

    def lookup(self, name: str) -> Callable[..., Any]:
        """The constructor behind a name; an unknown name lists the choices."""
        prefix, colon, word = name.partition(":")
        if colon and prefix in self._prefixes:
            return self._prefixes[prefix](word)
        known = self._known()
        if name not in known:
            raise ValueError(expected(f"the name of a {self.family}", repr(name), did_you_mean(name, known)))
        return known[name]

    def build(self, spec: Any, **context: Any) -> Any:
        """Turn a name or a mapping into an object; anything else passes through unchanged.

        Args:
            spec: a name, a mapping ``{"name": ..., **options}``, or a finished object.
            context: values that the caller knows (channel counts, say). They fill the parameters
                that the constructor has and the options leave open; the others are left out.
        """
        if isinstance(spec, str):
            spec = {"name": spec}
        if not is_config(spec):
            return spec
        options = with_functions(plain(spec))
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(
                expected(f"a 'name' in the {self.family} config", sorted(options), "name: <one of them>")
            )
        constructor = self.lookup(name)
        accepted = {key: value for key, value in context.items() if accepts(constructor, key)}
        return call_with_options(constructor, {**accepted, **options}, f"{self.family} '{name}'")

    def takes(self, spec: Mapping[str, Any], parameter: str) -> bool:
        """Whether the constructor that a config names has this parameter."""
        return parameter in self._parameters(spec)

    def needs(self, spec: Mapping[str, Any], parameter: str) -> bool:
        """Whether the constructor that a config names cannot do without this parameter."""
        found = self._parameters(spec).get(parameter)
        return found is not None and found.default is found.empty

    def _parameters(self, spec: Mapping[str, Any]) -> Mapping[str, inspect.Parameter]:
        try:
            return parameters_of(self.lookup(str(spec.get("name"))))
        except ValueError:
            return {}  # `build` says what is wrong

    def _known(self) -> dict[str, Callable[..., Any]]:
        if not self._plugins_loaded:
            self._plugins_loaded = True
            for plugin in entry_points(group=f"neuralop_irno.{self.family.replace(' ', '_')}s"):
                self.register(plugin.name, plugin.load())
        return {**(self._also() if self._also else {}), **self._entries}


def accepts(constructor: Callable[..., Any], key: str) -> bool:
    """Whether a constructor names this parameter itself (``**kwargs`` does not count)."""
    return key in parameters_of(constructor)


def parameters_of(constructor: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a constructor; a class that hands all it gets to its parent has the parent's."""
    catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for ancestor in constructor.__mro__ if isinstance(constructor, type) else ():
        parameters = inspect.signature(ancestor).parameters
        if any(p.kind not in catch_all for p in parameters.values()):
            return parameters
    return inspect.signature(constructor).parameters


def check_options(constructor: Callable[..., Any], options: Mapping[str, Any], what: str) -> None:
    """Refuse a key that a constructor does not take, with a hint at the one that was meant."""
    parameters = parameters_of(constructor)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in options:
        if key not in parameters:
            hint = did_you_mean(key, parameters.keys() - BOOKKEEPING_KEYS)
            raise ValueError(expected(f"an option of {what}", repr(key), hint))
    for key, value in options.items():
        kinds = PLAIN_TYPES.get(str(parameters[key].annotation))
        if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            wanted = f"{key} of {what} as {parameters[key].annotation}"
            raise TypeError(expected(wanted, repr(value), "another value"))


PLAIN_TYPES = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
"""The annotations that a value from a config file is checked against, and what they admit."""


def call_with_options(constructor: Callable[..., Any], options: Mapping[str, Any], what: str) -> Any:
    """Call a constructor with options; a key too many and one too few are errors with a hint."""
    check_options(constructor, options, what)
    parameters = parameters_of(constructor)
    missing = [
        p.name
        for p in parameters.values()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and p.name not in options
    ]
    if missing:
        raise ValueError(
            expected(f"the option '{missing[0]}' of {what}", sorted(options), f"{missing[0]}=...")
        )
    return constructor(**options)


def is_config(part: Any) -> bool:
    """Whether a part is given as a mapping, or as an object that says how to become one.

    Modules, functions and classes are parts themselves, even if they can describe themselves.
    """
    return isinstance(part, Mapping) or (hasattr(part, "to_dict") and not callable(part))


def plain(config: Any) -> Any:
    """A deep copy of a config in plain dicts and lists, without other packages' bookkeeping keys.

    Takes mappings and objects that say how to become one (``to_dict``); the caller's config is
    never changed, and neither is anything that it holds.

    Example:
        >>> plain({"model_arch": "fno", "_config_name": "Fno", "n_modes": (8, 8)})
        {'model_arch': 'fno', 'n_modes': [8, 8]}
    """
    if is_config(config) and not isinstance(config, Mapping):
        config = config.to_dict()
    if isinstance(config, Mapping):
        return {str(k): plain(v) for k, v in config.items() if k not in BOOKKEEPING_KEYS}
    if isinstance(config, (list, tuple)):
        return [plain(value) for value in config]
    return config


MODELS = Registry("model")
CORRECTIONS = Registry("correction")
SOLVERS = Registry("solver")
STEP_SIZES = Registry("step size")
GRADIENTS = Registry("gradient rule")
METRICS = Registry("metric")
DATASETS = Registry("dataset")
