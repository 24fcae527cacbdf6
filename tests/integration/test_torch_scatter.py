"""With torch-scatter and without it the numbers are the same, each time in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("torch_scatter", reason="an option, that has to be there to be compared with")

SCRIPT = Path(__file__).with_name("graph_numbers.py")


def numbers(file: Path, *words: str) -> dict[str, Tensor]:
    command = [sys.executable, str(SCRIPT), str(file), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(file, weights_only=True)


def test_graph_networks_and_their_refiners_compute_the_same(tmp_path: Path) -> None:
    present, absent = numbers(tmp_path / "present"), numbers(tmp_path / "absent", "--hide")
    assert (present.pop("loaded"), absent.pop("loaded")) == (True, False)
    assert present.keys() == absent.keys()
    for name, here in present.items():
        assert here.isfinite().all()
        if name.startswith("GINO"):  # neuraloperator sums in another order without it
            torch.testing.assert_close(here, absent[name], rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(here, absent[name]), name
