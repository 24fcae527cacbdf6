"""Metadata of the data sets published with RIGNO that is not in their files."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Facts:
    """Metadata of a data set.

    Attributes:
        groups: for each variable the index of its quantity; (0, 1, 1, 2) is a vector between two scalars.
            Its length is the number of variables used, the first ones of the file.
        mean: mean of each variable over the whole data set; errors are computed on normalised fields.
        std: standard deviation of each variable, for the same purpose.
        span: the first and the last time; None for time-independent data.
        low: the lowest corner of the domain.
        high: the highest corner of the domain.
        periodic: whether the domain is periodic.
    """

    groups: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    span: tuple[float, float] | None = (0.0, 1.0)
    low: tuple[float, ...] = (0.0, 0.0)
    high: tuple[float, ...] = (1.0, 1.0)
    periodic: bool = False

    @property
    def period(self) -> tuple[float, ...] | None:
        """The side lengths of a periodic domain; None for an open one."""
        if not self.periodic:
            return None
        return tuple(high - low for low, high in zip(self.low, self.high, strict=True))


_GAS = Facts((0, 1, 1, 2), (0.8, 0.0, 0.0, 2.513), (0.31, 0.391, 0.356, 0.185), periodic=True)
_FLOW = Facts((0, 0), (0.0, 0.0), (0.391, 0.356), periodic=True)

PUBLISHED = {
    "CE-Gauss": _GAS,
    "CE-RP": replace(_GAS, mean=(0.8, 0.0, 0.0, 0.215)),
    "NS-Gauss": _FLOW,
    "NS-PwC": _FLOW,
    "NS-SL": _FLOW,
    "NS-SVS": _FLOW,
    "ACE": Facts((0,), (0.002484262,), (0.65351176,), span=(0.0, 2e-4)),
    "Wave-Layer": Facts((0,), (0.03467443,), (0.10442422,)),
    "Heat-L-Sines": Facts((0,), (-0.009399102,), (0.020079814,), span=(0.0, 0.002)),
    "Wave-C-Sines": Facts((0,), (0.0,), (0.011314605,), (0.0, 0.1), low=(-0.5, -0.5), high=(1.5, 1.5)),
    "Poisson-Gauss": Facts((0,), (5.603458e-4,), (0.02401226,), span=None),
    "AF": Facts((0,), (0.9637928,), (0.11830823,), span=None, low=(-3.0, -3.0), high=(5.0, 3.0)),
    "Elasticity": Facts((0,), (187.477,), (127.046,), span=None),
}
"""Metadata by file name, without ``.nc``."""
