"""Whether fields are in the precision, and on the device, of the weights that they meet."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neuralop_irno.errors import expected


def at_least_float32(field: Tensor) -> Tensor:
    """The state of the iteration is kept in float32 or better, whatever the base computes in."""
    return field.to(torch.promote_types(field.dtype, torch.float32))


FLOAT32_ALONE = ("GINO", "FNOGNO", "SGFormer")
"""Networks that make float32 tensors among their layers, whatever they are called in."""


def explain_failure(module: nn.Module, fields: Mapping[str, Tensor], owner: str) -> None:
    """Say why a module failed, if by a device or a precision; the arguments are those of `require_dtype`."""
    devices = {str(p.device) for p in module.parameters()}
    for name, field in fields.items():
        if len(devices) == 1 and str(field.device) not in devices:
            device = devices.pop()
            wanted = f"{name} on {device}, as the weights of the {owner}"
            raise ValueError(
                expected(wanted, field.device, f"all fields on {device}, or model.to({str(field.device)!r})")
            )
    require_dtype(module, fields, owner)
    names = {type(part).__name__ for part in module.modules()}
    alone = next((name for name in FLOAT32_ALONE if name in names), None)
    if alone is not None and any(field.dtype == torch.float64 for field in fields.values()):
        wanted = f"fields in torch.float32 for {alone}, the {owner}, some of whose layers compute in it alone"
        raise TypeError(expected(wanted, torch.float64, "model.float()"))


def require_dtype(module: nn.Module, fields: Mapping[str, Tensor], owner: str) -> None:
    """Refuse fields in another precision than a module's weights.

    Some modules take several precisions: this is for those that are known to take one, or that failed.

    Args:
        module: if its weights have several precisions, or there are none, everything passes, as under
            autocast.
        fields: what it was called with, by name.
        owner: what the module is in the refiner.
    """
    wanted = _dtype_of(module)
    for name, field in fields.items():
        if wanted in (None, field.dtype) or torch.is_autocast_enabled(field.device.type):
            continue
        move = {torch.float64: "double", torch.float32: "float"}.get(field.dtype)
        others = f", or model.{move}()" if move else ""
        raise TypeError(
            expected(
                f"{name} in {wanted}, as the weights of the {owner}",
                field.dtype,
                f"all fields in {wanted}{others}",
            )
        )


def _dtype_of(module: nn.Module) -> torch.dtype | None:
    weights = [p for p in module.parameters() if p.is_floating_point() or p.is_complex()]
    kinds = {p.dtype.to_real() for p in weights}
    return kinds.pop() if len(kinds) == 1 else None
