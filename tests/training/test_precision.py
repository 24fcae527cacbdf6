"""``precision: auto``: bfloat16 only where the hardware has it, settled once a run, and kept by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer import problem, refiner
from torch import Tensor, nn

from neuralop_irno import RefinementLoss
from neuralop_irno.recipe import PRECISIONS, Recipe
from neuralop_irno.training import precision as precisions
from neuralop_irno.training.precision import resolve
from neuralop_irno.training.progress import EVERY, Lines
from neuralop_irno.training.trainer import Trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
REAL, COMPLEX = nn.Linear(1, 1), nn.Linear(1, 1, dtype=torch.cfloat)


def hardware(monkeypatch: pytest.MonkeyPatch, cpu: bool, cuda: bool = False) -> None:
    """Make this machine one with or without units for bfloat16."""
    monkeypatch.setattr(precisions, "_cpu_has_bfloat16", lambda: cpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: cuda)


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_auto_is_what_the_hardware_has(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, has: bool
) -> None:
    hardware(monkeypatch, cpu=has, cuda=has)
    word, line = resolve("auto", device, REAL)
    assert word == ("bfloat16" if has else "float32")
    assert line.startswith(f"precision: {word} (this {'CPU' if device == CPU else 'GPU'} has ")


def test_fourier_layers_stay_in_float32_where_autocast_does_not_cast_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hardware(monkeypatch, cpu=True, cuda=True)
    assert resolve("auto", CUDA, COMPLEX)[0] == "float32"
    assert resolve("auto", CPU, COMPLEX)[0] == "bfloat16"


@pytest.mark.parametrize("word", sorted(PRECISIONS.keys() - {"auto"}))
def test_what_is_asked_for_by_name_is_taken(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    hardware(monkeypatch, cpu=False)
    chosen, line = resolve(word, CPU, REAL)
    assert chosen == word
    assert ("slow here" in line) is (word == "bfloat16")


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize("isa", ["AVX2", "avx512_core"])
def test_a_limit_on_instruction_sets_is_honoured(
    monkeypatch: pytest.MonkeyPatch, variable: str, isa: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setenv(variable, isa)
    assert resolve("auto", CPU, REAL)[0] == "float32"


@pytest.mark.parametrize("begun", [True, False])
def test_a_resumed_run_keeps_its_precision_on_other_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], begun: bool
) -> None:
    """The correction computes in what the run was started with, and both starts have a line about it."""
    inside: list[torch.dtype] = []
    updates: list[int] = []

    class Interrupted(RefinementLoss):
        def per_sample(self, trajectory: Any, y: Tensor) -> Tensor:
            updates.append(len(inside))
            if len(updates) == 3:
                raise KeyboardInterrupt
            return super().per_sample(trajectory, y)

    def train(resume: bool) -> None:
        model = refiner()
        model.correction.last.register_forward_hook(lambda *args: inside.append(args[-1].dtype))
        recipe = Recipe(epochs=1, batch_size=1, save_every=1)
        Trainer(model, recipe, Interrupted(), tmp_path).fit(problem(4), resume=resume)

    hardware(monkeypatch, cpu=begun)
    with pytest.raises(KeyboardInterrupt):
        train(resume=False)
    hardware(monkeypatch, cpu=not begun)
    train(resume=True)
    word = "bfloat16" if begun else "float32"
    assert len(updates) == 5  # three, the last of them lost, and two
    assert set(inside) == {getattr(torch, word)}
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"precision: {word} (this CPU has ")
    assert f"precision: {word} (as the run was started)" in lines


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end() -> None:
    lines: list[str] = []
    now = 0.0

    def clock() -> float:
        return now

    log = Lines(900, done=0, write=lines.append, clock=clock)
    for update in range(120):
        now += EVERY / 50
        log.update(loss=0.0123 if update == 19 else None)
    log.close()
    assert lines == [
        "training: update 50 of 900, loss 0.0123, 30 s",
        "training: update 100 of 900, loss 0.0123, 60 s",
        "training: update 120 of 900, loss 0.0123, 72 s",
    ]
