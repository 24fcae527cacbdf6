"""Vectors in rollout files: fields of their own for xarray, one array of components for ParaView.

Each component has the name of its vector as the attribute ``vector``; components are in the order of fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from neuralop_irno.errors import check_choice, expected

VECTOR = "vector"
"""The attribute of a field that is a component."""


def with_vectors(
    attributes: Mapping[str, Mapping[str, Any]],
    vectors: Mapping[str, Sequence[str]],
    fields: Sequence[str],
) -> dict[str, Mapping[str, Any]]:
    """Attributes of fields, with the vector of each component.

    Args:
        attributes: by name.
        vectors: the names of the components of each vector, in the order of ``fields``.
        fields: all names.

    Example:
        >>> with_vectors({}, {"U": ["u", "v"]}, ["u", "v", "p"])
        {'u': {'vector': 'U'}, 'v': {'vector': 'U'}}
    """
    known: dict[str, Mapping[str, Any]] = dict(attributes)
    for vector, components in vectors.items():
        for name in components:
            check_choice(f"components of the vector {vector}", name, fields)
            if VECTOR in known.get(name, {}):
                wanted = "fields that are components of one vector"
                raise ValueError(expected(wanted, f"{name} in two", "vectors={'U': ['u', 'v']}"))
            known[name] = {**known.get(name, {}), VECTOR: vector}
        if list(components) != [name for name in fields if name in components]:
            wanted = f"the components of the vector {vector} in the order of the fields"
            raise ValueError(expected(wanted, list(components), f"fields={list(components)}"))
    return known


def drawn(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The arrays for ParaView, and the fields that each is made of.

    Args:
        fields: attributes of each field, by name, in the order of fields.

    Example:
        >>> drawn({"u": {"vector": "U"}, "p": {}, "v": {"vector": "U"}})
        {'U': ['u', 'v'], 'p': ['p']}
    """
    arrays: dict[str, list[str]] = {}
    for name, attributes in fields.items():
        arrays.setdefault(str(attributes.get(VECTOR, name)), []).append(name)
    return arrays


def drawn_of(group: Any) -> dict[str, list[str]]:
    """The same for the fields of a rollout file."""
    fields = json.loads(group.attrs["layout"])["fields"]
    return drawn({name: group[name].attrs for name in fields})


def width_of(channels: int) -> int:
    """The components of an array for ParaView: two get a third, 0, to form a vector."""
    return 3 if channels == 2 else channels
