"""Recipes by name: the options of a model, its loss and its training that belong together.

A config names one with the key ``recipe``; what the config states has precedence.

Example:
    >>> sorted(RECIPES), RECIPES["paper"]["model"]["alpha"]
    (['paper'], 0.2)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from neuralop_irno.errors import at_key, check_choice

Sections = Mapping[str, Mapping[str, Any]]

RECIPES: Mapping[str, Sections] = {
    "paper": {
        "model": {
            "correction": {"name": "public_unet", "width": 16, "depth": 4},
            "solver": "picard",
            "alpha": 0.2,
            "steps": 6,
            "gradient": "unrolled",
        },
        "loss": {
            "spatial": 1.0,
            "spectral": 1.0,
            "compare": "amplitude",
            "lambda_start": 1.0,
            "lambda_end": 2.0,
            "fixed_point": 0.01,
            "fixed_point_epochs": 5,
        },
        "training": {
            "epochs": 150,
            "batch_size": 16,
            "optimizer": "adam",
            "learning_rate": 3e-4,
            "last_rate": 1e-6,
            "schedule": "cosine",
            "warmup": 0.0,
            "weight_decay": 1e-5,
            "decay": "all",
            "clip": 1.0,
            "ema": 0.0,
            "precision": "float32",
            "replay": 0.0,
            "resolutions": [1],
            "shifts": False,
        },
    },
}
"""The sections of each recipe. ``paper`` is the public configuration of https://arxiv.org/abs/2605.24041 for
active matter; see docs/recipe.md for what remains different."""


def with_recipe(name: str, sections: Sections) -> dict[str, dict[str, Any]]:
    """The sections of a config, with what they do not state taken from a recipe.

    Args:
        name: that of the recipe.
        sections: model, loss and training; not modified.

    Raises:
        ValueError: there is no such recipe.

    Example:
        >>> found = with_recipe("paper", {"model": {"steps": 4, "correction": {"width": 8}}})
        >>> found["model"]["correction"]
        {'name': 'public_unet', 'width': 8, 'depth': 4}
        >>> found["model"]["steps"], found["model"]["alpha"], found["loss"]["fixed_point"]
        (4, 0.2, 0.01)
    """
    recipe = sections_of(name)
    return {key: merged(options, sections.get(key, {})) for key, options in recipe.items()}


def sections_of(name: str) -> dict[str, dict[str, Any]]:
    """A copy of the sections of a recipe; ValueError if there is none of that name."""
    with at_key("recipe"):
        check_choice("a recipe", name, RECIPES)
    return copy.deepcopy({key: dict(options) for key, options in RECIPES[name].items()})


def merged(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into a config, recursively; a mapping with a ``name`` replaces the old one.

    Example:
        >>> merged({"correction": {"name": "unet", "width": 16}, "steps": 4}, {"correction": {"width": 8}})
        {'correction': {'name': 'unet', 'width': 8}, 'steps': 4}
        >>> merged({"correction": {"name": "unet", "width": 16}}, {"correction": {"name": "mgno"}})
        {'correction': {'name': 'mgno'}}
    """
    result = dict(config)
    for key, value in changes.items():
        both = isinstance(result.get(key), Mapping) and isinstance(value, Mapping)
        result[key] = merged(result[key], value) if both and "name" not in value else value
    return result
