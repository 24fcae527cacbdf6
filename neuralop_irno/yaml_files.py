"""YAML files, read by the core schema of YAML 1.2 and written so that YAML 1.1 reads the same.

PyYAML follows YAML 1.1, where ``1e-3`` is a string, ``no`` is false, ``1:30`` is 90 and a repeated key
silently replaces the first. Here ``1e-3`` is a number, only ``true`` and ``false`` are booleans, dates are
strings, and repeated keys are refused. Aliases are expanded up to a limit, since a file of four hundred bytes
can expand to a billion values.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from neuralop_irno.errors import expected

LARGEST = 2**18
"""Largest size of a file in bytes. PyYAML reads about 100 kB per second."""
MOST = 100_000
"""Largest number of values in a file, with aliases expanded."""
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
"""For each type the pattern of unquoted text, by the core schema of YAML 1.2, and its first characters."""


class _Loader(yaml.SafeLoader):
    """Reads plain data: mappings without repeated keys, lists, text, numbers, true, false and null."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as PyYAML has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        # Keys merged by << may be repeated, to override them.
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
    """Writes YAML that `_Loader` and readers of YAML 1.1 read alike: ambiguous strings are quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind, (_pattern, _first) in PLAIN.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, as plain data of at most 100,000 values.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not YAML, not a mapping, too large, or repeats a key.
    """
    source = Path(path)
    if source.is_dir():
        inside = source / "config.yaml"
        hint = str(inside) if inside.is_file() else EXAMPLE
        raise FileNotFoundError(expected("a config file", f"the folder {source}", hint))
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
    """The value of YAML text, as plain data.

    Example:
        >>> parsed("{rate: 1e-3, norm: no, shifts: true, sizes: [8, 0x10], day: 2026-11-01}")
        {'rate': 0.001, 'norm': 'no', 'shifts': True, 'sizes': [8, 16], 'day': '2026-11-01'}
    """
    return copy.deepcopy(_parsed(text))


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """The value of YAML text; kept, since the studies of the package share one file of problems."""
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
    r"""Plain data as YAML; `read_yaml` returns the same data.

    Example:
        >>> written({"name": "1e-3", "rate": 1e-3})
        b"name: '1e-3'\nrate: 0.001\n"
    """
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True).encode()


def _values(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """The number of values of a node, with aliases expanded."""
    if id(node) in above:
        raise yaml.YAMLError("an alias that holds itself")
    if id(node) not in known:
        inside = (*above, id(node))
        pairs = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_values(part, known, inside) for part in parts)
    return known[id(node)]


def _plain(value: Any) -> Any:
    """The value itself; raises YAMLError for bytes, sets and dates, which tags can create."""
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
