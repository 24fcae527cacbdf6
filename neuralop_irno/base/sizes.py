"""The channels and dimensions that a model states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from neuralop_irno.base.checks import CONVOLUTIONS
from neuralop_irno.base.signatures import unwrapped


@dataclass(frozen=True)
class ModelSpec:
    """Channels and dimensions stated by a model; None if not stated.

    Attributes:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions.
        per_time: whether fields may have an axis of time, which is folded into channels: the refiner's are
            then a multiple of those that the model states.
        in_time: whether x has an axis of time, whose length no model states: ``in_channels`` is then given.
        fields: the sizes of each field, where the answer is a tuple of several; their channels are then not
            stated above.
    """

    in_channels: int | None = None
    out_channels: int | None = None
    dim: int | None = None
    per_time: bool = False
    in_time: bool = False
    fields: tuple[ModelSpec, ...] = ()


def stated_sizes(module: nn.Module) -> ModelSpec:
    """Channels and dimensions from the attributes of a module."""
    module = unwrapped(module)
    own = getattr(module, "sizes", None)
    if isinstance(own, ModelSpec):  # a refiner, which has them from its base and its arguments
        return own

    def number(name: str) -> int | None:
        value = getattr(module, name, None)
        return value if isinstance(value, int) else None

    return ModelSpec(number("in_channels"), number("out_channels"), number("dim") or _dimension(module))


def point_arguments(model: Any) -> dict[str, Any]:
    """What the arguments of a network on points are, by the options of `PointOperator`; {} if not stated.

    Example:
        >>> from neuralop_irno.models import DeepONet, Transolver
        >>> point_arguments(Transolver), point_arguments(DeepONet)
        ({'fields': 'x', 'pos': 'pos', 'mask': 'mask'}, {})
    """
    return dict(getattr(model, "POINTS", {}))


def _dimension(module: nn.Module) -> int | None:
    parts = list(module.modules())
    stated = [n for n in (getattr(part, "n_dim", None) for part in parts) if isinstance(n, int)]
    # Kernels of one point are skipped: often they act on a flattened field.
    kernels = [len(p.kernel_size) for p in parts if isinstance(p, CONVOLUTIONS) and max(p.kernel_size) > 1]
    return next(iter([*stated, *kernels]), None)
