"""Tables that a click on a column's head sorts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neuralop_irno.reports.markup import Markup, joined, tag
from neuralop_irno.reports.numbers import key_of, shown

LONG = 48
"""The letters of a cell above which its text takes several lines."""

IN_VIEW = 15
"""The rows of a table that are in view at once, by ``max-height`` in page.css."""


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], caption: str | None = None) -> Markup:
    """A table.

    Args:
        head: the names of the columns.
        rows: a value for each column; numbers are sorted as numbers, means by their mean.
        caption: what it shows. The number of rows is added if not all are in view at once.
    """
    body = [tuple(row) for row in rows]
    if len(body) > IN_VIEW:
        count = f"{len(body)} rows, the table scrolls"
        caption = count if caption is None else f"{caption}; {count}"
    numeric = [any(key_of(row[place]) is not None for row in body) for place in range(len(head))]
    classes = ["number" if each else None for each in numeric]
    titles = [
        tag("th", tag("button", name, type="button"), scope="col", class_=each)
        for name, each in zip(head, classes, strict=True)
    ]
    lines = [
        tag(
            "tr",
            *(
                tag("td", text := shown(value), class_=each or _long(text), data_value=key_of(value))
                for value, each in zip(row, classes, strict=True)
            ),
        )
        for row in body
    ]
    return tag(
        "div",
        tag(
            "table",
            None if caption is None else tag("caption", caption),
            tag("thead", tag("tr", *titles)),
            tag("tbody", joined(*lines)),
            class_="sortable",
        ),
        class_="scroll",
        tabindex=0,
    )


def table_of(rows: Sequence[Mapping[str, Any]], caption: str | None = None) -> Markup:
    """A table of rows by the names of their columns; empty columns are left out."""
    columns = dict.fromkeys(name for row in rows for name in row)
    head = [name for name in columns if any(shown(row.get(name)) for row in rows)]
    return table(head, ([row.get(name) for name in head] for row in rows), caption)


def options(content: Mapping[str, Any], caption: str | None = None) -> Markup:
    """Two columns without sorting: names and values, those of nested mappings with dots."""
    lines = [
        tag("tr", tag("th", name, scope="row"), tag("td", shown(value) or "none"))
        for name, value in _flat(content).items()
    ]
    head = None if caption is None else tag("caption", caption)
    return tag(
        "div",
        tag("table", head, tag("tbody", joined(*lines)), class_="options"),
        class_="whole scroll",
        tabindex=0,
    )


def _long(text: str) -> str | None:
    """The class of a cell whose text takes several lines."""
    return "long" if len(text) > LONG else None


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dots between the names.

    Example:
        >>> _flat({"a": 1, "b": {"c": 2, "d": {}}})
        {'a': 1, 'b.c': 2}
    """
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found
