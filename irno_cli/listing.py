"""``irno list``: the names that a config may use."""

from __future__ import annotations

import argparse
from typing import Any

from irno_cli.options import result


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "list",
        help="list the registered models, corrections, solvers, metrics, ...",
        description="Lists every name that a config may use, by family; plugins are included.",
    )
    command.add_argument("family", nargs="*", help="one family only, such as corrections or step sizes")
    command.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno import registry
    from neuralop_irno.errors import did_you_mean, expected

    registries = [part for part in vars(registry).values() if isinstance(part, registry.Registry)]
    content = {f"{part.family}s": part.names() for part in registries}
    family = " ".join(options.family)
    if family:
        if family not in content:
            raise ValueError(expected("a family of names", repr(family), did_you_mean(family, content)))
        content = {family: content[family]}
    text = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in content.items())
    result(options, content, text)
