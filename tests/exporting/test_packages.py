"""Packages of AOTInductor return what the model returns, in Python and in C++.

``make test-packages`` runs them: to compile the packages and the program takes minutes.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from export_cases import LIMITS, MODELS, agrees, answers_agree, inputs

from neuralop_irno import Exported, IterativeRefiner, export

ROOT = Path(__file__).parents[2]
PACKAGES = [
    ("1-D", "steps"),
    ("2-D", "tolerance"),
    ("2-D residual_unet", "steps"),
    ("3-D", "steps"),
    ("mesh", "tolerance"),
]
TOOLS = shutil.which("c++") and shutil.which("cmake")

pytestmark = [
    pytest.mark.skipif("PACKAGES" not in os.environ, reason="to compile takes minutes: make test-packages"),
    pytest.mark.skipif(
        not (shutil.which("c++") and shutil.which("cmake")), reason="needs a C++ compiler and cmake"
    ),
]


@pytest.fixture(scope="module", params=PACKAGES, ids=" ".join)
def package(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, IterativeRefiner, Exported]:
    """A kind, its model, and its package."""
    kind, limits = request.param
    build, calls = MODELS[kind]
    model = build()
    path = tmp_path_factory.mktemp("package") / "model.pt2"
    return kind, model, export(model, calls[0], path, compiled=True, **LIMITS[limits])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in C++, built with the libtorch of the wheel of torch."""
    folder = tmp_path_factory.mktemp("build")
    source, libtorch = str(ROOT / "examples/export"), f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    subprocess.run(["cmake", "-S", source, "-B", str(folder), libtorch], check=True)
    subprocess.run(["cmake", "--build", str(folder)], check=True)
    return folder / "load"


def test_a_package_gives_the_models_answers_for_any_batch(
    package: tuple[str, IterativeRefiner, Exported],
) -> None:
    kind, model, made = package
    agrees(made, model, MODELS[kind][1])


def test_a_program_in_cpp(
    package: tuple[str, IterativeRefiner, Exported], program: Path, tmp_path: Path
) -> None:
    kind, model, made = package
    for call in MODELS[kind][1]:
        torch.save(inputs(made, call), tmp_path / "inputs.pt")
        words = [program, made.path, tmp_path / "inputs.pt", tmp_path / "answers.pt"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert '"outputs"' in done.stdout
        answers_agree(made, model, call, torch.load(tmp_path / "answers.pt"))


def test_a_program_in_cpp_refuses_inputs_of_other_sizes(
    package: tuple[str, IterativeRefiner, Exported], program: Path, tmp_path: Path
) -> None:
    kind, _, made = package
    wrong = [tensor[..., :1] for tensor in inputs(made, MODELS[kind][1][0])]
    torch.save(wrong, tmp_path / "inputs.pt")
    words = [program, made.path, tmp_path / "inputs.pt", tmp_path / "answers.pt"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "expected" in done.stderr
