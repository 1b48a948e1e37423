"""Paired bootstrap: how much two sets of answers to the same samples differ, with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from weft.metrics.bootstrap import align, draws, percentiles
from weft.report.numbers import Interval
from weft.types import Records


class Scored(Protocol):
    """What is needed of a task: its figures from records."""

    def figures(self, records: Records) -> dict[str, float]:
        """The figures over all samples of the records."""


#: Gives the tasks of a run by name.
LoadTasks = Callable[[Path], Mapping[str, Scored]]


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


@dataclass(frozen=True)
class Drawn:
    """The figures of some samples and of their resamples, the same samples for everyone who draws from the same ids.

    Attributes:
        figures: the names of the F figures.
        values: (F,) over the samples.
        resamples: (R, F) over each resample.
        count: of the samples.
    """

    figures: tuple[str, ...]
    values: np.ndarray
    resamples: np.ndarray
    count: int

    @classmethod
    def of(
        cls, task: Scored, records: Records, *, groups: Mapping[str, str], num_resamples: int = 1000, seed: int = 0
    ) -> Drawn:
        """Score records and their resamples.

        Args:
            task: gives the figures of records.
            records: one sample or more.
            groups: {sample id: group}: whole groups are resampled where it is not empty; a sample without a group is
                one of its own.
            num_resamples: drawn with replacement.
            seed: of the draws.
        """
        found = task.figures(records)
        resamples = np.full((num_resamples, len(found)), math.nan)
        labels = [groups.get(sample, "") for sample in records.ids]
        for row, index in enumerate(draws(labels, num_resamples, seed=seed)):
            resamples[row] = list(task.figures(records.take(index)).values())
        return cls(tuple(found), np.array(list(found.values())), resamples, len(records))

    @classmethod
    def mean_of(cls, drawn: Sequence[Drawn]) -> Drawn:
        """The mean of several that were drawn from the same samples, of the figures that all have."""
        both = tuple(name for name in drawn[0].figures if all(name in one.figures for one in drawn))
        places = [[one.figures.index(name) for name in both] for one in drawn]
        values = np.mean([one.values[place] for one, place in zip(drawn, places, strict=True)], axis=0)
        resamples = np.mean([one.resamples[:, place] for one, place in zip(drawn, places, strict=True)], axis=0)
        return cls(both, values, resamples, drawn[0].count)

    def with_mean(self, name: str, parts: Sequence[str]) -> Drawn:
        """The same with one figure more: the mean of some others, of those that the samples can tell."""
        there = [self.figures.index(part) for part in parts if part in self.figures]
        if not there:
            return self
        values = _mean_of_known(self.values[None, there])
        resamples = _mean_of_known(self.resamples[:, there])
        return Drawn(
            (*self.figures, name),
            np.concatenate([self.values, values]),
            np.column_stack([self.resamples, resamples]),
            self.count,
        )

    def interval(self, name: str, *, level: float = 0.95) -> Interval:
        """One figure with its percentile interval."""
        column = self.figures.index(name)
        low, high = percentiles(self.resamples[:, [column]], level)
        return Interval(float(self.values[column]), low[0], high[0])


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """(n,) the mean of every row of (n, k) over what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0).sum(1), known.sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def difference(first: Drawn, second: Drawn, *, level: float = 0.95) -> dict[str, Difference]:
    """{figure: second − first} with its percentile interval, of the figures that both have.

    Args:
        first, second: drawn from the same samples in the same order, with the same groups and seed.
        level: share of the resamples within the interval.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    both = [name for name in first.figures if name in second.figures]
    ours, theirs = ([drawn.figures.index(name) for name in both] for drawn in (first, second))
    low, high = percentiles(second.resamples[:, theirs] - first.resamples[:, ours], level)
    return {
        name: Difference(
            float(first.values[a]),
            float(second.values[b]),
            Interval(float(second.values[b] - first.values[a]), low[column], high[column]),
            first.count,
        )
        for column, (name, a, b) in enumerate(zip(both, ours, theirs, strict=True))
    }


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
    """
    first, second = align(first, second)
    if not len(first):
        return {}
    drawn = [
        Drawn.of(task, records, groups=groups, num_resamples=num_resamples, seed=seed) for records in (first, second)
    ]
    return difference(*drawn, level=level)
