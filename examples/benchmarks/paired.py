"""Two things timed in turns, A B A B .., so that a machine whose speed drifts is fair to both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How long A takes in units of B: the median of the pairs, and the middle half of them."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f}  [{self.low:.3f}, {self.high:.3f}]"


def paired(
    a: Callable[[], object],
    b: Callable[[], object],
    pairs: int = 15,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Time two calls in turns, and give the ratio pair by pair."""
    for _ in range(warmup):
        a()
        b()
    ratios = []
    for pair in range(pairs):
        # The order within a pair alternates too: whoever comes second finds other caches.
        first, second = (a, b) if pair % 2 == 0 else (b, a)
        times = {first: seconds(first, clock), second: seconds(second, clock)}
        ratios.append(times[a] / times[b])
    quarters = statistics.quantiles(ratios, n=4)
    return Ratio(statistics.median(ratios), quarters[0], quarters[2])


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long one call takes, by a clock on the wall or of the processor."""
    start = clock()
    call()
    return clock() - start
