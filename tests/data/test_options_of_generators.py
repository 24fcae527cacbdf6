"""Every option of every generator: a number that makes no sense is named at once."""

import inspect
import math
import time
from typing import Any

import pytest

from neuralop_irno.data.splits import load_splits
from neuralop_irno.registry import DATASETS

FLOWS: dict[str, Any] = {"trajectories": [1, 1, 1], "frames": 2, "size": 8}
GENERATORS: dict[str, dict[str, Any]] = {
    "turbulence": {**FLOWS, "resolution": 16, "outputs": 1},
    "burgers": FLOWS,
    "kuramoto_sivashinsky": FLOWS,
    "coarse_turbulence": {**FLOWS, "resolution": 16},
    "shallow_water": {**FLOWS, "frame": 0.5, "warmup": 0.0},
    "ce_gauss": {"samples": [1, 1, 1], "points": 9, "resolution": 4, "frames": 2, "time": 0.1},
    "darcy": {"samples": [1, 1, 1], "size": 2, "resolution": 4},
    "advection_diffusion": {"samples": [1, 1, 1], "spacing": 0.5},
    "waves": {"samples": [1, 1, 1], "spacing": 0.5},
    "potentials": {"samples": [1, 1, 1]},
    "citations": {"scale": 0.1, "labels": 5},
    "masked_textures": {"samples": [1, 1, 1], "size": 8},
}
BAD = {"int": (-1, 10**15), "int | None": (-1, 10**15), "float": (-1.0, 1e30, math.nan, math.inf)}
NO_BOUND = {("stride", 10**15)}
"""A stride beyond the end leaves one window."""

OPTIONS = [
    (name, option, value)
    for name in GENERATORS
    for option, parameter in inspect.signature(DATASETS.lookup(name)).parameters.items()
    for value in BAD.get(str(parameter.annotation), ())
    if (option, value) not in NO_BOUND
]


@pytest.mark.parametrize(("name", "option", "value"), OPTIONS)
def test_a_number_that_makes_no_sense_is_named_at_once(name: str, option: str, value: Any) -> None:
    start = time.process_time()
    with pytest.raises((ValueError, TypeError), match=r"^expected .+, got .+; try "):
        load_splits({"name": name, **GENERATORS[name], option: value})
    assert time.process_time() - start < 5


@pytest.mark.parametrize("name", [name for name in GENERATORS if name != "citations"])
@pytest.mark.parametrize("counts", [[10**15, 1, 1], [-1, 1, 1], ["a", 1, 1], [0.5, 1, 1], "abc", [1]])
def test_counts_that_make_no_sense_are_named_at_once(name: str, counts: Any) -> None:
    option = "trajectories" if "trajectories" in GENERATORS[name] else "samples"
    with pytest.raises((ValueError, TypeError), match=rf"^expected .*{option}.*, got .*; try {option}"):
        load_splits({"name": name, **GENERATORS[name], option: counts})


def test_data_larger_than_any_memory_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected samples that fit in memory, got"):
        load_splits({"name": "turbulence", "trajectories": [10**9, 1, 1]})
    with pytest.raises(ValueError, match=r"^expected a device of .*, got .gpu"):
        load_splits({"name": "burgers", **FLOWS, "device": "gpu"})
