"""neuraloperator, imported without its side effects, and its models by name.

``import neuralop`` sets ten warning filters for the process, and prints that torch-harmonics is missing
where it is an older one. All other modules import neuraloperator's names from here, so that the user's
filters do not change and results alone are printed.
"""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from neuralop_irno.errors import expected
from neuralop_irno.functions import described_function, with_functions
from neuralop_irno.registry import MODELS, Part, given_by_name, is_config, parameters_of, plain

with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
    from neuralop import Trainer
    from neuralop.layers.base_spectral_conv import BaseSpectralConv
    from neuralop.layers.spectral_convolution import SpectralConv
    from neuralop.models import CODANO, FNO, FNOGNO, GINO, TFNO, UNO, UQNO
    from neuralop.models.base_model import BaseModel

__all__ = [
    "CODANO", "FNO", "FNOGNO", "GINO", "TFNO", "UNO", "UQNO", "BaseModel", "BaseSpectralConv",
    "SpectralConv", "Trainer", "build_model", "constructor_of", "described", "model_of",
]  # fmt: skip

OUR_NAMES = {"localno": "local_no"}
"""Our names of models that neuraloperator registers under others."""

# neuraloperator's own registry is read on every look-up; it lacks these two.
MODELS.also_from(lambda: {OUR_NAMES.get(name, name): kind for name, kind in BaseModel._models.items()})
MODELS.register("uno", UNO)
MODELS.register("codano", CODANO)


def _refiner(**options: Any) -> Any:
    """The entry ``irno`` of neuraloperator until the refiner, which takes its place, is imported."""
    return MODELS.lookup("irno")(**options)


BaseModel._models.setdefault("irno", _refiner)

OTHER_CALLS = {"otno": "OTNO, which takes the maps of an optimal transport"}
"""Models that no adapter fits as they are; by name they are built inside of one."""

BUILT_FROM = "_built_from"
"""The attribute of a model in which `build_model` stores the config that builds it again."""


def build_model(spec: Any, in_channels: int | None = None, out_channels: int | None = None) -> Any:
    """A model from a config with neuraloperator's options; an object is returned unchanged.

    The complete config, with channels, is stored in the model, so that the config returned by `described`
    builds it again without data.

    Args:
        spec: ``{"model_arch": "fno", "n_modes": [16, 16], ...}``.
        in_channels: channels of x, if the config does not set them.
        out_channels: channels of the answer, if the config does not set them.

    Example:
        >>> fno = build_model({"model_arch": "fno", "n_modes": [4, 4], "hidden_channels": 4}, 2, 1)
        >>> fno.in_channels, fno.out_channels
        (2, 1)
    """
    if isinstance(spec, str):
        spec = {"model_arch": spec}
    if not is_config(spec):
        return spec
    words = plain(spec)
    stated = words.get("data_channels")
    sizes = {"in_channels": in_channels if stated is None else stated, "out_channels": out_channels}
    for name in ("base_model", "net"):  # UQNO, and adapters of networks on points and graphs
        if given_by_name(words.get(name)):
            words[name] = build_model(words[name], **sizes)
    part = model_part(words)
    named = {part.name_of(name): size for name, size in sizes.items() if size is not None}
    known = {name: size for name, size in named.items() if part.takes(name)}
    options = {**part.options, **{name: size for name, size in known.items() if name not in part.options}}
    # Before the constructor is called: CODANO modifies lists in its arguments.
    config = {"model_arch": words["model_arch"], **described(options)}
    model = part.with_options(**options).build()
    setattr(model, BUILT_FROM, config)
    return model


def model_part(spec: Mapping[str, Any]) -> Part:
    """The constructor of a model and its options, checked; without channels, which `build_model` adds."""
    options = with_functions(plain(spec))
    arch = options.pop("model_arch", None)
    if not isinstance(arch, str):
        raise ValueError(expected("'model_arch' in a model config", sorted(options), "model_arch: fno"))
    options.pop("data_channels", None)
    return Part(constructor_of(arch), options, f"model '{arch}'")


def constructor_of(arch: str) -> Callable[..., Any]:
    """The constructor of a model by name; capital letters do not matter."""
    name = arch.lower()
    return MODELS.lookup(OUR_NAMES.get(name, name))


def refuse_other_calls(arch: str) -> None:
    """Raise ValueError for a model name of `OTHER_CALLS`."""
    if arch.lower() in OTHER_CALLS:
        hint = f"{{'model_arch': {arch.lower()!r}, ..}}, or irno.PointOperator of a function around it"
        raise ValueError(expected("a model that maps x to a field", OTHER_CALLS[arch.lower()], hint))


def recorded_config(model: object) -> dict[str, Any] | None:
    """The config that builds a neuraloperator model again, from what its base class recorded.

    None for models that it does not record (UNO, CODANO).

    Example:
        >>> config = recorded_config(FNO((4, 4), 2, 1, 8, n_layers=1))
        >>> config["model_arch"], config["n_modes"], config["n_layers"]
        ('fno', [4, 4], 1)
    """
    if not isinstance(model, BaseModel):
        return None
    recorded = dict(model._init_kwargs)
    parameters = parameters_of(type(model))
    arguments = dict(zip(parameters, recorded.pop("args", ()), strict=False))
    # Omit only the defaults of the class itself: those of TFNO differ from those of FNO, its parent.
    own = {name: described(p.default) for name, p in inspect.signature(type(model)).parameters.items()}
    # For an argument passed by position, neuraloperator records the default; ``arguments`` has the value.
    given = {
        name: value
        for name, value in {**recorded, **arguments}.items()
        if name in parameters and not (name in own and described(value) == own[name])
    }
    name = model._name.lower()
    return {"model_arch": OUR_NAMES.get(name, name), **described(given)}


def described(part: Any) -> Any:
    """A part of a model as plain data: the config that builds it, or ``{"object": class name}``.

    Example:
        >>> from torch import nn
        >>> described({"name": "fno", "n_modes": (4, 4), "non_linearity": nn.ReLU()})
        {'name': 'fno', 'n_modes': [4, 4], 'non_linearity': {'object': 'ReLU'}}
        >>> described(build_model({"model_arch": "deeponet", "width": 4}, 2, 1))
        {'model_arch': 'deeponet', 'width': 4, 'in_channels': 2, 'out_channels': 1}
    """
    part = plain(part)
    if isinstance(part, Mapping):
        return {key: described(value) for key, value in part.items()}
    if isinstance(part, list):
        return [described(value) for value in part]
    if part is None or isinstance(part, (str, int, float)):
        return part
    if hasattr(part, BUILT_FROM):  # also of a model that was changed after its constructor
        return described(getattr(part, BUILT_FROM))
    return recorded_config(part) or described_function(part) or {"object": type(part).__name__}


def model_of(name: str, module: str | None = None) -> Any:
    """A model class of neuraloperator that some versions lack; raises the error of its import.

    neuraloperator itself ignores that error for the models that need torch-harmonics.

    Args:
        name: of the class.
        module: of its file in ``neuralop.models``, by default the name in lower case.
    """
    with redirect_stdout(io.StringIO()):
        return getattr(import_module(f"neuralop.models.{module or name.lower()}"), name)


def multigrid_patching() -> Any:
    """neuraloperator's class that cuts a plane into patches with coarse surroundings."""
    from neuralop.training.patching import MultigridPatching2D

    return MultigridPatching2D
