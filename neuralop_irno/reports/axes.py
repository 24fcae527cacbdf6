"""Axes of a plot: a number to its place in pixels, and the ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """An axis from the place ``start`` to the place ``end``, in pixels.

    Attributes:
        low, high: its limits.
        log: whether it is logarithmic.
        start, end: their places.
        ticks: the numbers that are marked.
    """

    low: float
    high: float
    log: bool
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def over(
        cls, values: Iterable[float], start: float, end: float, log: bool | None = None, whole: bool = False
    ) -> Axis:
        """An axis on which all values have a place.

        Args:
            values: finite ones.
            start: its place, in pixels.
            end: its place.
            log: by default if all values are positive and the largest is more than 20 times the smallest.
            whole: whether only whole numbers are marked.

        Example:
            >>> Axis.over([0, 7], 0, 100, whole=True).ticks
            (0.0, 2.0, 4.0, 6.0)
            >>> Axis.over([0.01, 3], 0, 100).ticks
            (0.01, 0.1, 1.0)
        """
        known = list(values) or [0.0, 1.0]
        low, high = min(known), max(known)
        if log is None:
            log = low > 0 and high > 20 * low
        log = log and low > 0 and (low == high or high > 2 * low)  # of less, decades have no ticks
        if low == high:
            low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
        if log:
            return cls(low, high, True, start, end, _decades(low, high))
        return cls(low, high, False, start, end, _steps(low, high, whole))

    def widened(self, share: float) -> Axis:
        """The same axis with a margin at both ends, in units of its length."""
        return Axis(*self._ends(share), self.log, self.start, self.end, self.ticks)

    def place(self, value: float) -> float:
        """The place of a number; those beyond the limits are on them."""
        if self.log:
            part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)

    def _ends(self, share: float) -> tuple[float, float]:
        if self.log:
            factor = (self.high / self.low) ** share
            return self.low / factor, self.high * factor
        margin = share * (self.high - self.low)
        return self.low - margin, self.high + margin


def _steps(low: float, high: float, whole: bool) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten, three to seven of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    if whole:
        step = max(round(step), 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(float(f"{number * step:.10g}") for number in range(first, last + 1))


def _decades(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten; of few decades also 2 and 5 times them, of many not each."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if math.log10(high / low) < 1.7 else (1,)
    every = max(1, (last - first) // 6)
    numbers = (factor * 10.0**power for power in range(first, last + 1, every) for factor in factors)
    found = tuple(float(f"{number:.3g}") for number in numbers if low * 0.999 <= number <= high * 1.001)
    return found if len(found) > 1 else (float(f"{low:.2g}"), float(f"{high:.2g}"))


def labels(ticks: Sequence[float]) -> list[str]:
    """Ticks as text, with as many digits as make them different.

    Example:
        >>> labels([0.0, 0.5]), labels([1e-5, 1e-4, 20000.0]), labels([1e6, 1000020.0])
        (['0', '0.5'], ['1e-5', '1e-4', '2e4'], ['1.00000e6', '1.00002e6'])
    """
    for digits in range(1, 16):
        found = [_label(tick, digits) for tick in ticks]
        if len({*found}) == len(ticks) and all(
            math.isclose(float(text), tick, rel_tol=0.006) or not tick
            for text, tick in zip(found, ticks, strict=True)
        ):
            break
    return found


def _label(number: float, digits: int) -> str:
    if number == 0 or 1e-3 <= abs(number) < 1e4:
        return f"{number:.{digits}g}" if digits > 4 else f"{number:.4g}"
    text, _, power = f"{number:.{digits - 1}e}".partition("e")
    return f"{text}e{int(power)}"
