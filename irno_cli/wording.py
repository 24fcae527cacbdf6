"""Hints of the library, ``name=value`` in Python, as options of a command or as lines of a config."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

TRY = "; try "

IN_CONFIG = "(in the config at "
"""The start of the note by which an error says that its option is of the config."""

PHRASES = {
    "clock=Clock(step=0.1)": "--step 0.1",
    "Window(outputs=1)": "--clock with a START alone",
    "restart=1": "--clock with a START alone",
    "Window(order='time')": "irno.rollout(.., window=Window(order='time')) in Python",
}
"""Hints in which an option of a command is an object of Python."""

OTHER_NAMES = {"size": "patches"}
"""Arguments of the library whose options have another name."""

NAME = re.compile(r"(?<![\w.'\"=])([a-z]\w*)=(?!=)")
WORD = re.compile(r"-?[\w.+-]*\w|\.\.\.?")
OTHERS = re.compile(r"(?:,| or) '[\w-]+'(?! on\b)")
"""Further values after the first one: ``existing='continue' or 'overwrite'``."""

OF_A_FLAG = re.compile(r"--[a-z-]+ (?:\w+=[^ ,]+,)*$")
"""The text before ``name=value`` that is the value of an option of the command."""

OF_PYTHON = re.compile(r"(?:(?! or |, )[^;])*\bin Python\b")
PLAIN = re.compile(r"[A-Za-z_](?:[\w./-]*\w)?")
RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Words that YAML does not read as text."""


class Verbatim(str):
    """A description in place of a value, ``<the number of axes>``."""

    __slots__ = ()


def worded(message: str, flags: Mapping[str, str]) -> str:
    """The message of an error whose hint says how to set options without Python.

    An argument of the library becomes the option of the command that has its name, or else a line of YAML.
    What is inside a call, of a class say, or a list, and what is ``in Python`` is left as it is.

    Args:
        message: in the grammar, expected X, got Y; try Z.
        flags: the options of the command by their names in Python.

    Example:
        >>> worded("expected p, got q; try max_steps=6, or padding=None", {"max_steps": "--max-steps"})
        'expected p, got q; try --max-steps 6, or padding: null'
    """
    head, found, hint = message.partition(TRY)
    own = {} if IN_CONFIG in hint else flags
    text, _, note = hint.partition(f" {IN_CONFIG}")
    phrase = PHRASES.get(text) if "clock" in own else None
    said = _options(text, own) if phrase is None else phrase
    return f"{head}{found}{said}{hint[len(text) :] if note else ''}"


def _options(hint: str, flags: Mapping[str, str]) -> str:
    done, place = "", 0
    for found in NAME.finditer(hint):
        before = hint[: found.start()]
        if found.start() < place or _in_call(before) or OF_A_FLAG.search(before):
            continue
        end = _end_of_value(hint, found.end())
        text = hint[found.end() : end]
        if OF_PYTHON.match(hint, end) or hint[end : end + 1] in ("(", "[", "."):
            continue
        value = _value(text)
        done += hint[place : found.start()] + _option(found[1], value, bool(text), flags)
        place = end
        while isinstance(value, str) and (more := OTHERS.match(hint, place)):
            done, place = done + more[0].replace("'", ""), more.end()
    return done + hint[place:]


def _in_call(before: str) -> bool:
    """Whether a text ends inside the brackets of a call, or of a list."""
    calls: list[bool] = []
    for place, letter in enumerate(before):
        if letter in "([{":
            calls.append(letter == "[" or bool(re.match(r"[\w\])]", before[place - 1 : place])))
        elif letter in ")]}" and calls:
            calls.pop()
    return any(calls)


def _end_of_value(hint: str, start: int) -> int:
    """Where the value of an argument ends."""
    first = hint[start : start + 1]
    if first in ("'", '"'):
        return hint.find(first, start + 1) + 1 or len(hint)
    if first and first in "([{<":
        depth = 0
        for place in range(start, len(hint)):
            depth += (hint[place] in "([{<") - (hint[place] in ")]}>")
            if not depth:
                return place + 1
        return len(hint)
    word = WORD.match(hint, start)
    return start if word is None else word.end()


def _value(text: str) -> Any:
    """The value that a text is in Python, ``...`` for one that is not stated; other texts as they are."""
    if text in ("", "..", "..."):
        return ...
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return Verbatim(text)


def _option(name: str, value: Any, stated: bool, flags: Mapping[str, str]) -> str:
    flag = flags.get(name) or flags.get(OTHER_NAMES.get(name, ""))
    if flag is None:
        return f"{name}: {_yaml(value)}" if stated else name
    if value is None or value is False or value == () or value == []:
        return f"no {flag}"
    if value is True or not stated:
        return flag
    values = value if isinstance(value, (list, tuple)) else (value,)
    return f"{flag} {','.join(map(_text, values))}"


def _yaml(value: Any) -> str:
    """A value in YAML, in one line."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(part)}' for key, part in value.items())}}}"
    if isinstance(value, str) and not isinstance(value, Verbatim):
        return value if PLAIN.fullmatch(value) and value.lower() not in RESERVED else repr(value)
    return _text(value)


def _text(value: Any) -> str:
    if value is ...:
        return "..."
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
