"""One training on samples of several sizes: batches on one grid each, Phi at each sample's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, Subset

from neuralop_irno import FieldDataset, IterativeRefiner, Recipe, Resolution, Trainer, scores_per_step
from neuralop_irno.training.batches import grids_of, load_all
from neuralop_irno.training.replay import Replay
from neuralop_irno.training.resolutions import at_resolutions
from neuralop_irno.training.shards import Shards

SIZES = ((5, 8), (3, 16), (2, 8))


def pairs(count: int, points: int) -> FieldDataset:
    x = torch.randn(count, 1, points, generator=torch.Generator().manual_seed(points + count))
    return FieldDataset(x, x.roll(1, -1), resolution=Resolution(extent="fixed"))


def mixed() -> ConcatDataset[dict[str, torch.Tensor]]:
    return ConcatDataset([pairs(*size) for size in SIZES])


def model() -> IterativeRefiner:
    torch.manual_seed(0)
    base = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    return IterativeRefiner(base, {"name": "unet", "width": 2, "depth": 1}, steps=2)


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"epochs": 3, "batch_size": 2, "optimizer": "adamw", "replay": 4.0, **changes})


def test_batches_have_one_grid_and_each_sample_once() -> None:
    grids = grids_of(mixed())
    assert grids is not None
    assert grids.tolist() == [0] * 5 + [1] * 3 + [0] * 2
    order = Shards(10, 4, grids).order(4, seed=1, epoch=0)
    assert torch.cat(order).sort().values.equal(torch.arange(10))
    assert all(len(grids[batch].unique()) == 1 for batch in order)
    assert [len(batch) for batch in sorted(order, key=len)] == [3, 3, 4]
    assert torch.cat([numbers for numbers, _ in load_all(mixed(), 4)]).equal(torch.arange(10))


def test_parts_of_one_size_are_one_data_set() -> None:
    assert grids_of(ConcatDataset([pairs(2, 8), pairs(3, 8)])) is None
    assert grids_of(Subset(mixed(), [0, 9])) is None
    nested = grids_of(ConcatDataset([mixed(), Subset(mixed(), []), pairs(1, 4)]))
    assert nested is not None
    assert nested.unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "changes",
    [{}, {"replay": 0}, {"replay": 0, "cache_base": False}, {"resolutions": [1, 2]}, {"accumulate": 2}],
)
def test_phi_is_trained_and_evaluated_on_every_grid(changes: dict[str, Any]) -> None:
    refiner = model()
    history = Trainer(refiner, recipe(**changes), show=False).fit(mixed(), mixed())
    coarse = [(4,)] * ("resolutions" in changes)
    assert set(refiner.resolution.cells) >= {(8,), (16,), *coarse}
    assert history[-1]["update"] == 3 * (4 + 2)
    together = scores_per_step(refiner, mixed(), batch_size=2)
    alone = [scores_per_step(refiner, pairs(*size), batch_size=2) for size in SIZES]
    torch.testing.assert_close(together, torch.cat(alone, 1))


def test_resumption_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, resumed = model(), model()
    Trainer(whole, recipe(), show=False).fit(mixed())
    with monkeypatch.context() as patch:
        left, put = iter(range(8)), Replay.put

        def interrupted(*given: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            put(*given)

        patch.setattr(Replay, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Trainer(resumed, recipe(save_every=1), folder=tmp_path, show=False).fit(mixed())
    resumed = model()
    history = Trainer(resumed, recipe(save_every=1), folder=tmp_path, show=False).fit(mixed(), resume=True)
    assert [record["update"] for record in history] == [6, 12, 18]
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_other_resolutions_are_those_of_the_first_grid() -> None:
    assert at_resolutions(model().eval(), mixed(), (1.0, 2.0)).samples == 7


def test_sizes_within_a_data_set_are_refused_by_name() -> None:
    data: Any = [pairs(1, 8)[0], pairs(1, 16)[0]]
    with pytest.raises(ValueError, match="try a ConcatDataset of one data set for each size"):
        Trainer(model(), recipe(), show=False).fit(data)
