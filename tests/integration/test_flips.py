"""Flipped bits are refused, whatever file they are in; `examples/benchmarks/flips.py` tries more of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/benchmarks/flips.py"


@pytest.fixture(scope="module")
def flips() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flips", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(flips: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made: dict[str, Path] = flips.make(tmp_path_factory.mktemp("flips"))
    return made


KINDS = (
    "checkpoint", "base of a checkpoint", "snapshot", "snapshot of a process", "cache of a region graph",
    "cache of ce_gauss",
)  # fmt: skip


def test_every_kind_is_tried(files: dict[str, Path]) -> None:
    assert set(files) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_are_refused(flips: ModuleType, files: dict[str, Path], kind: str) -> None:
    assert flips.outcomes(files[kind], 60, seed=1) == {"refused": 60, "harmless": 0, "missed": 0}
