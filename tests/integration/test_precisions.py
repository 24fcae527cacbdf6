"""Every base and correction by name in float64, and refused by name where a field is in another precision."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from test_every_name import BASES, CORRECTED, Case, an_experiment, around
from torch import Tensor, nn

from neuralop_irno import IterativeRefiner, RefinementLoss
from neuralop_irno.config import Experiment
from neuralop_irno.training.batches import load_all

pytestmark = pytest.mark.filterwarnings("ignore:Sparse (invariant checks|CSR tensor):UserWarning")

FLOAT32_ALONE = ("gino", "pyg:SGFormer")
CASES = [("base", name) for name, case in BASES.items() if not case.refused]
CASES += [("correction", name) for name, case in CORRECTED.items() if not case.refused]


def configured(kind: str, name: str) -> Experiment:
    case: Case = (BASES if kind == "base" else CORRECTED)[name]
    base, correction = around(case)
    if kind == "base":
        return an_experiment({"model_arch": name, **case.options}, correction, case)
    return an_experiment(base, {"name": name, **case.options}, case)


def in_dtype(sample: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    real = {k for k, v in sample.items() if isinstance(v, Tensor) and v.is_floating_point()}
    return {k: v.to(dtype) if k in real else v for k, v in sample.items()}


def field_of(answer: Any) -> Tensor:
    """The field of an answer, which UQNO gives with its band."""
    return answer if isinstance(answer, Tensor) else answer[0]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_model_moves_to_float64_and_back(kind: str, name: str) -> None:
    run = configured(kind, name)
    splits = run.splits()
    model = run.build_refiner(run.build_base(splits)).eval()
    _, sample = next(load_all(splits["train"], batch_size=2))
    call = model.arguments(sample)
    double = in_dtype(call, torch.float64)
    with torch.no_grad():
        single = field_of(model(**call))
        with pytest.raises(TypeError, match=r"^expected .* in torch.float32, as .*float64; .*model.double"):
            model(**double)
        assert torch.equal(field_of(model(**call)), single)  # the refusal changed nothing
        if name in FLOAT32_ALONE:
            with pytest.raises(TypeError, match=r"^expected fields in torch.float32 for .*model.float\(\)"):
                model.double()(**double)
            return
        exact = field_of(model.double()(**double))
        assert exact.dtype == torch.float64
        torch.testing.assert_close(exact.float(), single, rtol=1e-3, atol=1e-4)
        with pytest.raises(TypeError, match=r"^expected .* in torch.float64, as .*float32; .*model.float"):
            model(**call)
        assert torch.equal(field_of(model.float()(**call)), single)
    truth = in_dtype(sample, torch.float64)
    loss = RefinementLoss(spectral=0.1)(model.double().train()(**truth), truth["y"])
    loss.backward()
    assert all(p.grad is None or p.grad.dtype.to_real() == torch.float64 for p in model.parameters())


X, Y = torch.randn(2, 2, 8, 8), torch.randn(2, 1, 8, 8)
OTHERS = [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.bool]


@contextmanager
def passing_or_refused(pattern: str) -> Iterator[None]:
    """Nothing is raised, or a TypeError that says so."""
    try:
        yield
    except TypeError as error:
        if not re.search(pattern, str(error)):
            raise


def first_channel(x: Tensor) -> Tensor:
    return x[:, :1]


@pytest.mark.parametrize("dtype", [*OTHERS, torch.float8_e4m3fn])
@pytest.mark.parametrize("base", [nn.Conv2d(2, 1, 1), first_channel])
def test_fields_in_another_precision_pass_or_are_refused_by_name(dtype: torch.dtype, base: Any) -> None:
    words = {"in_channels": 2, "out_channels": 1, "steps": 2}
    model = IterativeRefiner(base, {"name": "unet", "width": 4, "depth": 1}, **words)
    calls = [
        lambda: model.eval()(X.to(dtype)),
        lambda: model.eval().solve(X.to(dtype), rtol=0.1).value,
        lambda: model.eval()(X, start=Y.to(dtype)),
        lambda: RefinementLoss(fixed_point=1.0)(model.train()(X, y=Y.to(dtype)), Y.to(dtype)),
    ]
    for call in calls:
        with passing_or_refused(f"^expected .*, got {dtype}; try "):
            assert call().dtype == torch.float32


def test_autocast_takes_half_precision() -> None:
    model = IterativeRefiner(nn.Conv2d(2, 1, 1), {"name": "unet", "width": 4, "depth": 1}).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(X.bfloat16()).dtype == torch.float32


def test_fields_on_other_devices_or_without_values_are_refused_by_name() -> None:
    model = IterativeRefiner(nn.Conv2d(2, 1, 1), {"name": "unet", "width": 4, "depth": 1}).eval()
    with pytest.raises(ValueError, match=r"^expected . on cpu, as the weights of .*, got meta; try all"):
        model(X.to("meta"))
    with pytest.raises(TypeError, match=r"^expected x as a dense tensor, got torch.sparse_coo; try x.to_d"):
        model(X.to_sparse())
    moved = model.to("meta")
    assert moved(X.to("meta")).shape == Y.shape
    with pytest.raises(ValueError, match=r"^expected . on meta, as the weights of .*, got cpu; try all"):
        moved(X)
    with pytest.raises(ValueError, match=r"^expected fields with values in solve, got meta tensors; try"):
        moved.solve(X.to("meta"), rtol=0.1)
