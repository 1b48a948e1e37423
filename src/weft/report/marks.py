"""Small drawings inside table cells, as positions in percent of the cell: dots with whiskers, and bars."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from weft.report.numbers import Interval


@dataclass(frozen=True)
class Whisker:
    """A dot on its interval: `left` and `width` of the interval, `dot` the value, all in percent of the cell."""

    left: float
    width: float
    dot: float


@dataclass(frozen=True)
class Bar:
    """A bar from `left`, `width` wide, in percent of the cell; `negative` where it points below zero."""

    left: float
    width: float
    negative: bool = False


@dataclass(frozen=True)
class Scale:
    """The range of values that a column of cells shares."""

    low: float
    high: float

    @classmethod
    def over(cls, intervals: Iterable[Interval], *, zero: bool = False) -> Scale:
        """Just wide enough for the intervals, and for zero if asked."""
        ends = [end for i in intervals for end in (i.value, i.low, i.high) if math.isfinite(end)]
        ends += [0.0] if zero or not ends else []
        room = 0.04 * (max(ends) - min(ends)) or 0.5
        return cls(min(ends) - room, max(ends) + room)

    def place(self, value: float) -> float:
        """Percent from the left."""
        return 100 * (value - self.low) / (self.high - self.low)

    def whisker(self, interval: Interval) -> Whisker | None:
        """The drawing of one value, None where it is not known."""
        if not interval.known:
            return None
        dot = self.place(interval.value)
        low, high = (self.place(interval.low), self.place(interval.high)) if interval.has_range else (dot, dot)
        return Whisker(low, high - low, dot)


def bar(value: float, largest: float) -> Bar | None:
    """A bar from zero at the left edge."""
    if not math.isfinite(value) or largest <= 0:
        return None
    return Bar(0, 100 * min(1.0, max(0.0, value) / largest))


def diverging_bar(value: float, largest: float) -> Bar | None:
    """A bar from zero in the middle, to the right for gains and to the left for losses."""
    if not math.isfinite(value) or largest <= 0:
        return None
    width = 50 * min(1.0, abs(value) / largest)
    return Bar(50 - width if value < 0 else 50, width, value < 0)
