"""The error estimates of a calibrated model, put on the solution of a call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.bands import Bands
from neuralop_irno.base.call import BaseCall
from neuralop_irno.conformal import Calibration
from neuralop_irno.precision import most_precise
from neuralop_irno.solution import Solution

FieldOf = Callable[[Any], Tensor]
"""The field of an answer; see `BaseOperator.field_of`."""


def with_estimates(
    solution: Solution,
    call: BaseCall,
    field_of: FieldOf,
    calibration: Calibration | None,
    bands: Bands | None,
) -> Solution:
    """A solution with the estimates for which the model is calibrated.

    Args:
        solution: of the call.
        call: on the grid of its answer.
        field_of: see above.
        calibration: of an estimate for each sample.
        bands: for each point.
    """
    if calibration is not None:
        solution = replace(solution, error_estimate=calibration.estimate(solution.predictors))
    if bands is not None:
        width = bands.width(call.as_field(solution.value) - call.start, call.domain)
        solution = replace(solution, error_band=_laid_out(width, call, field_of))
    return solution


def _laid_out(width: Tensor, call: BaseCall, field_of: FieldOf) -> Tensor:
    """Half-widths in the layout and the units of an answer; nan where the answer is not refined.

    ``call.as_answer`` is affine: units and what is outside of a mask are left over from its value at 0. In
    double precision where the device has it, because fields may be far from zero and the width small.
    """
    exact = most_precise(width.device)
    finite = torch.where(width.isfinite(), width, 0).to(exact)
    zero, unit, answer = (
        field_of(call.as_answer(field))
        for field in (torch.zeros_like(finite), torch.ones_like(finite), finite)
    )
    infinite = field_of(call.as_answer((~width.isfinite()).to(exact))) != zero
    band = torch.where(infinite, math.inf, answer - zero)
    return torch.where(unit > zero, band, math.nan).to(call.start.dtype)
