"""The optional package torch-harmonics."""

from __future__ import annotations

from typing import Any

from neuralop_irno.errors import from_extra


def torch_harmonics() -> Any:
    """The package torch_harmonics; the ImportError without it names the extra."""
    with from_extra("torch-harmonics for spherical harmonics", "sphere"):
        import torch_harmonics as package
    return package


def shallow_water_solver(*args: Any, **kwargs: Any) -> Any:
    """A ``ShallowWaterSolver`` of torch-harmonics' examples."""
    torch_harmonics()
    from torch_harmonics.examples import ShallowWaterSolver

    return ShallowWaterSolver(*args, **kwargs)
