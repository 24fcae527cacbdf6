"""Time two calls alternately, A B A B .., so that changes in machine speed affect both equally."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """Time of A / time of B: the median over the pairs, and the quartiles."""

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
    """Time two calls alternately; returns the ratio over the pairs."""
    for _ in range(warmup):
        a()
        b()
    ratios = []
    for pair in range(pairs):
        # Alternate the order within a pair too, since the second call finds warmer caches.
        first, second = (a, b) if pair % 2 == 0 else (b, a)
        times = {first: seconds(first, clock), second: seconds(second, clock)}
        ratios.append(times[a] / times[b])
    quarters = statistics.quantiles(ratios, n=4)
    return Ratio(statistics.median(ratios), quarters[0], quarters[2])


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """The time of one call, in wall or CPU seconds according to the clock."""
    start = clock()
    call()
    return clock() - start
