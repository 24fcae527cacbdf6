"""What README, docs and examples say to type exists: commands, their options, scripts and headings."""

import argparse
import re
from functools import cache
from pathlib import Path

import pytest

from irno_cli.main import parser

ROOT = Path(__file__).parent.parent
DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".py", ".yaml", ".txt"))


@cache
def options() -> dict[str, set[str]]:
    """The options of each command."""
    [commands] = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return {name: set(command._option_string_actions) for name, command in commands.choices.items()}


def commands(page: Path) -> list[str]:
    """The lines ``irno command ..`` of a page: between backticks, in blocks, and in comments."""
    text = page.read_text()
    typed = re.findall(r"`(irno [^`\n]+)`", text)
    return [*typed, *re.findall(r"^(?:\s{4,}|\$ |#\s+|)(irno [a-z]+ .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("page", [*DOCS, *SCRIPTS], ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for line in commands(page):
        name = line.split()[1]
        if name.isalpha() and name.islower():
            assert name in options(), line
            flags = set(re.findall(r"(?<=[ \[])--[a-z-]+", line.partition(" #")[0]))
            assert flags <= options()[name], line


@pytest.mark.parametrize("page", [*DOCS, *SCRIPTS], ids=lambda page: page.name)
def test_scripts_exist(page: Path) -> None:
    for script in re.findall(r"\bpython3? (?:-\S+ )*((?:examples|tests)/\S+\.py)", page.read_text()):
        assert (ROOT / script).exists(), script


def headings(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub names them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"(?m)^#+ (.*)$", text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_to_headings_lead_to_one(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        other = page.parent / target if target else page
        assert other.exists(), target
        if other.suffix == ".md":
            assert anchor in headings(other), f"{target}#{anchor}"
