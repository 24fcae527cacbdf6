"""``irno list``: the names that a config may use."""

from __future__ import annotations

import argparse

from irno_cli.options import add_json, result

HELP = "list the registered models, corrections, solvers, metrics, ..."
DESCRIPTION = "Lists every name that a config may use, by family; plugins are included."


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("family", nargs="*", help="one family only, such as corrections or step sizes")
    add_json(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno import registry
    from neuralop_irno.errors import check_choice

    registries = [part for part in vars(registry).values() if isinstance(part, registry.Registry)]
    content = {f"{part.family}s": part.names() for part in registries}
    family = " ".join(options.family)
    if family:
        check_choice("a family of names", family, content)
        content = {family: content[family]}
    text = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in content.items())
    result(options, content, text)
