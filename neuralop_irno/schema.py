"""A JSON schema of config files, for completion and checks in editors: `irno schema > irno.schema.json`.

It is derived from the signatures and docstrings of all registered parts, including plugins.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from neuralop_irno.annotations import SEQUENCES, hint_of
from neuralop_irno.base.weights import WEIGHTS
from neuralop_irno.config import FOLDER
from neuralop_irno.losses.refinement import RefinementLoss
from neuralop_irno.model_config import OBJECT
from neuralop_irno.presets import RECIPES
from neuralop_irno.recipe import Recipe
from neuralop_irno.refiner import IterativeRefiner
from neuralop_irno.registry import (
    CORRECTIONS,
    DATASETS,
    GRADIENTS,
    MODELS,
    SOLVERS,
    STEP_SIZES,
    Registry,
    owner_of,
    parameters_of,
)  # fmt: skip

Schema = dict[str, Any]

RECIPE = "a recipe by name, for what model, loss and training do not state."

NUMBERS: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}

FAMILIES = {
    "base": MODELS,
    "correction": CORRECTIONS,
    "solver": SOLVERS,
    "alpha": STEP_SIZES,
    "gradient": GRADIENTS,
    "data": DATASETS,
}


def config_schema() -> Schema:
    """The schema of a config of `irno train`.

    Example:
        >>> schema = config_schema()
        >>> sorted(schema["properties"])
        ['base_training', 'data', 'folder', 'loss', 'model', 'recipe', 'training']
        >>> schema["$defs"]["training"]["properties"]["epochs"]
        {'description': 'passes over the training set.', 'default': 20, 'type': 'integer'}
    """
    model = _of_options(IterativeRefiner, leave_out=("base", "_config_name"))
    model["properties"] |= {"model_arch": {"const": "irno"}, "base": _reference("base")}
    model["properties"] |= {name: _reference(name) for name in ("correction", "solver", "gradient")}
    model["properties"]["alpha"] = {"anyOf": [{"type": ["number", "array", "null"]}, _reference("alpha")]}
    sections = {
        "data": _reference("data"),
        "model": _reference("model"),
        "base_training": {"anyOf": [_reference("training"), {"type": "null"}]},
        "loss": _reference("loss"),
        "training": _reference("training"),
        "folder": {"type": "string", "default": FOLDER},
        "recipe": {"enum": [*RECIPES, None], "description": RECIPE},
    }
    own = {"model": model, "loss": _of_options(RefinementLoss), "training": _of_options(Recipe)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A config of `irno train`",
        "type": "object",
        "properties": sections,
        "required": ["data", "model"],
        "additionalProperties": False,
        "$defs": {**own, **{key: _of_family(key, family) for key, family in FAMILIES.items()}},
    }


def _of_family(key: str, family: Registry) -> Schema:
    """The schema of a family: a name, or a mapping with a name and its options."""
    word = "model_arch" if key == "base" else "name"
    choices: list[Schema] = [] if key == "data" else [{"enum": family.names()}]
    for name in family.names():
        if ":" in name:  # a prefix, before the names of classes
            continue
        options = _of_options(family.lookup(name))
        options["properties"][word] = {"const": name}
        # Channels and the like are filled in from the data.
        choices.append({**options, "required": [word]})
    if key == "base":
        for choice in choices[1:]:
            choice["properties"][WEIGHTS] = {"type": "string", "description": "a file .pt or .safetensors"}
        files = {"checkpoint": {"type": "string"}, "name": {"type": "string"}}
        choices.append({"type": "object", "properties": files, "required": ["checkpoint"]})
        built = {OBJECT: {"type": "string", "description": "of a base that --base module:function builds"}}
        choices.append({"type": "object", "properties": built, "required": [OBJECT]})
    return {"anyOf": choices}


def _of_options(constructor: Callable[..., Any], leave_out: tuple[str, ...] = ()) -> Schema:
    about, owner = _arguments_in(constructor.__doc__), owner_of(constructor)
    properties, open_ended = {}, False
    for name, parameter in parameters_of(constructor).items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            open_ended |= parameter.kind is parameter.VAR_KEYWORD
        elif name not in leave_out:
            default = {"default": parameter.default} if _is_plain(parameter.default) else {}
            text = {"description": about[name]} if name in about else {}
            kind = _of_hint(hint_of(owner, parameter))
            if parameter.default is None and kind:
                kind = {"anyOf": [kind, {"type": "null"}]}
            properties[name] = {**text, **default, **kind}
    return {"type": "object", "properties": properties, "additionalProperties": open_ended}


def _of_hint(hint: Any) -> Schema:
    """The schema of an annotation; empty, which accepts everything, if it cannot be expressed."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _of_hint(arguments[0])
    if hint in NUMBERS:
        return {"type": NUMBERS[hint]}
    if origin in (Union, UnionType):
        # Objects such as modules cannot stand in a file: they are left out.
        kinds = [kind for kind in map(_of_hint, arguments) if kind]
        return {"anyOf": kinds} if kinds and Any not in arguments else {}
    if origin is Literal:
        return {"enum": list(arguments)}
    if (origin or hint) in SEQUENCES:
        # Elements of tuples of fixed length are not described: the constructor checks them.
        items = _of_hint(arguments[0]) if len(arguments) == 1 or arguments[1:] == (...,) else {}
        return {"type": "array", **({"items": items} if items else {})}
    if isinstance(origin or hint, type) and issubclass(origin or hint, Mapping):
        return {"type": "object"}
    return {}


def _arguments_in(docstring: str | None) -> dict[str, str]:
    """The descriptions of arguments or attributes in a Google-style docstring."""
    block = re.search(r"\n(?:Args|Attributes):\n((?:    .*\n?|\n)+)", inspect.cleandoc(docstring or ""))
    found = re.findall(r"^    (\w+): ((?:.*\n?)(?:     .*\n?)*)", block[1] if block else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
