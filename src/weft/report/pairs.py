"""Several runs beside each other: their figures, and how much each differs from the first, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft.metrics.bootstrap import align
from weft.report import numbers
from weft.report.bootstrap import Difference, Drawn, Scored, difference
from weft.report.marks import Bar, diverging_bar
from weft.report.numbers import Interval, Style
from weft.report.run import Evaluation, TaskResult
from weft.report.worth import class_base
from weft.types import Records

UNKNOWN = Interval(math.nan)

#: Name, among the classes, of the mean over the rare ones.
RAREST = "rarest third, mean"


@dataclass(frozen=True)
class Change:
    """One figure of one run against the same of the first run.

    Attributes:
        difference: this run − the first, as the figures are.
        style: how the figure is written.
        bar: the drawing of the gain beside the other rows of the table.
    """

    difference: Difference
    style: Style
    bar: Bar | None = None

    @property
    def known(self) -> bool:
        """Whether both runs could tell the figure."""
        return not math.isnan(self.difference.value)

    @property
    def gain(self) -> float:
        """The difference turned so that positive is better."""
        return self.difference.value if self.style.higher_is_better else -self.difference.value

    @property
    def gained(self) -> Interval:
        """The same with its interval."""
        found = self.difference.interval
        return found if self.style.higher_is_better else Interval(-found.value, -found.high, -found.low)

    @property
    def conclusion(self) -> str:
        """Better or worse where the interval excludes zero."""
        if not self.difference.interval.has_range:
            return ""
        if not self.difference.excludes_zero:
            return "within noise"
        return "better" if self.gain > 0 else "worse"

    @property
    def text(self) -> str:
        """The difference with its sign."""
        return numbers.signed(self.difference.value, self.style)

    @property
    def span(self) -> str:
        """The interval of the difference."""
        return numbers.signed_span(self.difference.interval, self.style)


@dataclass(frozen=True)
class Row:
    """One figure: a value per run, by letter, and a change per run but the first."""

    task: str
    subset: str
    figure: str
    style: Style
    values: Mapping[str, Interval]
    changes: Mapping[str, Change]

    @property
    def item(self) -> str:
        """The class or point of a figure that is of one."""
        return self.figure.split("/", 1)[1] if "/" in self.figure else ""

    @property
    def heading(self) -> str:
        """The figure as a table of several figures names it."""
        return f"{self.style.heading}: {self.item}" if self.item else self.style.heading

    def rank(self, letter: str) -> tuple[bool, float]:
        """Sorts the best run first, and those of which nothing is known last."""
        value = self.values[letter]
        return not value.known, 0.0 if not value.known else -value.value if self.style.higher_is_better else value.value


@dataclass(frozen=True)
class TaskRows:
    """One task in all the runs.

    Attributes:
        main: how its main figure is written.
        figures: of the whole task with all the modalities that each run has.
        classes: the figure per class that belongs to the main one.
        rare: the same of the rare classes, the rarest first, after the mean over them; empty where nothing is known of
            how frequent classes are.
        subsets: the main figure by subset, where at least two runs scored the same one.
        count: {letter: samples that this run has in common with the first}.
        lacking: letters of runs without this task.
        against: {(letter, other letter): the main figure of the one less that of the other}, of three runs or more.
    """

    name: str
    main: Style
    figures: tuple[Row, ...]
    classes: tuple[Row, ...]
    rare: tuple[Row, ...]
    subsets: tuple[Row, ...]
    count: Mapping[str, int]
    lacking: tuple[str, ...]
    against: Mapping[tuple[str, str], Change]

    @property
    def main_row(self) -> Row:
        """The row of the main figure."""
        return next(row for row in self.figures if row.style.title == self.main.title)

    @property
    def letters(self) -> tuple[str, ...]:
        """Of the runs that have the task."""
        return tuple(self.main_row.values)


def task_rows(
    name: str,
    evaluations: Mapping[str, Evaluation],
    scored: Mapping[str, Mapping[str, Scored]],
    *,
    rare: Sequence[str] = (),
) -> TaskRows:
    """All rows of one task.

    Args:
        name: of the task.
        evaluations: of each run, by letter, the first run first.
        scored: {letter: the run's tasks}.
        rare: the rare classes, the rarest first.
    """
    having = {letter: e for letter, e in evaluations.items() if name in e.tasks}
    task = next(iter(having.values())).tasks[name]
    keys = {letter: evaluation.full for letter, evaluation in having.items()}
    first = next(iter(evaluations))  # differences are from the first run, or there are none
    base = class_base(task)
    mean, parts = f"{base}/{RAREST}", [f"{base}/{one}" for one in rare]
    draws = _Draws(name, having, scored, means={mean: parts} if parts else {})
    differences = draws.from_first(keys) if first in having else {}
    complete = {letter: _figures(e.tasks[name], keys[letter]) for letter, e in having.items()}
    if parts:
        means = {letter: draws.interval((letter, keys[letter]), mean) for letter in having}
        complete = {letter: {**found, mean: means[letter]} for letter, found in complete.items()}
    rows = _rows(task, "all it has", complete, differences)
    found = with_bars([row for figure in (mean, *parts) for row in rows if row.figure == figure])
    rows = [row for row in rows if row.figure != mean]
    return TaskRows(
        name=name,
        main=task.main_style,
        figures=tuple(row for row in rows if not row.item),
        classes=with_bars([row for row in rows if base and row.figure.startswith(base + "/")]),
        rare=found,
        subsets=tuple(_subsets(draws, task, first)),
        count={letter: next(iter(found.values())).count for letter, found in differences.items() if found},
        lacking=tuple(letter for letter in evaluations if letter not in having),
        against=_against(draws, task, keys) if len(having) > 2 else {},
    )


def _figures(task: TaskResult, key: str) -> Mapping[str, Interval]:
    subset = task.subsets.get(key)
    return subset.figures if subset else {}


class _Draws:
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


def _against(draws: _Draws, task: TaskResult, keys: Mapping[str, str]) -> dict[tuple[str, str], Change]:
    """The main figure of every run less that of every other."""
    main = task.main_figure
    found = {
        (one, other): draws.difference((other, keys[other]), (one, keys[one]))
        for one in keys
        for other in keys
        if one != other
    }
    return {pair: Change(by_figure[main], task.main_style) for pair, by_figure in found.items() if main in by_figure}


def _rows(
    task: TaskResult,
    subset: str,
    figures: Mapping[str, Mapping[str, Interval]],
    differences: Mapping[str, Mapping[str, Difference]],
) -> list[Row]:
    names = dict.fromkeys(name for found in figures.values() for name in found)
    return [
        Row(
            task.name,
            subset,
            name,
            task.style(name),
            {letter: found.get(name, UNKNOWN) for letter, found in figures.items()},
            {letter: Change(found[name], task.style(name)) for letter, found in differences.items() if name in found},
        )
        for name in names
    ]


def with_bars(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The same rows with their changes drawn over one scale."""
    sizes = [abs(c.gain) for row in rows for c in row.changes.values() if c.known]
    largest = max(sizes, default=0.0)
    return tuple(
        Row(
            row.task,
            row.subset,
            row.figure,
            row.style,
            row.values,
            {
                letter: Change(change.difference, change.style, diverging_bar(change.gain, largest))
                for letter, change in row.changes.items()
            },
        )
        for row in rows
    )


def _subsets(draws: _Draws, task: TaskResult, first: str) -> list[Row]:
    """The main figure by subset; runs that did not score a subset are absent from its row."""
    tasks = {letter: evaluation.tasks[draws.name] for letter, evaluation in draws.evaluations.items()}
    keys = dict.fromkeys(key for one in tasks.values() for key in one.subsets)
    rows = []
    for key in sorted(keys, key=lambda key: -key.count("+")):
        having = {letter: one for letter, one in tasks.items() if key in one.subsets}
        if len(having) < 2:
            continue
        differences = draws.from_first(dict.fromkeys(having, key)) if first in having else {}
        main = {letter: {task.main_figure: one.main(key)} for letter, one in having.items()}
        rows += _rows(task, key, main, differences)
    return rows
