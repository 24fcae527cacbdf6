"""``irno schema``: what editors complete and check configs by."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "schema",
        help="print the JSON schema of configs",
        description=(
            "Prints a JSON schema, by which editors complete and check configs: "
            "irno schema > irno.schema.json, and in the config the comment "
            "'# yaml-language-server: $schema=irno.schema.json'."
        ),
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run it."""
    from neuralop_irno.schema import config_schema

    print(json.dumps(config_schema(), indent=1))
