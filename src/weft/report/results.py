"""Each task's figures, its classes, its confusion, and its result by subgroup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from weft.report import heatmap, numbers
from weft.report.marks import Bar, Scale, Whisker, bar
from weft.report.numbers import Interval, Style
from weft.report.run import Evaluation, TaskResult


@dataclass(frozen=True)
class FigureRow:
    """One figure of a task."""

    name: str
    style: Style
    value: str
    span: str
    is_main: bool


@dataclass(frozen=True)
class ItemCell:
    """One figure of one class or point: texts, the number to sort by, and its bar."""

    value: str
    span: str
    sort: float
    bar: Bar | None
    known: bool


@dataclass(frozen=True)
class ItemRow:
    """One class or point; `amounts` are (text, number to sort by): how much there is of it, how much is answered."""

    name: str
    amounts: tuple[tuple[str, float], ...]
    cells: Mapping[str, ItemCell]


@dataclass(frozen=True)
class GroupRow:
    """One value of a column: its samples and the main figure there."""

    value: str
    count: str
    sort_count: int
    figure: str
    sort: float
    span: str
    whisker: Whisker | None


@dataclass(frozen=True)
class TaskTables:
    """The tables of one task with all modalities given; `amounts` are the heads of those of `items`."""

    task: TaskResult
    count: str
    no_answer: int
    figures: tuple[FigureRow, ...]
    item_styles: Mapping[str, Style]
    amounts: tuple[str, ...]
    items: tuple[ItemRow, ...]
    confusion: Markup
    num_classes: int
    num_shown: int
    mistakes: tuple[heatmap.Mistake, ...]
    subgroups: Mapping[str, tuple[GroupRow, ...]]


def task_tables(evaluation: Evaluation, task: TaskResult) -> TaskTables:
    """Everything the report shows of one task by itself."""
    subset = task.subsets.get(evaluation.full)
    figures = subset.figures if subset else {}
    items = {name: interval for name, interval in figures.items() if "/" in name}
    classes = task.classes or tuple(str(index) for index in range(len(task.confusion)))
    has_confusion = len(task.confusion) > 0 and len(classes) == len(task.confusion)
    heads, amounts = _amounts(task, classes if has_confusion else ())
    label = f"Confusion of {task.name}: rows are the truth, columns the prediction"
    return TaskTables(
        task=task,
        count=numbers.count(subset.count) if subset else "0",
        no_answer=subset.no_answer if subset else 0,
        figures=tuple(_figure_row(task, name, value) for name, value in figures.items() if "/" not in name),
        item_styles={base: task.style(base) for base in dict.fromkeys(map(numbers.base_of, items))},
        amounts=heads,
        items=_item_rows(task, items, amounts, blank=(("", -1.0),) * len(heads)),
        confusion=heatmap.heat_map(task.confusion, classes, label=label) if has_confusion else Markup(""),
        num_classes=len(classes),
        num_shown=min(len(classes), heatmap.MAX_CLASSES),
        mistakes=tuple(heatmap.largest_mistakes(task.confusion, classes)) if has_confusion else (),
        subgroups={column: _group_rows(task, values) for column, values in task.subgroups.items()},
    )


def _figure_row(task: TaskResult, name: str, interval: Interval) -> FigureRow:
    style = task.style(name)
    value = numbers.full(interval.value, style) if interval.known else numbers.ABSENT
    return FigureRow(name, style, value, numbers.span(interval, style), name == task.main_figure)


def _amounts(
    task: TaskResult, classes: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[str, tuple[tuple[str, float], ...]]]:
    """Heads, and by class how much there is and how much is answered: numbers where a task counts, shares where it
    confuses classes.
    """
    if task.counts:
        rows = {name: tuple((numbers.count(n), float(n)) for n in pair) for name, pair in task.counts.items()}
        return ("There", "Answered"), rows
    if not classes:
        return (), {}
    total = float(np.sum(task.confusion)) or 1.0  # an empty confusion has no shares
    shares = zip(task.confusion.sum(1) / total, task.confusion.sum(0) / total, strict=True)
    both = {
        name: tuple((_percent(float(share)), float(share)) for share in pair)
        for name, pair in zip(classes, shares, strict=True)
    }
    return ("Share of truth, %", "Share of answers, %"), both


def _item_rows(
    task: TaskResult,
    items: Mapping[str, Interval],
    amounts: Mapping[str, tuple[tuple[str, float], ...]],
    *,
    blank: tuple[tuple[str, float], ...],
) -> tuple[ItemRow, ...]:
    by_name: dict[str, dict[str, Interval]] = {}
    for figure, interval in items.items():
        base, name = figure.split("/", 1)
        by_name.setdefault(name, {})[base] = interval
    largest = {
        base: 1.0 if task.style(base).unit == "%" else _largest(row[base] for row in by_name.values() if base in row)
        for base in dict.fromkeys(map(numbers.base_of, items))
    }
    return tuple(
        ItemRow(
            name,
            amounts.get(name, blank),
            {base: _item_cell(interval, task.style(base), largest[base]) for base, interval in row.items()},
        )
        for name, row in by_name.items()
    )


def _percent(share: float) -> str:
    """Tiny is not nothing."""
    return "< 0.1" if 0 < share < 0.0005 else f"{100 * share:.1f}" if share else "0"


def _largest(intervals: Iterable[Interval]) -> float:
    return max((interval.value for interval in intervals if interval.known), default=0.0)


def _item_cell(interval: Interval, style: Style, largest: float) -> ItemCell:
    if not interval.known:
        return ItemCell(numbers.ABSENT, "", -math.inf, None, False)
    return ItemCell(
        numbers.amount(interval.value, style),
        numbers.span(interval, style),
        interval.value,
        bar(interval.value, largest),
        True,
    )


def _group_rows(task: TaskResult, values: Mapping[str, tuple[int, Interval]]) -> tuple[GroupRow, ...]:
    style = task.main_style
    scale = Scale.over(interval for _, interval in values.values())
    return tuple(
        GroupRow(
            value,
            numbers.count(count),
            count,
            numbers.amount(interval.value, style) if interval.known else numbers.ABSENT,
            interval.value if interval.known else -math.inf,
            numbers.span(interval, style),
            scale.whisker(interval),
        )
        for value, (count, interval) in values.items()
    )
