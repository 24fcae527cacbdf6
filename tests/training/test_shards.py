"""The order of batches, and its shares: the same for every number of processes, and equal."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from neuralop_irno.draws import drawn_for, integer, integers, share, uniform
from neuralop_irno.training.shards import Shards

V = 12
WORLDS = (1, 2, 3, 4, 6, 12)


@pytest.mark.parametrize("samples", [1, 5, 12, 31, 48])
@pytest.mark.parametrize("several", [False, True])
def test_an_epoch_sees_every_sample_once_and_every_window_every_process(samples: int, several: bool) -> None:
    grids = torch.arange(samples) // 7 if several else None
    for epoch in range(3):
        batches = Shards(samples, V, grids).order(12, seed=1, epoch=epoch)
        assert torch.cat(batches).sort().values.equal(torch.arange(samples))
        for world in WORLDS:
            ranks = [Shards(samples, V, grids, rank, world) for rank in range(world)]
            owned = [own.tolist() for shards in ranks for own in [shards.own]]
            assert {i for own in owned for i in own} == set(range(samples))
            for batch in batches:
                shares = [shards.share(batch) for shards in ranks]
                assert all(set(own.tolist()) <= set(has) for (own, _), has in zip(shares, owned, strict=True))
                assert sorted(i for own, weight in shares if weight for i in own.tolist()) == sorted(
                    batch.tolist()
                )
                assert all(len(own) == 1 for own, weight in shares if not weight)
    whole = Shards(48, V).order(6, seed=1, epoch=0)
    for world in (1, 2, 3, 6):
        ranks = [Shards(48, V, None, rank, world) for rank in range(world)]
        assert {len(shards.share(batch)[0]) for shards in ranks for batch in whole} == {6 // world}


def test_orders_are_seeded_and_differ_from_epoch_to_epoch() -> None:
    first, *others = (
        torch.cat(Shards(40, 4).order(4, seed, epoch)) for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert [torch.equal(first, other) for other in others] == [True, False, False]
    # A batch mixes the samples of one shard with any samples of the others.
    pairs = Counter(
        tuple(sorted(batch.tolist())) for epoch in range(2000) for batch in Shards(8, 2).order(2, 0, epoch)
    )
    assert len(pairs) == 16
    assert min(pairs.values()) > 400


def test_a_number_of_processes_that_divides_no_shards_is_refused() -> None:
    with pytest.raises(
        ValueError, match="expected a number of processes that divides the 16 shards, got 3; "
    ):
        Shards(8, 16, None, 0, 3)
    with pytest.raises(ValueError, match="try shards: 48"):
        Shards(8, 16, None, 0, 3)


def test_draws_belong_to_samples_and_not_to_batches() -> None:
    def drawn(numbers: list[int], update: int) -> tuple[object, ...]:
        with drawn_for(torch.tensor(numbers), 3, update):
            return integers(9, len(numbers)), uniform(len(numbers)), integer(0, 99), share(), integers(9, 99)

    whole, part, later = drawn([4, 0, 8], 1), drawn([8, 4], 1), drawn([4, 0, 8], 2)
    for one, other in zip(whole[:2], part[:2], strict=True):
        assert torch.equal(one[[2, 0]], other)
    assert whole[2:4] == part[2:4] != later[2:4]
    assert not torch.equal(whole[1], later[1])
    with drawn_for(torch.arange(100_000), 0):
        many, coin = uniform(100_000), integers(2, 100_000).double()
    for moment, wanted in ((many, 1 / 2), (many**2, 1 / 3), (many[1:] * many[:-1], 1 / 4), (coin, 1 / 2)):
        assert moment.mean().item() == pytest.approx(wanted, abs=0.01)
