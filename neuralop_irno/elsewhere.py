"""Parts of packages that may be absent: named in any case, imported when they are built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from neuralop_irno.errors import expected


@dataclass(frozen=True)
class Elsewhere:
    """A constructor of a package that may be absent.

    Attributes:
        what: the constructor as a noun phrase, for errors ("Poseidon's class ScOT").
        install: what makes the package importable, for errors and lists.
        lack: what is missing, found without importing a heavy package; None if nothing is.
        load: imports and returns the constructor.

    Example:
        >>> part = Elsewhere("the class A of b", "pip install b", lambda: module_lack("b_absent"), int)
        >>> part.lack()
        'no module b_absent'
        >>> part.constructor()
        Traceback (most recent call last):
        ValueError: expected the class A of b, got no module b_absent; try pip install b
    """

    what: str
    install: str
    lack: Callable[[], str | None]
    load: Callable[[], Callable[..., Any]]

    def constructor(self) -> Callable[..., Any]:
        """The constructor; raises ValueError that names what is missing, or the error of the import."""
        lack = self.lack()
        if lack is not None:
            raise ValueError(expected(self.what, lack, self.install))
        try:
            return self.load()
        except Exception as error:  # any error of the package as it is imported
            text = " ".join(str(error).split())[:300]
            problem = f"{type(error).__name__}: {text}"
            raise ValueError(expected(f"{self.what} to load", problem, self.install)) from error


def module_lack(*names: str) -> str | None:
    """The first module that is not installed, for `Elsewhere.lack`; parents of the names are imported.

    Example:
        >>> module_lack("json.decoder", "json.absent")
        'no module json.absent'
    """
    for name in names:
        parents = [name[:place] for place, letter in enumerate(name) if letter == "."]
        for module in (*parents, name):
            if find_spec(module) is None:
                return f"no module {module}"
    return None
