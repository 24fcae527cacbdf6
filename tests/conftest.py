"""What every test shares: one thread, fixed seeds, and problems whose answers are known."""

from __future__ import annotations

import os

# Small jobs on two threads run many times slower when the machine is busy. The libraries of linear algebra
# read this once, when they are loaded, and so do the processes that tests start.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ["MATPLOTLIBRC"] = str(Path(__file__).parent)

import matplotlib.style
import pytest
import torch
from torch import Tensor, nn

from neuralop_irno import Correction
from neuralop_irno.registry import MODELS, Registry

with warnings.catch_warnings():  # PyTorch Geometric uses torch.jit as it is imported, and torch says so
    warnings.simplefilter("ignore", DeprecationWarning)
    import torch_geometric.nn  # noqa: F401 - for the tests that use it


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_handlers_of_others() -> Iterator[None]:
    """Handlers that trackers and schedulers add to the root logger end with the test that used them."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before


@pytest.fixture
def with_ticks() -> Iterator[None]:
    """Pictures drawn as for users; see ``tests/matplotlibrc``."""
    with matplotlib.style.context("default"):
        yield


TESTS = str(Path(__file__).parent)


def own_names(registry: Registry) -> set[str]:
    """The names in a registry that tests did not add."""
    added = {name for name, module in sys.modules.items() if TESTS in (getattr(module, "__file__", "") or "")}
    # A model that a test defines is a correction by name too, made by a function of the package.
    found = {name for name in registry.names() if registry.lookup(name).__module__ not in added}
    return found - {name for name in MODELS.names() if MODELS.lookup(name).__module__ in added}


class Linear(Correction):
    """Phi(x, h) = b - A h on (B, 1, n), with A and b known; x is ignored but for its shape."""

    def __init__(self, matrix: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.matrix, self.offset = nn.Parameter(matrix), nn.Parameter(offset)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.offset - h @ self.matrix.T


class SmallNet(Correction):
    """A smooth correction in double precision, small enough for finite differences."""

    def __init__(self, channels: int = 1, dim: int = 1) -> None:
        super().__init__()
        layer = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dim]
        self.net = nn.Sequential(
            layer(2 * channels, 4, 3, padding=1, padding_mode="circular"),
            nn.Tanh(),
            layer(4, channels, 3, padding=1, padding_mode="circular"),
        ).double()

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.net(torch.cat([x, h], 1))


class Contracting(SmallNet):
    """Phi(x, h) = x + net(x, h) / 3 - h: the plain iteration contracts, to a point that is not its start."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return x + super().forward(x, h) / 3 - h


def identity(x: Tensor) -> Tensor:
    """A base that answers with its input."""
    return x


def zero(x: Tensor) -> Tensor:
    """A base that answers with nothing."""
    return torch.zeros_like(x)
