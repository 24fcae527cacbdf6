"""Any correction by name, with its linear layers held to a norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neuralop_irno.correction.correction import Correction
from neuralop_irno.correction.from_module import as_correction
from neuralop_irno.errors import expected
from neuralop_irno.lipschitz.normalisation import free_layers, spectrally_normalised
from neuralop_irno.registry import CORRECTIONS


@CORRECTIONS.register("bounded")
def bounded(
    in_channels: int,
    out_channels: int,
    dim: int | None = None,
    correction: Any = "unet",
    bound: float = 1.0,
    padding: str | Sequence[str] | None = None,
) -> Correction:
    """`spectrally_normalised` in a config, where it is saved with the refiner.

    Corrections with other linear layers than matrices and convolutions are refused: spectral convolutions and
    the stencils of MgNO would stay as they are. Norms, activations and softmax attention are not held.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions, where the correction asks.
        correction: by name or config.
        bound: the norm of each of its linear layers, at most.
        padding: of the correction, where it has one and its config leaves it open.

    Example:
        >>> phi = CORRECTIONS.build({"name": "bounded", "bound": 0.5}, in_channels=2, out_channels=1, dim=2)
        >>> phi.in_channels, phi.out_channels
        (2, 1)
    """
    known = {"in_channels": in_channels, "out_channels": out_channels, "dim": dim, "padding": padding}
    given = {name: value for name, value in known.items() if value is not None}
    built = as_correction(CORRECTIONS.build(correction, **given))
    free = free_layers(built)
    if free:
        wanted = "a correction whose layers can all be held to a norm"
        raise ValueError(expected(wanted, f"one with {', '.join(free)}, which stay free", "correction: unet"))
    return spectrally_normalised(built, bound)
