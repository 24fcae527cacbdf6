"""The page of a report: one HTML file that loads nothing and whose policy admits no other script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralop_irno.reports.markup import Markup, joined, tag
from neuralop_irno.reports.numbers import shown
from neuralop_irno.version import VERSION

GENERATOR = "neuralop_irno irno report"
"""The name of the writer in the head of each page."""

STYLE, SCRIPT = (Path(__file__).with_name(name).read_text() for name in ("page.css", "sort.js"))


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading.

    Attributes:
        title: the heading.
        content: below it; None is left out.
    """

    title: str
    content: Sequence[Markup | None]


@dataclass(frozen=True)
class Page:
    """The content of a report.

    Attributes:
        kind: what it reports on: run, study, rollout or diagnosis.
        title: the first heading.
        about: a sentence below it.
        figures: the most important ones, by name.
        alerts: sentences to read first.
        sections: the rest.
        source: how to write it again.
    """

    kind: str
    title: str
    about: str
    figures: Mapping[str, Any]
    alerts: Sequence[str]
    sections: Sequence[Section]
    source: str

    def html(self) -> str:
        """The whole file."""
        sections = [each for each in self.sections if any(part is not None for part in each.content)]
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="generator", content=GENERATOR),
            tag("meta", http_equiv="Content-Security-Policy", content=policy()),
            tag("title", f"{self.title} - {self.kind}"),
            tag("style", Markup(STYLE)),
        )
        tiles = [tag("div", tag("dt", name), tag("dd", shown(value))) for name, value in self.figures.items()]
        alerts = [tag("li", alert) for alert in self.alerts]
        header = tag(
            "header",
            tag("p", self.kind.capitalize(), class_="kind"),
            tag("h1", self.title),
            tag("p", self.about, class_="about"),
            tag("nav", *(tag("a", each.title, href=f"#{_anchor(each.title)}") for each in sections)),
            tag("dl", *tiles, class_="tiles") if tiles else None,
            tag("ul", *alerts, class_="alerts") if alerts else None,
        )
        main = tag("main", joined(*map(_section, sections)))
        footer = tag(
            "footer", tag("p", "Written by ", tag("code", self.source), f", neuralop_irno {VERSION}.")
        )
        body = tag("body", header, main, footer, tag("script", Markup(SCRIPT)))
        return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def policy() -> str:
    """The content security policy: the page's own style and script, data in the page, and nothing else."""
    script = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
        f"script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    )


def command(line: str) -> Markup:
    """A command, in the type of code."""
    return tag("code", line)


def paragraph(*parts: object) -> Markup:
    """A paragraph of text and elements."""
    return tag("p", *parts)


def folded(title: str, *content: Markup) -> Markup:
    """Content that is shown when its title is clicked."""
    return tag("details", tag("summary", title), *content)


def columns(*parts: Markup | None) -> Markup:
    """Tables beside each other, where the window is wide enough."""
    return tag("div", *(tag("div", part) for part in parts if part is not None), class_="columns")


def _section(section: Section) -> Markup:
    return tag("section", tag("h2", section.title), joined(*section.content), id=_anchor(section.title))


def _anchor(title: str) -> str:
    """The name of a section within the page.

    Example:
        >>> _anchor("Errors by step")
        'errors-by-step'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
