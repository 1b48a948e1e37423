"""Paired bootstrap: how much two sets of answers to the same samples differ, with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from weft.metrics.bootstrap import align, draws, percentiles
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
