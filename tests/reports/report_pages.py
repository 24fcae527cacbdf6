"""A page as its elements, for the tests of reports."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import NamedTuple

EVIL = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
"""A name that would run as a script if it were not escaped."""

VOID = {"meta", "img"}


class Element(NamedTuple):
    name: str
    attributes: dict[str, str | None]


class Parsed(HTMLParser):
    """The elements of a page in their order, and the text of each cell; unclosed elements are an error."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["style"], ["script"]):
            self.text.append(data)

    def named(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a name."""
        return [each.attributes for each in self.elements if each.name == name]
