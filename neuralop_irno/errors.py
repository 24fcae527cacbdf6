"""Error messages in one form: expected X, got Y; try Z."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEY = "in the config at "
"""The start of a note on an error that contains the path of a config key."""


class DamageError(ValueError):
    """Damage inside a file; its reader raises it again in the usual form, with the name of the file."""


def expected(wanted: str, got: object, hint: str) -> str:
    """The message of an error.

    Args:
        wanted: what is accepted, as a noun phrase.
        got: what was given instead.
        hint: what the user can do: a value, an argument or an action.

    Example:
        >>> expected("steps >= 0", -1, "steps=6")
        'expected steps >= 0, got -1; try steps=6'
    """
    return f"expected {wanted}, got {got}; try {hint}"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint with the closest choice, followed by all choices.

    Example:
        >>> did_you_mean("unett", ["fno", "unet"])
        "'unet' (the choices are fno, unet)"
    """
    names = sorted(choices)
    listing = ", ".join(names)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"'{close[0]}' (the choices are {listing})"
    return f"one of {listing}" if names else "leaving it out: there are no choices"


def check_choice(wanted: str, value: object, choices: Collection[str]) -> None:
    """Raise a ValueError if a value is not among the choices.

    Args:
        wanted: the choices, as a noun phrase in the singular.
        value: what was given.
        choices: the names that are accepted.

    Example:
        >>> check_choice("a scaling", "rsm", ["zscore", "rms"])
        Traceback (most recent call last):
        ValueError: expected a scaling, got 'rsm'; try 'rms' (the choices are rms, zscore)
    """
    if value not in choices:
        raise ValueError(expected(wanted, repr(value), did_you_mean(str(value), choices)))


def check_least(least: float, example: object, **values: float) -> None:
    """Raise a ValueError for the first value below a limit.

    Args:
        least: the smallest value that is accepted.
        example: a value for the hint.
        values: the values, by name.

    Example:
        >>> check_least(1, 4, width=16, depth=0)
        Traceback (most recent call last):
        ValueError: expected depth >= 1, got 0; try depth=4
    """
    for name, value in values.items():
        if value < least:
            raise ValueError(expected(f"{name} >= {least}", value, f"{name}={example}"))


def check_folder(path: str | os.PathLike[str]) -> Path:
    """The path of a folder that exists or can be created.

    Raises:
        ValueError: it, or a folder above it, is a file.

    Example:
        >>> check_folder(__file__)
        Traceback (most recent call last):
        ValueError: expected a folder, got the file ...; try another path
    """
    folder = Path(path)
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise ValueError(expected("a folder", f"the file {part}", "another path"))
    return folder


def shown(value: object, most: int = 80) -> str:
    """A value as text for an error, cut to at most ``most`` characters.

    Example:
        >>> shown("steps"), shown(10**30, most=10)
        ("'steps'", '1000000...')
    """
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= most else f"{text[: most - 3]}..."


@contextmanager
def at_key(key: str) -> Iterator[None]:
    """Add the key of the config to every error as a note; nested keys are joined by dots.

    Example:
        >>> try:
        ...     with at_key("model"), at_key("steps"):
        ...         raise ValueError(expected("steps >= 0", -1, "steps=6"))
        ... except ValueError as error:
        ...     print(one_line(error))
        expected steps >= 0, got -1; try steps=6 (in the config at model.steps)
    """
    try:
        yield
    except Exception as error:
        notes = getattr(error, "__notes__", [])
        inner = next((note for note in notes if note.startswith(KEY)), None)
        if inner is None:
            error.add_note(f"{KEY}{key}")
        else:
            notes[notes.index(inner)] = f"{KEY}{key}.{inner.removeprefix(KEY)}"
        raise


@contextmanager
def in_grammar(wanted: str, hint: str) -> Iterator[None]:
    """Raise errors of other packages as ValueError in the form of this module, with their text.

    Errors that have this form already, and those of the operating system, pass unchanged.

    Args:
        wanted: the result of the code inside, as a noun phrase.
        hint: what the user can do if it fails.

    Example:
        >>> with in_grammar("a model that can be built", "..."):
        ...     [][0]
        Traceback (most recent call last):
        ValueError: expected a model that can be built, got IndexError: list index out of range; try ...
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if str(error).startswith("expected "):
            raise
        text = " ".join(str(error).split())
        problem = f"{type(error).__name__}: {text}" if text else type(error).__name__
        raise ValueError(expected(wanted, problem[:300], hint)) from error


@contextmanager
def from_extra(package: str, extra: str) -> Iterator[None]:
    """Name the extra of this package that installs a package whose import inside fails.

    Args:
        package: what is imported and for what, as a noun phrase.
        extra: the extra.

    Example:
        >>> with from_extra("zarr for Zarr files", "zarr"):
        ...     import a_package_that_is_not_installed
        Traceback (most recent call last):
        ImportError: expected zarr for Zarr files, got none; try pip install 'neuralop_irno[zarr]'
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(expected(package, "none", f"pip install 'neuralop_irno[{extra}]'")) from error


class UnreadableError(Exception):
    """Why a file cannot be read: the part of a sentence that its reader makes of it."""


def one_line(error: BaseException) -> str:
    """The message and the notes of an error in one line."""
    line = " ".join(str(error).split()) or type(error).__name__
    notes = [" ".join(note.split()) for note in getattr(error, "__notes__", [])]
    return f"{line} ({'; '.join(notes)})" if notes else line
