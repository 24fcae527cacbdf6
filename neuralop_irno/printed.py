"""Printed forms of parts: the call that builds them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from neuralop_irno.registry import parameters_of


class PrintedAsCall:
    """A mixin, before ``nn.Module``, that prints an object as the call that builds it.

    Each parameter of the constructor is read from the attribute of the same name; those at their defaults
    are left out.

    Example:
        >>> from neuralop_irno.solver.anderson import Anderson
        >>> Anderson(memory=3)
        Anderson(alpha=1.0, memory=3)
    """

    def __repr__(self) -> str:
        parameters = parameters_of(type(self)).values()
        options = {p.name: plain_numbers(getattr(self, p.name, p.default)) for p in parameters}
        given = [f"{p.name}={options[p.name]!r}" for p in parameters if options[p.name] != p.default]
        return f"{type(self).__name__}({', '.join(given)})"


def plain_numbers(value: Any) -> Any:
    """A tensor as numbers, each with the fewest digits that give it again; other values unchanged.

    Example:
        >>> import torch
        >>> plain_numbers(torch.tensor([0.2, 1.0])), plain_numbers("unet")
        ([0.2, 1.0], 'unet')
    """
    if not isinstance(value, Tensor):
        return value
    array = value.detach().cpu().numpy()
    return [plain_numbers(entry) for entry in value] if array.shape else float(str(array))
