"""One grammar for every error that a user can cause: expected X, got Y; try Z."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
