"""Build data sets from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuralop_irno.data.fields import Splits
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS


def load_splits(config: Mapping[str, Any]) -> Splits:
    """The training, validation and test set of a config such as ``{"name": "turbulence", "size": 32}``."""
    splits: Splits = DATASETS.build(config)
    for split, data in splits.items():
        if not len(data):
            name = config if isinstance(config, str) else config.get("name")
            wanted = f"samples in the {split} split of '{name}'"
            raise ValueError(expected(wanted, "none", "a larger data set"))
    return splits
