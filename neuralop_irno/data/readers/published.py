"""What is known of the data sets that RIGNO was published with, and does not stand in their files."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Facts:
    """What a reader has to be told of a data set.

    Attributes:
        groups: for each variable the quantity that it is a part of; (0, 1, 1, 2) is a vector between two
            scalars. So many of the file's variables are used, the first ones.
        mean: of each variable, over the whole set; errors are measured in fields normalised by it.
        std: the standard deviation of each variable, for the same.
        span: the first and the last time; None where there is no time.
        low: the corner of the domain with the smallest coordinates.
        high: the corner with the largest.
        periodic: whether the domain closes on itself.
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
        """The lengths of the domain, where it closes on itself."""
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
"""By the names of the files, without ``.nc``."""
