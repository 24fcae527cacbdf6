"""The errors of a refinement on a data set, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Convergence:
    """The true errors of h_0, h_1, .. in the domain's norm.

    Attributes:
        errors: ``(steps + 1, samples)``.
        changes: |h_{k+1} - h_k|, ``(steps, samples)``. Under Picard's iteration these are the residuals
            alpha |Phi|; other solvers take other steps.
        trained: K.
    """

    errors: Tensor
    changes: Tensor
    trained: int

    @property
    def floor(self) -> Tensor:
        """The smallest error that each sample reached, ``(samples,)``."""
        return self.errors.nan_to_num(nan=torch.inf).amin(0)

    @property
    def growth(self) -> Tensor:
        """The last error in units of the smallest, ``(samples,)``: 1 if the smallest is the last."""
        return self.errors[-1] / self.floor

    def steps_to(self, error: Tensor) -> Tensor:
        """The first step after which each sample's error was below a level; inf if it never was."""
        below = self.errors <= error
        first = below.int().argmax(0).to(self.errors.dtype)
        return torch.where(below.any(0), first, torch.inf)
