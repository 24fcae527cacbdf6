"""Prints the licences of the package's dependencies in Markdown, from the metadata of what is installed."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires

from packaging.requirements import Requirement

from irno_cli.extras import EXTRAS

NAME = "neuralop_irno"

HEADER = """# Licences of the dependencies

Written by `make licences` from the metadata of the installed packages. `neuralop_irno` itself is under the
MIT licence and contains no code of these packages: pip installs them beside it. The wheel of imageio-ffmpeg
contains the program ffmpeg in a build under the GPL, which is started as a process.

| package | licence | comes with |
|---|---|---|"""


def needed(owner: str, extra: str = "") -> set[str]:
    """The distributions that a distribution, or one of its extras, needs on this machine, directly."""
    try:
        wanted = [Requirement(line) for line in requires(owner) or []]
    except PackageNotFoundError:
        return set()
    held = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": extra})]
    if extra:
        held = [each for each in held if "extra" in str(each.marker)]
    return {re.sub(r"[-_.]+", "-", each.name).lower() for each in held}


def closure(names: set[str]) -> set[str]:
    """The names, and what they need in turn."""
    found: set[str] = set()
    new = names
    while new:
        found |= new
        new = {other for name in new for other in needed(name)} - found
    return found


def licence(found: Distribution) -> str:
    """The licence of a distribution: its expression, or its classifiers, or the first line of its text."""
    stated = found.metadata
    if stated.get("License-Expression"):
        return str(stated["License-Expression"])
    classes = [
        line.split(" :: ")[-1] for line in stated.get_all("Classifier", []) if line.startswith("License ::")
    ]
    text = (stated.get("License") or "").strip().split("\n")[0]
    return ", ".join(classes) or text[:60] or "not stated in its metadata"


def row(name: str, owner: str) -> str:
    """A row of the table."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return f"| {name} | not installed where this was written | {owner} |"
    return f"| {name} | {licence(found)} | {owner} |"


direct = needed(NAME)
known = closure(direct)
print(HEADER)
for name in sorted(known):
    print(row(name, "the package" if name in direct else "its dependencies"))
with_extras: dict[str, list[str]] = {}
for extra in EXTRAS:
    for name in closure(needed(NAME, extra)) - known:
        with_extras.setdefault(name, []).append(f"`{extra}`")
for name, extras in sorted(with_extras.items()):
    print(row(name, f"the extra{'s' * (len(extras) > 1)} {', '.join(extras)}"))
