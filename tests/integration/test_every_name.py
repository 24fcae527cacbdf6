"""Every registered base and correction: built from a config, trained, saved, read back to the bit.

A name without a case fails: so that whatever gets a name can be read back, or is refused by name. Names of
models of other packages that may be absent have theirs in `test_foreign_names`.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import own_names
from foreign_cases import CASES as FOREIGN
from foreign_cases import keep_answer, read_back_in_a_fresh_process
from named_cases import BASES, CORRECTED, MESHES, POINT_NET, PYG, Case, an_experiment, around
from torch_geometric.data import Batch

from neuralop_irno import IterativeRefiner
from neuralop_irno.correction.from_module import as_correction
from neuralop_irno.correction.pyg import networks
from neuralop_irno.registry import CORRECTIONS, MODELS
from neuralop_irno.rollouts import rollout
from neuralop_irno.training.evaluation import scores_per_step
from neuralop_irno.training.run import read_run, train_experiment

# GraphUNet multiplies sparse matrices, of which torch warns.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse (invariant checks|CSR tensor):UserWarning")


def trained_and_read_back(base: Any, correction: Any, case: Case, folder: Path, epochs: int = 1) -> None:
    if case.refused is not None:
        with pytest.raises((ValueError, TypeError), match=rf"^expected .*{case.refused}.*; try "):
            train_experiment(an_experiment(base, correction, case), folder, show=False, say=lambda line: None)
        assert not folder.exists()
        return
    run = an_experiment(base, correction, case, epochs)
    history = train_experiment(run, folder, show=False, say=lambda line: None)
    assert math.isfinite(history[-1]["loss"])
    again, model = read_run(folder)
    valid = again.splits()["valid"]
    once = scores_per_step(model, valid)
    best = min((record["valid"] for record in history), key=lambda valid: valid[-1])
    assert once.mean(1).tolist() == pytest.approx(best, rel=1e-5)
    twice = IterativeRefiner.from_checkpoint(model.save(folder / "again.safetensors")).eval()
    assert torch.equal(scores_per_step(twice, valid), once)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs of all bases."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", BASES)
def test_a_base_by_name_is_trained_around_and_read_back(name: str, runs: Path) -> None:
    """Twenty updates, scores, and two frames of a rollout where x and y are of one kind."""
    case, folder = BASES[name], runs / name
    more = {"samples": [20, 1, 1]} if case.data["name"] == MESHES["name"] else {"train": 20}
    case = replace(case, data={**case.data, **more})
    trained_and_read_back({"model_arch": name, **case.options}, around(case)[1], case, folder, epochs=2)
    if case.refused is not None:
        return
    experiment, model = read_run(folder)
    assert json.loads((folder / "history.json").read_text())[-1]["update"] == 20
    sample = experiment.splits()["test"][0]
    if isinstance(sample, dict):
        call = {"x": sample["x"][None]}
        if sample["x"].shape == sample["y"].shape:
            assert rollout(model.eval(), call["x"], steps=2).frames.isfinite().all()
    else:
        call = model.arguments(Batch.from_data_list([sample]).to_dict())
    if name != POINT_NET and "net" not in case.options:  # whose network this file registers
        keep_answer(model.eval(), call, folder)


def test_the_refiners_of_all_bases_are_read_back_in_a_fresh_process(runs: Path) -> None:
    folders = [answer.parent for answer in runs.glob("*/call.pt")]
    if not folders:
        pytest.skip("no base was trained")
    read_back_in_a_fresh_process(folders)


@pytest.mark.parametrize("name", CORRECTED)
def test_a_correction_by_name_is_trained_and_read_back(name: str, tmp_path: Path) -> None:
    case = CORRECTED[name]
    trained_and_read_back(around(case)[0], {"name": name, **case.options}, case, tmp_path / "run")


@pytest.mark.parametrize("name", [name for name, case in CORRECTED.items() if case.refused is None])
def test_a_printed_correction_begins_with_its_channels(name: str) -> None:
    built = CORRECTIONS.build({"name": name, **CORRECTED[name].options}, in_channels=3, out_channels=2, dim=2)
    first = repr(as_correction(built)).splitlines()[1]
    assert first.lstrip().startswith(
        "? -> 2 channels" if name in ("denoiser", "velocity") else "3 -> 2 channels"
    )


def test_every_registered_name_has_a_case() -> None:
    assert set(BASES) == own_names(MODELS) - (FOREIGN.keys() - BASES.keys())
    assert set(CORRECTED) == {*own_names(CORRECTIONS), *(f"pyg:{name}" for name in PYG)} - {POINT_NET}
    assert set(networks()) <= set(PYG)
