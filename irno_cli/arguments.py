"""An argument parser whose errors are in the grammar of all others: expected X, got Y; try Z."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

BAD_INPUT = 2

OF_A_VALUE = re.compile(r"argument (?P<flag>[^:]+): (?P<wanted>expected .*, got .*; try )(?P<hint>.*)")
WITHOUT_VALUE = re.compile(r"argument (?P<flag>[^:]+): expected .* arguments?")
MISSING = re.compile(r"the following arguments are required: (?P<names>.*)")
AMBIGUOUS = re.compile(r"ambiguous option: (?P<word>\S+) could match (?P<flags>.*)")
EXCLUSIVE = re.compile(r"argument (?P<one>[^:]+): not allowed with argument (?P<other>.*)")


class Arguments(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with errors of one line after the usage, and the exit code of bad input."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(BAD_INPUT, f"irno: {self._in_our_grammar(message)}\n")

    def flags(self) -> list[str]:
        """The options of the command."""
        return [word for action in self._actions for word in action.option_strings if len(word) > 2]

    def refuse(self, words: Iterable[str]) -> NoReturn:
        """End with an error about words that the command does not have."""
        from neuralop_irno.errors import did_you_mean, expected

        word, *_ = words
        if word.startswith("-"):
            self.error(expected(f"an option of {self.prog}", word, did_you_mean(word, self.flags())))
        self.error(expected(f"no further words for {self.prog}", word, f"{self.prog} --help"))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        from neuralop_irno.errors import did_you_mean, expected

        is_command = isinstance(action, argparse._SubParsersAction)
        wanted = f"a command of {self.prog}" if is_command else f"a value of {_name(action)}"
        message = expected(wanted, repr(value), did_you_mean(str(value), map(str, action.choices)))
        raise argparse.ArgumentError(None, message)

    def _in_our_grammar(self, message: str) -> str:
        from neuralop_irno.errors import expected

        if found := OF_A_VALUE.fullmatch(message):
            flag, hint = found["flag"].split("/")[-1], found["hint"]
            is_value = flag.startswith("-") and " " not in hint
            return f"{found['wanted']}{f'{flag} ' * is_value}{hint}"
        if found := WITHOUT_VALUE.fullmatch(message):
            return expected(f"a value after {found['flag']}", "none", f"{self.prog} --help")
        if found := MISSING.fullmatch(message):
            names = ", ".join(name for name in found["names"].split(", ") if "=" not in name)
            return expected(names, "none", f"{self.prog} --help")
        if found := AMBIGUOUS.fullmatch(message):
            return expected(f"an option of {self.prog}", found["word"], f"one of {found['flags']}")
        if found := EXCLUSIVE.fullmatch(message):
            return expected(f"{found['one']} or {found['other']}", "both", "one of them")
        return message


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
