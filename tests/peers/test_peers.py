"""The real models of one package by name: wrapped, trained two updates, saved, read back in a fresh process.

``make test-peers`` runs it in the environment of each package, whose name is in the variable PEER.
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import torch
from foreign_cases import CASES, keep_answer, read_back_in_a_fresh_process, trained
from torch import nn

from neuralop_irno import IterativeRefiner
from neuralop_irno.base.operator import BaseOperator

PEER = os.environ.get("PEER", "")
CASES_OF = {
    "torch-harmonics": ("sfno", "local_no"),
    "neuraloperator-main": ("sfno", "local_no", "rno", "otno"),
    "poseidon": ("poseidon",),
    "pdetransformer": ("pde_transformer",),
    "physicsnemo": tuple(name for name in CASES if name.startswith("physicsnemo:")),
}
"""The names that the environment of each package has."""

VISION = Path(__file__).with_name("conftest.py").read_text()
"""What a process needs before it imports these packages."""


@pytest.mark.parametrize("name", CASES_OF.get(PEER, ()))
def test_a_real_model_is_trained_and_read_back(name: str, tmp_path: Path) -> None:
    model, call = trained(CASES[name], tmp_path, epochs=1)
    published = model.base.module
    assert isinstance(published, nn.Module)
    assert not type(getattr(published, "published", published)).__module__.startswith("neuralop_irno")
    with torch.no_grad():
        start, answer = (model.base.as_field(found(**call)) for found in (model.base, model))
    assert start.shape == answer.shape
    assert not torch.equal(start, answer)  # two updates of Phi
    keep_answer(model, call, tmp_path)
    read_back_in_a_fresh_process([tmp_path], before=VISION.replace("from __future__ import annotations", ""))


@pytest.mark.skipif(PEER not in ("poseidon", "pdetransformer"), reason="the package has no from_pretrained")
def test_a_folder_of_from_pretrained_is_read(tmp_path: Path) -> None:
    name = {"poseidon": "poseidon", "pdetransformer": "pde_transformer"}[PEER]
    sizes = {"in_channels": 1, "out_channels": 1}
    model = IterativeRefiner(CASES[name].base, steps=1, **sizes)
    published = model.base.module
    published.save_pretrained(tmp_path)
    # PDE-Transformer's config.json lacks the options that it takes as keyword arguments: its own
    # from_pretrained builds another size.
    options = {key: part for key, part in CASES[name].base.items() if key == "max_hidden_size"}
    again = IterativeRefiner({"model_arch": name, "weights": str(tmp_path), **options}, steps=1)
    theirs = published if options else type(published).from_pretrained(tmp_path)
    assert isinstance(again.base, BaseOperator)
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(again.base.module.state_dict()[key], tensor)
    assert again.sizes == model.sizes


@pytest.mark.skipif(PEER != "physicsnemo", reason="it has no registry")
def test_the_registry_of_physicsnemo_finds_the_refiner(monkeypatch: pytest.MonkeyPatch) -> None:
    from physicsnemo.core import registry

    own = EntryPoint("IterativeRefiner", "neuralop_irno:IterativeRefiner", "physicsnemo.models")
    found = entry_points(group="physicsnemo.models")
    # An editable installation of before this entry has no record of it.
    known = found if "IterativeRefiner" in found.names else [*found, own]
    monkeypatch.setattr(registry, "entry_points", lambda group: known if group == own.group else ())
    models = registry.ModelRegistry()
    models.__restore_registry__()
    assert models.factory("IterativeRefiner") is IterativeRefiner
