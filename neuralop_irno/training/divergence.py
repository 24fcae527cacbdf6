"""Errors of a training whose loss, gradients or weights are not finite."""

from __future__ import annotations

from torch import nn

from neuralop_irno.errors import expected
from neuralop_irno.sharded import whole_tensor


class DivergenceError(RuntimeError):
    """The loss, all gradients of an epoch, or a weight are not finite."""


def refuse_not_finite(model: nn.Module) -> None:
    """Refuse to store weights that are not finite: neither inference nor a resumed run could use them."""
    for name, weight in model.named_parameters():
        if weight.requires_grad and not whole_tensor(weight).isfinite().all():
            raise DivergenceError(
                expected(
                    "finite weights to store",
                    f"{name} with NaN or infinity",
                    "a smaller learning_rate; the files that were written before are intact",
                )
            )
