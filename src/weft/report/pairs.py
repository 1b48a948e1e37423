"""Several runs beside each other: their figures, and how much each differs from the first, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft.report import numbers
from weft.report.bootstrap import Difference, Scored
from weft.report.draws import UNKNOWN, Draws
from weft.report.marks import Bar, diverging_bar
from weft.report.numbers import Interval, Style
from weft.report.run import Evaluation, TaskResult
from weft.report.worth import class_base

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
    draws = Draws(name, having, scored, means={mean: parts} if parts else {})
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


def _against(draws: Draws, task: TaskResult, keys: Mapping[str, str]) -> dict[tuple[str, str], Change]:
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


def _subsets(draws: Draws, task: TaskResult, first: str) -> list[Row]:
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
