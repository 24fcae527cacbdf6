"""One grammar for every error that a user can cause: expected X, got Y; try Z."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

KEY = "in the config at "
"""What a note on an error begins with that holds the path of a key."""


class DamageError(ValueError):
    """What is wrong inside a file; its reader puts these words into the grammar, with the file named."""


def expected(wanted: str, got: object, hint: str) -> str:
    """The sentence that an error carries.

    Args:
        wanted: what would have been right, as a noun phrase.
        got: what came instead.
        hint: what the user can do about it.

    Example:
        >>> expected("steps >= 0", -1, "steps=6")
        'expected steps >= 0, got -1; try steps=6'
    """
    return f"expected {wanted}, got {got}; try {hint}"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint that names the closest choice first and then lists them all.

    Example:
        >>> did_you_mean("unett", ["fno", "unet"])
        "'unet' (the choices are fno, unet)"
    """
    names = sorted(choices)
    listing = f"the choices are {', '.join(names)}" if names else "there is nothing to choose from"
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"'{close[0]}' ({listing})" if close else f"another word: {listing}"


def shown(value: object, most: int = 80) -> str:
    """A value as an error shows it: cut where it is long.

    Example:
        >>> shown("steps"), shown(10**30, most=10)
        ("'steps'", '1000000...')
    """
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print a whole number of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= most else f"{text[: most - 3]}..."


@contextmanager
def at_key(key: str) -> Iterator[None]:
    """Note on every error which key of the config it is about; nested keys are joined by dots.

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
    """Turn an error of another package into one of ours, which quotes it.

    Errors in our grammar, and those of the operating system, pass as they are.

    Args:
        wanted: what the code inside was to do, as a noun phrase.
        hint: what the user can do if it did not.

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


def one_line(error: BaseException) -> str:
    """An error with its notes in one line."""
    line = " ".join(str(error).split()) or type(error).__name__
    notes = [" ".join(note.split()) for note in getattr(error, "__notes__", [])]
    return f"{line} ({'; '.join(notes)})" if notes else line
