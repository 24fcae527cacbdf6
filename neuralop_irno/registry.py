"""Registries from names to constructors, one for each family of parts.

A part is given as an object (used unchanged), as a name, or as a mapping with a name and options:

    "unet"      {"name": "unet", "width": 16}      UNet(...)

Other packages add parts through the entry-point groups ``neuralop_irno.<family>s``.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

from neuralop_irno.annotations import described, fits, hint_of, hint_of_option
from neuralop_irno.elsewhere import Elsewhere
from neuralop_irno.errors import at_key, did_you_mean, expected, in_grammar, shown
from neuralop_irno.functions import with_functions

BOOKKEEPING_KEYS = frozenset({"_config_name"})
"""Keys that zencfg 1.0 adds at every level of a config."""


class Registry:
    """A family of named constructors.

    Args:
        family: the name of the family in messages ("correction", "solver").
        key: the key of a config that selects an entry; errors of `build` name it.
        modules: modules that register entries on import; imported at the first look-up.

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

    def __init__(self, family: str, key: str | None = None, modules: Sequence[str] = ()) -> None:
        self.family, self.key, self.modules = family, key, modules
        self._entries: dict[str, Callable[..., Any]] = {}
        self._elsewhere: dict[str, Elsewhere] = {}
        self._also: Callable[[], Mapping[str, Callable[..., Any]]] | None = None
        self._prefixes: dict[str, Callable[[str], Callable[..., Any]]] = {}
        self._filled = False
        self._broken: dict[str, tuple[str, Exception]] = {}

    def register_prefix(self, prefix: str, find: Callable[[str], Callable[..., Any]]) -> None:
        """Look up names ``prefix:word`` by calling ``find(word)``."""
        self._prefixes[prefix] = find

    def also_from(self, source: Callable[[], Mapping[str, Callable[..., Any]]]) -> None:
        """Add a source of further entries, called at every look-up; registered entries take precedence."""
        self._also = source

    def register(self, name: str, entry: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Add an entry, as a call or a decorator; raises ValueError if the name has another entry."""
        if entry is None:
            return lambda decorated: self.register(name, decorated)
        if self._entries.get(name, entry) is not entry:
            wanted, got = f"a new {self.family} name", f"'{name}', which is taken"
            raise ValueError(expected(wanted, got, f"'my_{name}'"))
        self._entries[name] = entry
        return entry

    def register_elsewhere(self, name: str, entry: Elsewhere) -> None:
        """Add an entry of a package that may be absent; it replaces one of `also_from`."""
        self._elsewhere[name] = entry

    def names(self) -> list[str]:
        """All names that can be built, sorted."""
        return sorted(self._known().keys() - self.absent().keys())

    def absent(self) -> dict[str, str]:
        """The names of packages that are not installed, with what installs them."""
        elsewhere = [(name, part) for name, part in self._known().items() if isinstance(part, Elsewhere)]
        return {name: part.install for name, part in sorted(elsewhere) if part.lack()}

    def lookup(self, name: str) -> Callable[..., Any]:
        """The constructor of a name; the ValueError for an unknown name lists the choices."""
        known = self._known()  # first: it imports the modules that register prefixes
        prefix, colon, word = name.partition(":")
        if colon and prefix in self._prefixes:
            return self._prefixes[prefix](word)
        if name in known:
            found = known[name]
            return found.constructor() if isinstance(found, Elsewhere) else found
        if name in self._broken:
            message, cause = self._broken[name]
            raise ValueError(message) from cause
        wanted = f"the name of a{'n' * (self.family[0] in 'aeiou')} {self.family}"
        raise ValueError(expected(wanted, shown(name), did_you_mean(name, known)))

    def build(self, spec: Any, **context: Any) -> Any:
        """Build an object from a name or a mapping; an object is returned unchanged.

        Args:
            spec: a name, a mapping ``{"name": ..., **options}``, or an object.
            context: defaults from the caller (for example channels) for options that are not set; those that
                the constructor does not have are left out.
        """
        if not given_by_name(spec):
            return spec
        with at_key(self.key) if self.key else nullcontext():
            return self.part(spec).build(**context)

    def part(self, spec: Any) -> Part:
        """The constructor of a name or a mapping with its options, checked but not called."""
        options = with_functions(named(spec))
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(
                expected(f"a 'name' in the {self.family} config", sorted(options), "name: <one of them>")
            )
        return Part(self.lookup(name), options, f"{self.family} '{name}'")

    def takes(self, spec: Mapping[str, Any], parameter: str) -> bool:
        """Whether the constructor named by a config has this parameter."""
        return parameter in self._parameters(spec)

    def needs(self, spec: Mapping[str, Any], parameter: str) -> bool:
        """Whether the constructor named by a config requires this parameter."""
        found = self._parameters(spec).get(parameter)
        return found is not None and found.default is found.empty

    def _parameters(self, spec: Mapping[str, Any]) -> Mapping[str, inspect.Parameter]:
        try:
            return parameters_of(self.lookup(str(spec.get("name"))))
        except ValueError:
            return {}  # `build` raises the error

    def _known(self) -> dict[str, Callable[..., Any] | Elsewhere]:
        if not self._filled:
            self._filled = True
            for module in self.modules:
                import_module(module)
            for plugin in entry_points(group=f"neuralop_irno.{self.family.replace(' ', '_')}s"):
                self._load(plugin)
        return {**(self._also() if self._also else {}), **self._elsewhere, **self._entries}

    def _load(self, plugin: EntryPoint) -> None:
        """Register the entry of another package; if that fails, warn, and raise the error at look-ups."""
        try:
            self.register(plugin.name, plugin.load())
        except Exception as error:  # any error of the plugin; the others are still loaded
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
            message = expected(
                f"the {self.family} '{plugin.name}' of {plugin.value} to load",
                problem,
                "repairing or uninstalling the package that adds it",
            )
            self._broken[plugin.name] = message, error
            warnings.warn(message, stacklevel=5)


@dataclass(frozen=True)
class Part:
    """A constructor and the options that a config gives for it, checked before anything is built.

    Attributes:
        constructor: a class or function.
        options: each is a parameter of the constructor and fits its annotation.
        what: the part as a noun phrase for errors ("solver 'picard'").

    Example:
        >>> Part(complex, {"real": 1.0}, "a number").build()
        (1+0j)
    """

    constructor: Callable[..., Any]
    options: Mapping[str, Any]
    what: str

    def __post_init__(self) -> None:
        check_options(self.constructor, self.options, self.what)

    def takes(self, parameter: str) -> bool:
        """Whether the constructor has this parameter."""
        return accepts(self.constructor, parameter)

    def name_of(self, option: str) -> str:
        """What the constructor calls ``in_channels`` or ``out_channels``."""
        name: str = getattr(self.constructor, "own_names", {}).get(option, option)
        return name

    def with_options(self, **options: Any) -> Part:
        """The part with further or other options."""
        return replace(self, options={**self.options, **options})

    def refuse_missing(self, later: Collection[str] = ()) -> None:
        """Raise ValueError if an option without a default is not set.

        Args:
            later: options that `build` will get from its caller.
        """
        given = {*self.options, *map(self.name_of, later)}
        for p in parameters_of(self.constructor).values():
            needed = p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            if needed and p.name not in given:
                wanted = f"the option '{p.name}' of {self.what}"
                raise ValueError(expected(wanted, sorted(self.options), f"{p.name}=..."))

    def build(self, **context: Any) -> Any:
        """Call the constructor.

        Args:
            context: defaults for options that are not set; those that the constructor does not have are left
                out.

        Raises:
            ValueError: for a missing option, or for an error of another package during construction, which
                is quoted.
        """
        accepted = {key: value for key, value in context.items() if self.takes(key)}
        options = {**accepted, **self.options}
        self.refuse_missing(accepted)
        hint = "changing the option in this error"
        with in_grammar(f"{self.what} that can be built with these options", hint):
            return self.constructor(**options)


def accepts(constructor: Callable[..., Any], key: str) -> bool:
    """Whether a constructor has this parameter by name (``**kwargs`` does not count)."""
    return key in parameters_of(constructor)


def parameters_of(constructor: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a constructor; those of its parent if it only has ``*args`` and ``**kwargs``."""
    return _signature(owner_of(constructor)).parameters


def owner_of(constructor: Callable[..., Any]) -> Callable[..., Any]:
    """The function or class that defines the signature of a constructor."""
    constructor = inspect.unwrap(constructor)
    catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for ancestor in constructor.__mro__ if isinstance(constructor, type) else ():
        if any(p.kind not in catch_all for p in _signature(ancestor).parameters.values()):
            return ancestor
    return constructor


@lru_cache(maxsize=1024)  # it would be most of the time of reading a config
def _signature(constructor: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(constructor)


def check_options(constructor: Callable[..., Any], options: Mapping[str, Any], what: str) -> None:
    """Check options against the signature of a constructor.

    Raises:
        ValueError: for an unknown option, with the closest one as hint.
        TypeError: for a plain value that does not fit the annotation.
    """
    parameters = parameters_of(constructor)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in options:
        if key not in parameters and not open_ended:
            hint = did_you_mean(key, parameters.keys() - BOOKKEEPING_KEYS)
            raise ValueError(expected(f"an option of {what}", shown(key), hint))
    owner = owner_of(constructor)
    # neuraloperator's models accept None for optional parts, although their annotations exclude it.
    foreign = not str(getattr(owner, "__module__", "")).startswith("neuralop_irno.")
    for key, value in options.items():
        if key not in parameters or value is parameters[key].default or (value is None and foreign):
            continue
        hint_at = hint_of(owner, parameters[key])
        if not fits(value, hint_at):
            wanted = f"{key} of {what} as {described(hint_at)}"
            hint = hint_of_option(parameters[key], value, hint_at)
            with at_key(key):
                raise TypeError(expected(wanted, shown(value), hint))


def call_with_options(constructor: Callable[..., Any], options: Mapping[str, Any], what: str) -> Any:
    """Call a constructor with options that are checked; see `Part`."""
    return Part(constructor, options, what).build()


def is_config(part: Any) -> bool:
    """Whether a part is given as a mapping, or as an object with ``to_dict``.

    Modules, functions and classes are never configs, even if they have ``to_dict``.
    """
    return isinstance(part, Mapping) or (hasattr(part, "to_dict") and not callable(part))


def given_by_name(part: Any) -> bool:
    """Whether a part is given as a name or a config, and not as an object."""
    return isinstance(part, str) or is_config(part)


def named(part: Any) -> Any:
    """The config of a part that is given as a name or a config.

    Example:
        >>> named("unet")
        {'name': 'unet'}
    """
    return {"name": part} if isinstance(part, str) else plain(part)


def plain(config: Any) -> Any:
    """A deep copy of a config in plain dicts, lists and numbers, without other packages' bookkeeping keys.

    Accepts mappings, sequences (also of OmegaConf), numpy's numbers, and objects with ``to_dict``; the given
    config is not modified.

    Example:
        >>> plain({"model_arch": "fno", "_config_name": "Fno", "n_modes": (8, np.int64(8))})
        {'model_arch': 'fno', 'n_modes': [8, 8]}
    """
    if is_config(config) and not isinstance(config, Mapping):
        config = config.to_dict()
    if isinstance(config, Mapping):
        return {str(k): plain(v) for k, v in config.items() if k not in BOOKKEEPING_KEYS}
    if isinstance(config, Sequence) and not isinstance(config, (str, bytes)):
        return [plain(value) for value in config]
    return config.item() if isinstance(config, np.generic) else config


# Module names instead of imports: these modules import this one, and are imported at the first look-up.
_MODELS = (
    "neuralop_irno._neuralop", "neuralop_irno.refiner", "neuralop_irno.models", "neuralop_irno.networks",
    "neuralop_irno.base.foreign_names", "neuralop_irno.base.physicsnemo",
)  # fmt: skip
_SOLVER = ("neuralop_irno.solver",)

MODELS = Registry("model", modules=_MODELS)
CORRECTIONS = Registry("correction", "correction", (*_MODELS, "neuralop_irno.correction"))
SOLVERS = Registry("solver", "solver", (*_SOLVER, "neuralop_irno.networks"))
STEP_SIZES = Registry("step size", "alpha", _SOLVER)
GRADIENTS = Registry("gradient rule", "gradient", _SOLVER)
EQUATIONS = Registry("equation", "equation", ("neuralop_irno.equations",))
PRECONDITIONERS = Registry("preconditioner", "preconditioner", _SOLVER)
METRICS = Registry("metric", modules=("neuralop_irno.metrics",))
DATASETS = Registry("dataset", modules=("neuralop_irno.data",))
