"""Figures of one task in several runs, resampled: each of the same run, subset and samples only once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from weft.metrics.bootstrap import align
from weft.report.bootstrap import Difference, Drawn, Scored, difference
from weft.report.numbers import Interval
from weft.report.run import Evaluation
from weft.types import Records

UNKNOWN = Interval(math.nan)


class Draws:
    """Resampled figures of one task: of each run, subset and set of samples once, by the run's own task.

    Args:
        name: of the task.
        evaluations: by letter, of the runs that have the task.
        scored: {letter: the run's tasks}.
        means: {figure: others that it is the mean of}.
    """

    def __init__(
        self,
        name: str,
        evaluations: Mapping[str, Evaluation],
        scored: Mapping[str, Mapping[str, Scored]],
        *,
        means: Mapping[str, Sequence[str]],
    ) -> None:
        self.name, self.evaluations, self._means = name, evaluations, means
        self._tasks = {letter: tasks[name] for letter, tasks in scored.items() if name in tasks}
        self._groups = next(iter(evaluations.values())).groups
        self._records: dict[tuple[str, str], Records] = {}
        self._drawn: dict[tuple[str, str, tuple[str, ...]], Drawn] = {}

    def from_first(self, keys: Mapping[str, str]) -> dict[str, dict[str, Difference]]:
        """{letter: {figure: difference from the first}} on the modalities that `keys` names for each run."""
        first, *others = keys
        return {letter: self.difference((first, keys[first]), (letter, keys[letter])) for letter in others}

    def difference(self, first: tuple[str, str], second: tuple[str, str]) -> dict[str, Difference]:
        """{figure: second − first} of two (letter, subset), on the samples that both have."""
        if first[0] not in self._tasks or second[0] not in self._tasks:
            return {}
        ours, theirs = align(self._kept(first), self._kept(second))
        if not len(ours):
            return {}
        return difference(self._draw(first, ours), self._draw(second, theirs))

    def interval(self, place: tuple[str, str], figure: str) -> Interval:
        """A figure of one (letter, subset) over all its samples; unknown where it cannot be told."""
        if place[0] not in self._tasks or not len(self._kept(place)):
            return UNKNOWN
        drawn = self._draw(place, self._kept(place))
        return drawn.interval(figure) if figure in drawn.figures else UNKNOWN

    def _kept(self, place: tuple[str, str]) -> Records:
        if place not in self._records:
            letter, subset = place
            self._records[place] = self.evaluations[letter].records(self.name, subset)
        return self._records[place]

    def _draw(self, place: tuple[str, str], records: Records) -> Drawn:
        letter, subset = place
        key = (letter, subset, tuple(records.ids))
        if key not in self._drawn:
            drawn = Drawn.of(self._tasks[letter], records, groups=self._groups)
            for figure, parts in self._means.items():
                drawn = drawn.with_mean(figure, parts)
            self._drawn[key] = drawn
        return self._drawn[key]
