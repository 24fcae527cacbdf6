"""YAML files, read by the rules of YAML 1.2: in both versions' common subset, and nothing that surprises.

PyYAML follows YAML 1.1, where ``1e-3`` is text, ``no`` is false, ``1:30`` is ninety and a second key of the
same name replaces the first in silence. Here numbers are what they look like, only ``true`` and ``false`` are
truth values, dates are text, and a repeated key is refused. Aliases are expanded up to a limit: a file of
four hundred bytes can stand for a billion values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from neuralop_irno.errors import expected

LARGEST = 2**18
"""Bytes of a file. PyYAML reads about 100 kB a second."""
MOST = 100_000
"""Values in a file, each counted as often as it is used."""
EXAMPLE = "examples/configs/*.yaml"

PLAIN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "merge": (r"<<", "<"),
}
"""What unquoted text stands for, by the core schema of YAML 1.2, and what it begins with."""


class _Loader(yaml.SafeLoader):
    """Reads plain data: mappings without repeated keys, lists, text, numbers, true, false and null."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as PyYAML has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        # Merged keys (<<) may be given again: that is what they are for.
        seen = set()
        for key in (self.construct_object(key) for key, _ in node.value if not key.tag.endswith(":merge")):
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} twice", problem_mark=node.start_mark)
            seen.add(key if isinstance(key, Hashable) else None)
        return super().construct_mapping(node, deep)

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node))
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        text = str(self.construct_scalar(node)).lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader`, and every reader of YAML 1.1, reads back: ambiguous text is quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind, (_pattern, _first) in PLAIN.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file: plain data, at most 100,000 values.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is no YAML, no mapping, too large, or repeats a key.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(expected("a config file", f"no file at {source}", EXAMPLE))
    size = source.stat().st_size
    if size > LARGEST:
        raise ValueError(expected(f"at most {LARGEST} bytes in {source.name}", size, "a smaller file"))
    try:
        content = parsed(source.read_text())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise ValueError(expected(f"YAML in {source.name}", problem, EXAMPLE)) from error
    if not isinstance(content, dict) or not content:
        got = type(content).__name__ if content else "nothing"
        raise ValueError(expected(f"a mapping in {source.name}", got, "data: ..., model: ..."))
    return content


def parsed(text: str) -> Any:
    """What YAML text stands for.

    Example:
        >>> parsed("{rate: 1e-3, norm: no, shifts: true, sizes: [8, 0x10], day: 2026-11-01}")
        {'rate': 0.001, 'norm': 'no', 'shifts': True, 'sizes': [8, 16], 'day': '2026-11-01'}
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        count = _values(node, {}, ())
        if count > MOST:
            raise yaml.YAMLError(f"{count} values, of which at most {MOST} are read")
        return _plain(loader.construct_document(node))
    finally:
        loader.dispose()


def written(content: Any) -> bytes:
    r"""Plain data as YAML, which `read_yaml` reads back as they were.

    Example:
        >>> written({"name": "1e-3", "rate": 1e-3})
        b"name: '1e-3'\nrate: 0.001\n"
    """
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True).encode()


def _values(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for, with every alias counted as what it stands for."""
    if id(node) in above:
        raise yaml.YAMLError("an alias that holds itself")
    if id(node) not in known:
        inside = (*above, id(node))
        pairs = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_values(part, known, inside) for part in parts)
    return known[id(node)]


def _plain(value: Any) -> Any:
    """The same, if it is plain: a tag can make bytes, sets and dates of text."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int, float)):
                raise yaml.YAMLError(f"the key {key!r}, which is no text")
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise yaml.YAMLError(f"a {type(value).__name__}, which is neither text, number, list nor mapping")
