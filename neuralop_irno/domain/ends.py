"""How the axes of a grid of cells end: by name, for all axes or for each."""

from __future__ import annotations

from collections.abc import Sequence

from neuralop_irno.errors import check_choice, expected

ENDS = ("periodic", "dirichlet", "neumann")
"""The axis is periodic, the field is zero on the wall, or its normal derivative is."""


def check_ends(boundary: str | Sequence[str], known: Sequence[str] = ENDS) -> None:
    """Raise ValueError for the name of a boundary that is not among the known ones."""
    for name in (boundary,) if isinstance(boundary, str) else boundary:
        check_choice("a boundary", name, known)


def ends_of(boundary: str | Sequence[str], dim: int) -> tuple[str, ...]:
    """The end of each axis, from one for all axes or a list; raises ValueError for another number of axes.

    Example:
        >>> ends_of("dirichlet", 2)
        ('dirichlet', 'dirichlet')
    """
    each = (boundary,) * dim if isinstance(boundary, str) else tuple(boundary)
    if len(each) != dim:
        raise ValueError(
            expected(f"one boundary for each of {dim} axes", list(each), f"{['periodic'] * dim}")
        )
    return each
