"""The constants of the theory beside what was observed, as the rows of a table."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.diagnostics.contraction import Contraction
from neuralop_irno.diagnostics.convergence import Convergence


def constants(found: Contraction, convergence: Convergence) -> dict[str, Tensor]:
    """Every constant by its name and formula, ``(samples,)`` of the contraction."""
    count = len(found.factor)
    observed = convergence.floor[:count]
    level = 1.1 * observed
    every = torch.cat([level, convergence.floor[count:]])
    return {
        "m over all directions": found.monotonicity,
        f"m along {_errors(found)}": found.least_along_errors,
        "M, norm of A": found.norm,
        "alpha in use": found.alpha,
        "admissible alpha, below 2m/M^2 (0: no)": found.admissible,
        "best alpha, m/M^2 (0: none)": found.best_alpha,
        "q = |I - alpha A|": found.factor,
        "|b| = |Phi(x, y)|": found.offset,
        "|e_0|, the base's error": found.distance,
        "c = alpha |R(e_0)| / |e_0|^2": found.curvature,
        "L, of the second-order remainder": found.second_order,
        "mu = |(A(h_0) - A) e_0| / |e_0|^2": found.jacobian_change,
        "smallest invariant ball around h_0": found.radius,
        "predicted floor": found.floor,
        "observed floor": observed,
        "predicted steps to 1.1 x that": found.steps_to(level),
        "observed steps": convergence.steps_to(every)[:count],
    }


def held(found: Contraction) -> dict[str, Tensor]:
    """For each assumption of the theory, and for all of them, the samples where it holds."""
    return {
        f"m > 0 along {_errors(found)}": found.monotone["along_errors"],
        **found.assumptions(),
        "all of them hold where they were measured": found.holds,
    }


def _errors(found: Contraction) -> str:
    return f"the errors e_0 .. e_{found.along_errors.shape[1] - 1}"
