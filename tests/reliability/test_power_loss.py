"""A training resumes, to the same bits, from every state in which a crash or a loss of power leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from power_loss import Tree, recorded, tree_of, write_tree
from torch import nn

from neuralop_irno import IterativeRefiner, RefinementLoss, UNet, digest
from neuralop_irno.checkpoint import write_bytes
from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.recipe import Recipe
from neuralop_irno.training.trainer import Trainer


def train(folder: Path, resume: bool = False) -> str:
    """Three epochs of one update, each of which improves the score; the digest of the weights."""
    torch.manual_seed(0)
    base = nn.Conv1d(1, 1, 3, padding=1)
    model = IterativeRefiner(base, UNet(1, 1, dim=1, width=2, depth=0), steps=2)
    x = torch.randn(6, 1, 8, generator=torch.Generator().manual_seed(1))
    data = FieldDataset(x, x.roll(1, -1))
    recipe = Recipe(epochs=3, batch_size=6, replay=2.0, save_every=1)
    Trainer(model, recipe, RefinementLoss(), folder, show=False).fit(data, data, resume)
    return digest.of_tensors(model.state_dict())


def test_the_shim_finds_a_writer_that_does_not_fsync_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    with recorded(folder) as record:
        for content in (b"old", b"new"):
            path = folder / "careless"
            path.write_bytes(content)
            path.replace(folder / "file")
    assert {} in record.losses
    with recorded(folder) as record:
        write_bytes(folder / "file", b"third")
    assert {state.get("file") for state in record.losses[-1:]} == {b"third"}
    assert tree_of(folder)["file"] == b"third"


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Tree]]:
    folder = tmp_path_factory.mktemp("power") / "run"
    folder.mkdir()
    torch.set_num_threads(1)
    with recorded(folder) as record:
        result = train(folder)
    assert record.operations > 40
    names = {name for state in record.crashes for name in state}
    assert len([name for name in names if name.startswith(".best-")]) == 2
    assert len([name for name in names if name.startswith("base-")]) == 1
    return result, record.states()


def test_every_state_resumes_to_the_same_bits(states: tuple[str, list[Tree]], tmp_path: Path) -> None:
    result, trees = states
    for place, tree in enumerate(trees):
        folder = tmp_path / str(place)
        folder.mkdir()
        write_tree(tree, folder)
        assert train(folder, resume=True) == result, sorted(tree)
