"""Symmetry and definiteness of linear equations, as stated, or probed by a few products."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.domain.noise import normal
from neuralop_irno.equations.equation import BoundEquation
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
    known = stated.symmetric and (stated.definite or not definite)
    zeros = torch.zeros(domain.samples, dtype=torch.long, device=like.device)
    for probe in range(0 if known else PROBES):
        # Seeds of their own: a solve does not change the numbers that are drawn after it.
        v, w = (
            equation.project(normal(domain, like, zeros + seed, zeros)) for seed in (2 * probe, 2 * probe + 1)
        )
        image = equation.apply(v)
        left, right = domain.inner(image, w), domain.inner(v, equation.apply(w))
        if stated.symmetric is None and bool(
            ((left - right).abs() > ROUNDING * domain.norm(image) * domain.norm(w)).any()
        ):
            got = (
                f"<A v, w> = {left.tolist()[0]:.3g} and <v, A w> = {right.tolist()[0]:.3g} for random v and w"
            )
            raise ValueError(expected("a symmetric equation", got, hint))
        if definite and stated.definite is None and bool((domain.inner(v, image) < 0).any()):
            got = "<v, A v> < 0 for a random v"
            raise ValueError(expected("a positive definite equation", got, hint))
