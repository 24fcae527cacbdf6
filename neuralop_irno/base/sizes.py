"""The channels, dimensions and grid on the sphere that a model states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from neuralop_irno.base.checks import CONVOLUTIONS
from neuralop_irno.base.signatures import unwrapped
from neuralop_irno.domain.sphere import ENTRY


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
    """What the arguments of a network on points are, by the options of `PointOperator`.

    They are those that the network or its class states in ``POINT_ARGUMENTS``; {} if it does not.

    Example:
        >>> from neuralop_irno.models import DeepONet, Transolver
        >>> point_arguments(Transolver), point_arguments(DeepONet)
        ({'fields': 'x', 'pos': 'pos', 'mask': 'mask'}, {})
    """
    stated = getattr(model, "POINT_ARGUMENTS", None)
    return dict(stated) if isinstance(stated, Mapping) else {}


def sphere_of(module: nn.Module) -> str | None:
    """The grid on the sphere of a model that transforms to spherical harmonics; None for other models.

    These are SFNO, whose layers have ``sht_grids``, and models with transforms of torch-harmonics; the grid
    is that of the first of them.
    """
    for part in unwrapped(module).modules():
        grids = getattr(part, "sht_grids", None)
        if isinstance(grids, (list, tuple)) and grids and isinstance(grids[0], str):
            return grids[0]
        if type(part).__module__.startswith("torch_harmonics.") and isinstance(
            getattr(part, "grid", None), str
        ):
            return str(part.grid)
    return None


def on_its_grid(module: nn.Module, sample: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a sample, with the grid on the sphere that a module works on where they name none."""
    grid = None if sample.get(ENTRY) is not None else sphere_of(module)
    return dict(sample) if grid is None else {**sample, ENTRY: grid}


def _dimension(module: nn.Module) -> int | None:
    parts = list(module.modules())
    stated = [n for n in (getattr(part, "n_dim", None) for part in parts) if isinstance(n, int)]
    # Kernels of one point are skipped: often they act on a flattened field.
    kernels = [len(p.kernel_size) for p in parts if isinstance(p, CONVOLUTIONS) and max(p.kernel_size) > 1]
    return next(iter([*stated, *kernels]), None)
