"""HTML elements as text, with everything inside them escaped."""

from __future__ import annotations

from html import escape


class Markup(str):
    """HTML that `tag` made, which is not escaped again."""

    __slots__ = ()


def text(content: object) -> Markup:
    """The content as HTML; characters that would be markup are escaped, unless it is `Markup` already.

    Example:
        >>> text("<script>"), text(Markup("<b></b>"))
        ('&lt;script&gt;', '<b></b>')
    """
    return content if isinstance(content, Markup) else Markup(escape(str(content)))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: its content, each `Markup` or escaped as text; None is left out.
        attributes: by name, with ``_`` for ``-``, and ``class_`` for ``class``; None is left out.

    Example:
        >>> tag("td", "a < b", class_="number", data_value=1)
        '<td class="number" data-value="1">a &lt; b</td>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(text(child) for child in children if child is not None)
    return Markup(f"<{name}{given}>" if name in VOID else f"<{name}{given}>{inside}</{name}>")


def joined(*parts: Markup | None) -> Markup:
    """Elements one after the other."""
    return Markup("\n".join(part for part in parts if part is not None))


VOID = ("meta", "img")
"""Elements without content, which have no end tag."""
