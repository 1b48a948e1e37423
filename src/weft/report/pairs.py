"""Several runs beside each other: their figures, and how much each differs from the first, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft.report import numbers
from weft.report.bootstrap import Difference, Scored, paired_differences
from weft.report.marks import Bar, diverging_bar
from weft.report.numbers import Interval, Style
from weft.report.run import Evaluation, TaskResult
from weft.report.worth import class_base

UNKNOWN = Interval(math.nan)


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


@dataclass(frozen=True)
class TaskRows:
    """One task in all the runs.

    Attributes:
        main: how its main figure is written.
        figures: of the whole task with all the modalities that each run has.
        classes: the figure per class that belongs to the main one.
        subsets: the main figure by subset, where at least two runs scored the same one.
        count: {letter: samples that this run has in common with the first}.
        lacking: letters of runs without this task.
    """

    name: str
    main: Style
    figures: tuple[Row, ...]
    classes: tuple[Row, ...]
    subsets: tuple[Row, ...]
    count: Mapping[str, int]
    lacking: tuple[str, ...]

    @property
    def compared(self) -> list[str]:
        """Letters of the runs that there are differences of."""
        rows = (*self.figures, *self.classes, *self.subsets)
        return sorted({letter for row in rows for letter in row.changes})


def task_rows(name: str, evaluations: Mapping[str, Evaluation], scored: Mapping[str, Mapping[str, Scored]]) -> TaskRows:
    """All rows of one task.

    Args:
        name: of the task.
        evaluations: of each run, by letter, the first run first.
        scored: {letter: the run's tasks}.
    """
    having = {letter: e for letter, e in evaluations.items() if name in e.tasks}
    task = next(iter(having.values())).tasks[name]
    keys = {letter: evaluation.full for letter, evaluation in having.items()}
    first = next(iter(evaluations))  # differences are from the first run, or there are none
    differences = _differences(name, having, scored, keys) if first in having else {}
    complete = {letter: _figures(e.tasks[name], keys[letter]) for letter, e in having.items()}
    rows = _rows(task, "all it has", complete, differences)
    base = class_base(task)
    return TaskRows(
        name=name,
        main=task.main_style,
        figures=tuple(row for row in rows if not row.item),
        classes=_with_bars([row for row in rows if base and row.figure.startswith(base + "/")]),
        subsets=tuple(_subsets(name, task, having, scored, first)),
        count={letter: next(iter(found.values())).count for letter, found in differences.items() if found},
        lacking=tuple(letter for letter in evaluations if letter not in having),
    )


def _figures(task: TaskResult, key: str) -> Mapping[str, Interval]:
    subset = task.subsets.get(key)
    return subset.figures if subset else {}


def _differences(
    name: str,
    evaluations: Mapping[str, Evaluation],
    scored: Mapping[str, Mapping[str, Scored]],
    keys: Mapping[str, str],
) -> dict[str, dict[str, Difference]]:
    """{letter: {figure: difference from the first run}} on the modalities that `keys` names for each run."""
    first, *others = evaluations
    if name not in scored[first]:
        return {letter: {} for letter in others}
    base = evaluations[first].records(name, keys[first])
    return {
        letter: paired_differences(
            scored[first][name],
            base,
            evaluations[letter].records(name, keys[letter]),
            groups=evaluations[first].groups,
        )
        for letter in others
    }


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


def _with_bars(rows: Sequence[Row]) -> tuple[Row, ...]:
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


def _subsets(
    name: str,
    task: TaskResult,
    evaluations: Mapping[str, Evaluation],
    scored: Mapping[str, Mapping[str, Scored]],
    first: str,
) -> list[Row]:
    """The main figure by subset; runs that did not score a subset are absent from its row."""
    keys = dict.fromkeys(key for evaluation in evaluations.values() for key in evaluation.tasks[name].subsets)
    rows = []
    for key in sorted(keys, key=lambda key: -key.count("+")):
        having = {letter: e for letter, e in evaluations.items() if key in e.tasks[name].subsets}
        if len(having) < 2:
            continue
        differences = _differences(name, having, scored, dict.fromkeys(having, key)) if first in having else {}
        main = {letter: {task.main_figure: e.tasks[name].main(key)} for letter, e in having.items()}
        rows += _rows(task, key, main, differences)
    return rows
