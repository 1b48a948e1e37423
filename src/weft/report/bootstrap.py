"""Paired bootstrap: how much two sets of answers to the same samples differ, with an interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from weft.report.numbers import Interval
from weft.types import Records


class Scored(Protocol):
    """What is needed of a task: its figures from records."""

    def figures(self, records: Records) -> dict[str, float]:
        """The figures over all samples of the records."""


@dataclass(frozen=True)
class Difference:
    """Second minus first on the samples that both have.

    Attributes:
        first, second: the figure of each on those samples.
        interval: of second − first.
        count: samples that both have.
    """

    first: float
    second: float
    interval: Interval
    count: int

    @property
    def value(self) -> float:
        """Second minus first."""
        return self.interval.value

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.interval.has_range and (self.interval.low > 0 or self.interval.high < 0)


def paired_differences(
    task: Scored,
    first: Records,
    second: Records,
    *,
    groups: Mapping[str, str],
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Difference]:
    """{figure: second − first}, each with its percentile interval; both are scored on the same resampled samples.

    Args:
        task: gives the figures of records.
        first, second: records of the two; samples that only one has are left out.
        groups: {sample id: group}: whole groups are resampled where it is not empty; a sample without a group is one
            of its own.
        num_resamples: drawn with replacement.
        level: share of the resamples within the interval.
        seed: of the draws.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    first, second = align(first, second)
    if not len(first):
        return {}
    of_first, of_second = task.figures(first), task.figures(second)
    names = [name for name in of_first if name in of_second]
    drawn = np.full((num_resamples, len(names)), math.nan)
    for row, index in enumerate(draws([groups.get(sample, "") for sample in first.ids], num_resamples, seed=seed)):
        a, b = task.figures(first.take(index)), task.figures(second.take(index))
        drawn[row] = [b[name] - a[name] for name in names]
    low, high = percentiles(drawn, level)
    return {
        name: Difference(
            of_first[name],
            of_second[name],
            Interval(of_second[name] - of_first[name], low[column], high[column]),
            len(first),
        )
        for column, name in enumerate(names)
    }


def align(first: Records, second: Records) -> tuple[Records, Records]:
    """Both with the samples that both have, in the order of the first."""
    place = {sample: index for index, sample in enumerate(second.ids)}
    both = [(index, place[sample]) for index, sample in enumerate(first.ids) if sample in place]
    index = np.asarray(both, dtype=np.int64).reshape(-1, 2)
    return first.take(index[:, 0]), second.take(index[:, 1])


def draws(groups: Sequence[str], num_resamples: int, *, seed: int) -> Iterator[np.ndarray]:
    """Indices of resampled samples: as many groups as there are, with replacement, each with all its samples.

    Args:
        groups: the group of every sample; "" is a sample that is a group of its own.
        num_resamples: how many draws.
        seed: of the draws.
    """
    members: dict[tuple[str, int], list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault((group, -1) if group else ("", index), []).append(index)
    units = [np.asarray(indices) for indices in members.values()]
    random = np.random.default_rng(seed)
    for _ in range(num_resamples):
        chosen = random.integers(0, len(units), len(units))
        yield chosen if len(units) == len(groups) else np.concatenate([units[unit] for unit in chosen])


def percentiles(drawn: np.ndarray, level: float) -> tuple[list[float], list[float]]:
    """Low and high ends of every column of `drawn` (resamples, figures).

    A figure that a resample could not tell (NaN) is left out of that resample; one that fewer than half of the
    resamples could tell has no interval.
    """
    low, high = [], []
    for column in drawn.T:
        known = column[~np.isnan(column)]
        enough = 2 * len(known) >= len(column) and len(known) > 0
        ends = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if enough else (math.nan, math.nan)
        low.append(float(ends[0]))
        high.append(float(ends[1]))
    return low, high
