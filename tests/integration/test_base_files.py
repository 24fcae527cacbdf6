"""What neuraloperator itself wrote is read, but nothing that it may hide is run."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from neuralop.models import FNO, FNOGNO, GINO, TFNO, UQNO
from torch import nn

from neuralop_irno.base.files import load_base

ON_POINTS = {
    "in_channels": 2, "out_channels": 1, "gno_coord_dim": 2, "fno_n_modes": (2, 2), "fno_hidden_channels": 4,
    "fno_n_layers": 1, "gno_use_open3d": False, "gno_use_torch_scatter": False,
}  # fmt: skip


def fno(kind: type[FNO] = FNO, **options: Any) -> FNO:
    return kind(
        (4, 4), **{"in_channels": 2, "out_channels": 1, "hidden_channels": 4, "n_layers": 1, **options}
    )


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = dict(one.named_parameters()), dict(other.named_parameters())
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


NEURALOPERATORS: dict[str, Callable[[], nn.Module]] = {
    "FNO": fno,
    "FNO by position": lambda: FNO((4, 4), 2, 1, 4, 2),
    "FNO with another activation": lambda: fno(non_linearity=nn.functional.silu),
    "FNO without embedding": lambda: fno(positional_embedding=None),
    "TFNO": lambda: fno(TFNO, factorization="tucker", rank=0.5),
    "GINO": lambda: GINO(**ON_POINTS, fno_in_channels=2),
    "FNOGNO": lambda: FNOGNO(**ON_POINTS),
}


@pytest.mark.parametrize("build", NEURALOPERATORS.values(), ids=NEURALOPERATORS)
def test_files_of_neuraloperator_are_read_without_running_them(
    tmp_path: Path, build: Callable[[], nn.Module]
) -> None:
    base = build()
    base.save_checkpoint(tmp_path, "model")
    assert "_metadata" in torch.load(tmp_path / "model_state_dict.pt", weights_only=False)
    before = contents(tmp_path)
    again = load_base(tmp_path, "model")
    assert type(again) is type(base)
    assert same_bits(base, again)
    assert contents(tmp_path) == before


WITNESSES: list[str] = []


def confess() -> Callable[..., Any]:
    """What a pickle could run. This one is harmless: it leaves a note, and returns an activation."""
    WITNESSES.append("ran")
    return nn.functional.gelu


class Witness:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return confess, ()


@pytest.mark.parametrize("file", ["model_metadata.pkl", "model_state_dict.pt"])
def test_code_in_a_file_runs_only_where_it_is_trusted(tmp_path: Path, file: str) -> None:
    base = fno()
    base.save_checkpoint(tmp_path, "model")
    content = torch.load(tmp_path / file, weights_only=False)
    (content if file.endswith("pkl") else content["_metadata"])["non_linearity"] = Witness()
    torch.save(content, tmp_path / file)
    before = contents(tmp_path)
    WITNESSES.clear()
    reason = rf"{file}, which names test_base_files.confess and needs trusted unpickling; try load_base"
    with pytest.raises(ValueError, match=reason):
        load_base(tmp_path, "model")
    assert not WITNESSES
    assert same_bits(base, load_base(tmp_path, "model", trusted=True))
    assert WITNESSES
    assert contents(tmp_path) == before


# UQNO announces its child's metadata twice.
@pytest.mark.filterwarnings("ignore:Attempting to update metadata:UserWarning")
def test_a_model_that_neuraloperator_pickles_whole_needs_trust(tmp_path: Path) -> None:
    base = UQNO(base_model=fno())
    base.save_checkpoint(tmp_path, "model")
    with pytest.raises(ValueError, match="needs trusted unpickling"):
        load_base(tmp_path, "model")
    assert same_bits(base, load_base(tmp_path, "model", trusted=True))


def another_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("field.npy", b"")


DAMAGED_BASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut short": (lambda path: os.truncate(path, path.stat().st_size // 2), "a whole file model_"),
    "empty": (lambda path: path.write_bytes(b""), "a whole file model_"),
    "another kind": (lambda path: path.write_text("a letter"), "a whole file model_"),
    "a plain pickle": (lambda path: path.write_bytes(pickle.dumps({})), "as torch.save writes it"),
    "another zip": (another_zip, "a whole file model_"),
    "missing": (lambda path: path.unlink(), "a file of neuraloperator's, got no"),
}


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("file", ["model_metadata.pkl", "model_state_dict.pt"])
@pytest.mark.parametrize(("damage", "message"), DAMAGED_BASES.values(), ids=DAMAGED_BASES)
def test_damaged_files_of_neuraloperator_are_named(
    tmp_path: Path, file: str, trusted: bool, damage: Callable[[Path], Any], message: str
) -> None:
    fno().save_checkpoint(tmp_path, "model")
    damage(tmp_path / file)
    before = contents(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_base(tmp_path, "model", trusted)
    assert contents(tmp_path) == before


def test_a_state_is_no_metadata(tmp_path: Path) -> None:
    fno().save_checkpoint(tmp_path, "model")
    torch.save({"weight": torch.ones(1)}, tmp_path / "model_metadata.pkl")
    with pytest.raises(ValueError, match=r"metadata of a neuraloperator model in .*, got \['weight'\]"):
        load_base(tmp_path, "model")
