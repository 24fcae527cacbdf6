"""FNO and TFNO as configured in the benchmark of The Well (https://arxiv.org/abs/2412.00568).

These are neuraloperator's own models. The benchmark used its version 0.3, whose layers had no channel MLP and
no coordinates among the inputs; both are disabled here, so that the FNO has exactly as many parameters as the
published one.
"""

from __future__ import annotations

from neuralop_irno._neuralop import FNO, TFNO

MODES, WIDTH, LAYERS = 16, 128, 4
AS_PUBLISHED = {"use_channel_mlp": False, "positional_embedding": None}


def well_fno(
    in_channels: int, out_channels: int, dim: int = 2, modes: int = MODES, width: int = WIDTH
) -> FNO:
    """The benchmark's FNO.

    Args:
        in_channels: channels of x.
        out_channels: channels of the output.
        dim: spatial dimensions.
        modes: frequencies kept along each axis.
        width: channels of the layers.

    Example:
        >>> well_fno(2, 1, modes=4, width=8).hidden_channels
        8
    """
    return FNO((modes,) * dim, in_channels, out_channels, width, n_layers=LAYERS, **AS_PUBLISHED)


def well_tfno(
    in_channels: int, out_channels: int, dim: int = 2, modes: int = MODES, width: int = WIDTH
) -> TFNO:
    """The benchmark's TFNO: Tucker-factorised spectral weights, with about as many parameters as the FNO.

    Its arguments are those of `well_fno`.

    Example:
        >>> well_tfno(2, 1, modes=4, width=8).hidden_channels
        8
    """
    return TFNO((modes,) * dim, in_channels, out_channels, width, n_layers=LAYERS, rank=1.0, **AS_PUBLISHED)
