"""Symmetry and definiteness of linear equations, as stated, or probed by a few products."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.noise import normal
from neuralop_irno.equations.equation import BoundEquation, Map
from neuralop_irno.errors import expected

PROBES = 2
"""Pairs of random fields."""

ROUNDING = 1e-8
"""<A v, w> and <v, A w> of a symmetric A agree to this share of |A v| |w|, in double precision."""


def refuse_unsymmetric(
    equation: BoundEquation, domain: Domain, like: Tensor, definite: bool, hint: str
) -> None:
    r"""Raise ValueError for an equation that is not symmetric, or not positive definite.

    What the equation does not state is probed: :math:`\langle A v, w \rangle = \langle v, A w \rangle` and
    :math:`\langle v, A v \rangle > 0` for random v and w. A failed probe is a proof, a passed one is not.

    Args:
        equation: linear.
        domain: its plain inner product.
        like: a field in double precision, laid out like h.
        definite: whether it has to be positive definite too.
        hint: what to try instead.
    """
    stated = equation.equation
    if stated.symmetric is False:
        raise ValueError(expected("a symmetric equation", "one stated as symmetric=False", hint))
    if definite and stated.definite is False:
        raise ValueError(expected("a positive definite equation", "one stated as definite=False", hint))
    asked = {"symmetric": not stated.symmetric, "definite": definite and not stated.definite}
    if not any(asked.values()):
        return
    for what, got in failed_probes(equation.apply, equation.project, domain, like, "A"):
        if asked[what]:
            wanted = "a positive definite equation" if what == "definite" else "a symmetric equation"
            raise ValueError(expected(wanted, got, hint))


def failed_probes(
    apply: Map, project: Map, domain: Domain, like: Tensor, name: str
) -> Iterator[tuple[str, str]]:
    """What random fields show that an operator is not, ``symmetric`` or ``definite``, and by which numbers.

    Args:
        apply: v -> A v.
        project: on the fields that are probed.
        domain: with the plain inner product.
        like: a field in double precision.
        name: of the operator, in the numbers.
    """
    zeros = torch.zeros(domain.samples, dtype=torch.long, device=like.device)
    for probe in range(PROBES):
        # Seeds of their own: a solve does not change the numbers that are drawn after it.
        seeds = (2 * probe, 2 * probe + 1)
        v, w = (project(normal(domain, like, zeros + seed, zeros)) for seed in seeds)
        of_v, of_w = apply(v), apply(w)
        left, right = domain.inner(of_v, w), domain.inner(v, of_w)
        wrong = (left - right).abs() > ROUNDING * domain.norm(of_v) * domain.norm(w)
        if wrong.any():
            first = int(wrong.nonzero()[0, 0])
            numbers = f"<{name} v, w> = {left[first]:.3g} and <v, {name} w> = {right[first]:.3g}"
            yield "symmetric", f"{numbers} for random v and w"
        if (domain.inner(v, of_v) < 0).any():
            yield "definite", f"<v, {name} v> < 0 for a random v"
