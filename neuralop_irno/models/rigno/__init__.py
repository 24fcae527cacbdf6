"""RIGNO: a neural operator that passes messages between points and a coarser set of regions."""

from neuralop_irno.models.rigno.region_graph import RegionGraph, build_region_graph
from neuralop_irno.models.rigno.rigno import RIGNO
from neuralop_irno.models.rigno.stepping import Moments, Statistics, TimeStepper

__all__ = [
    "RIGNO", "Moments", "RegionGraph", "Statistics", "TimeStepper", "build_region_graph",
]  # fmt: skip
