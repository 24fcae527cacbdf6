"""What checkpoints refuse and keep: kinds of numbers, permissions, and no folders of other machines."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_checkpoints import UNET, WITNESSES, Witness, convolution, fno, same_bits, trained

from neuralop_irno import IterativeRefiner, checkpoint


def test_a_safetensors_file_is_taken_for_a_pickle_at_no_length_of_its_header(tmp_path: Path) -> None:
    """The file starts with that length, whose two low bytes may be those that a pickle starts with."""
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        for length in range(0, 2**16, 8):  # safetensors pads its header to a multiple of 8
            file.seek(0)
            file.write(length.to_bytes(8, "little") + b"{")
            file.flush()
            assert not checkpoint.is_pickle(path), length


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580, 0x4B50])
def test_headers_that_begin_like_a_pickle_are_read(tmp_path: Path, length: int) -> None:
    path = checkpoint.write(tmp_path / "model.safetensors", {"w": torch.ones(2)}, {"n": ""})
    missing = length - int.from_bytes(path.read_bytes()[:8], "little")
    checkpoint.write(path, {"w": torch.ones(2)}, {"n": "x" * missing})
    assert int.from_bytes(path.read_bytes()[:8], "little") == length
    assert checkpoint.read(path)[1] == {"n": "x" * missing}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol_are_named(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Witness(), protocol=protocol))
    with pytest.raises(ValueError, match=r"a pickle in model\.safetensors"):
        checkpoint.read(path)


SPOILED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "real for complex": (lambda w: w.abs() if w.is_complex() else w, r"float32 .* for complex64 "),
    "whole for real": (lambda w: w.int() if w.is_floating_point() else w, r"int32 .* for float32 "),
    "NaN": (
        lambda w: w * torch.nan if w.is_floating_point() else w,
        "finite weights, got NaN or",
    ),
    "infinity": (lambda w: w * torch.inf if w.is_complex() else w, "finite weights, got NaN or"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED)
def test_weights_of_another_kind_and_such_that_are_not_finite_are_refused(
    tmp_path: Path, spoil: Callable[[Any], Any], message: str
) -> None:
    model = trained(fno(), UNET)
    path = model.save(tmp_path / "model.safetensors", with_base=True)
    tensors, content = checkpoint.read(path)
    checkpoint.write(path, {name: spoil(tensor) for name, tensor in tensors.items()}, content)
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(ValueError, match=message):
        IterativeRefiner.from_checkpoint(path)
    with pytest.raises(ValueError, match=message):
        model.load_checkpoint(tmp_path, "model")
    assert all(map(torch.equal, before, model.parameters()))


def test_a_model_in_double_precision_comes_back_to_the_bit(tmp_path: Path) -> None:
    model = trained(convolution(), UNET).double()
    path = model.save(tmp_path / "model.safetensors")
    again = IterativeRefiner.from_checkpoint(path, base=convolution())
    assert same_bits(model, again)
    assert {weight.dtype for weight in again.parameters()} == {torch.float64}
    with pytest.raises(ValueError, match=r"float64 .* for float32"):
        trained(convolution(), UNET).load_checkpoint(tmp_path, "model")


def test_complex_weights_in_double_precision_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected weights in a precision .* got complex128 in base\."):
        trained(fno(), UNET).double().save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def on_points(cache: Path) -> IterativeRefiner:
    sizes: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "width": 4, "steps": 1}
    base = {"model_arch": "rigno", "time": False, "cache": str(cache), **sizes}
    return trained(base, {"name": "rigno", "width": 4, "steps": 1}, in_channels=1, out_channels=1)


def test_a_checkpoint_that_is_loaded_writes_nowhere(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    model = on_points(place)
    path = model.save(tmp_path / "model.safetensors")
    x, pos = torch.randn(24, 1), torch.rand(24, 2)
    again = IterativeRefiner.from_checkpoint(path)
    assert torch.equal(again.eval()(x, pos=pos), again(x, pos=pos))
    assert not place.exists()
    tensors, content = checkpoint.read(path)
    assert str(place) not in json.dumps(content)
    content["model"]["base"]["cache"] = str(place)  # as files of format 1 have it, or a file from elsewhere
    checkpoint.write(path, tensors, content)
    with pytest.warns(UserWarning, match="no cache folder in model.safetensors, got one, which is not used"):
        again = IterativeRefiner.from_checkpoint(path).eval()
    again(x, pos=pos)
    assert not place.exists()
    torch.testing.assert_close(again(x, pos=pos), model(x, pos=pos))  # which keeps its own cache
    assert place.exists()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = checkpoint.write_bytes(tmp_path / "history.json", b"[]")
    path.chmod(mode)
    checkpoint.write_bytes(path, b"[1]")
    assert path.read_bytes() == b"[1]"
    assert path.stat().st_mode & 0o777 == mode


def test_the_pickle_for_neuraloperators_trainer_is_never_read(tmp_path: Path) -> None:
    model = trained(fno(), UNET)
    model.save_checkpoint(tmp_path, "model")
    (base,) = (path.name for path in tmp_path.glob("base-*"))
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", base, "model_state_dict.pt"}
    WITNESSES.clear()
    torch.save(Witness(), tmp_path / "model_state_dict.pt")
    assert same_bits(model, IterativeRefiner.from_checkpoint(tmp_path, "model"))
    model.load_checkpoint(tmp_path, "model")
    assert not WITNESSES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": [1]}, "expected a refiner's checkpoint, got one of something else in model.safetensors"),
        ({"calibration": {"x": 1}}, "expected a calibration in model.safetensors, got TypeError: .*'x'"),
        ({"calibration": 3}, "expected a calibration in model.safetensors, got TypeError"),
    ],
)
def test_content_of_another_kind_is_named(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = IterativeRefiner(fno(), UNET, steps=1)
    path = model.save(tmp_path / "model.safetensors")
    tensors, own = checkpoint.read(path)
    checkpoint.write(path, tensors, {**own, **content})
    with pytest.raises(ValueError, match=message):
        IterativeRefiner.from_checkpoint(path)
