"""A correction by name, with the norms of its linear layers bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neuralop_irno.correction.correction import Correction
from neuralop_irno.correction.from_module import build_inner
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
    """`spectrally_normalised` applied to a correction from a config, so that it is saved with the refiner.

    Corrections with linear layers other than matrices and convolutions are refused: spectral convolutions and
    the stencils of MgNO would not be bounded. Norms, activations and softmax attention are not bounded.

    Args:
        in_channels: channels of x.
        out_channels: channels of h.
        dim: spatial dimensions, if the correction has that option.
        correction: name or config.
        bound: upper bound of the norm of each linear layer.
        padding: padding of the correction, if it has that option and its config does not set it.

    Example:
        >>> phi = CORRECTIONS.build({"name": "bounded", "bound": 0.5}, in_channels=2, out_channels=1, dim=2)
        >>> phi.in_channels, phi.out_channels
        (2, 1)
    """
    built = build_inner(correction, in_channels, out_channels, dim, padding)
    free = free_layers(built)
    if free:
        wanted = "a correction whose layers can all be held to a norm"
        raise ValueError(expected(wanted, f"one with {', '.join(free)}, which stay free", "correction: unet"))
    return spectrally_normalised(built, bound)
