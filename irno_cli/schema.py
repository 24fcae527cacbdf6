"""``irno schema``: what editors complete and check configs by."""

from __future__ import annotations

import argparse
import json

HELP = "print the JSON schema of configs"
DESCRIPTION = (
    "Prints a JSON schema, by which editors complete and check configs: "
    "irno schema > irno.schema.json, and in the config the comment "
    "'# yaml-language-server: $schema=irno.schema.json'."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(options: argparse.Namespace) -> None:
    """Run it."""
    from neuralop_irno.schema import config_schema

    print(json.dumps(config_schema(), indent=1))
