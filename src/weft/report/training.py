"""The curves of a training: losses, figures, learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from weft.report import numbers
from weft.report.numbers import Style, style_of
from weft.report.run import Run
from weft.report.svg import Mark, Series, line_chart

TRAIN, VAL = 0, 1


@dataclass(frozen=True)
class Curve:
    """A chart with its title and its legend of (name, colour, dashed)."""

    title: str
    chart: Markup
    legend: tuple[tuple[str, int, bool], ...]


@dataclass(frozen=True)
class Training:
    """The section: charts, and what there is to say of the best epoch."""

    curves: tuple[Curve, ...]
    best: str


def training(run: Run) -> Training:
    """Charts of metrics.csv; none where it has no rows yet."""
    columns = list(run.metrics[0]) if run.metrics else []
    marks = _best_mark(run)
    curves: list[Curve] = [_loss(run, column, marks) for column in columns if column.startswith("loss/")]
    curves += [_figure(run, column, marks) for column in figure_columns(run)]
    if "lr" in columns:
        curves.append(_learning_rate(run, marks))
    return Training(tuple(curve for curve in curves if curve.chart), _best(run))


def figure_columns(run: Run) -> list[str]:
    """Columns of whole-split figures (`rooms/mIoU`), at most two per task, the scored ones before others."""
    main = {name: task.main_figure for e in run.evaluations.values() for name, task in e.tasks.items()}
    best = str(((run.summary.get("train") or {}).get("best") or {}).get("figure") or "")
    chosen: list[str] = []
    for task in run.tasks:
        columns = [c for c in (run.metrics[0] if run.metrics else {}) if c.startswith(task + "/") and c.count("/") == 1]
        first = [column for column in (f"{task}/{main.get(task)}", best) if column in columns]
        chosen += list(dict.fromkeys([*first, *columns]))[:2]
    return chosen


def values(run: Run, column: str, split: str) -> list[tuple[float, float]]:
    """(epoch, value) of one column and split, without the rows that have none."""
    points = []
    for row in run.metrics:
        if row.get("split") == split and row.get(column):
            points.append((_number(row["epoch"]), _number(row[column])))
    return [(epoch, value) for epoch, value in points if math.isfinite(epoch)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # a cell cut short by a kill


def _splits(run: Run, column: str, factor: float = 1) -> list[Series]:
    lines = []
    for split, colour in (("train", TRAIN), ("val", VAL)):
        points = [(epoch, factor * value) for epoch, value in values(run, column, split)]
        if points:
            lines.append(Series(split, points, colour, dashed=split == "train"))
    return lines


def _curve(title: str, series: Sequence[Series], chart: Markup) -> Curve:
    return Curve(title, chart, tuple((line.name, line.colour, line.dashed) for line in series))


def _loss(run: Run, column: str, marks: Sequence[Mark]) -> Curve:
    task = column.split("/", 1)[1]
    series = _splits(run, column)
    chart = line_chart(
        series, label=f"Loss of {task} by epoch", x_label="epoch", y_label="loss", marks=marks, logarithmic=True
    )
    return _curve(f"{task}: loss", series, chart)


def _style(run: Run, task: str, figure: str) -> Style:
    """How a task's figure is written, as its evaluation says where there is one."""
    declared = next((e.tasks[task].declared for e in run.evaluations.values() if task in e.tasks), {})
    return style_of(figure, declared)


def _figure(run: Run, column: str, marks: Sequence[Mark]) -> Curve:
    task, figure = column.split("/", 1)
    style = _style(run, task, figure)
    series = _splits(run, column, 100 if style.unit == "%" else 1)
    chart = line_chart(
        series, label=f"{style.title} of {task} by epoch", x_label="epoch", y_label=style.heading, marks=marks
    )
    return _curve(f"{task}: {style.title}", series, chart)


def _learning_rate(run: Run, marks: Sequence[Mark]) -> Curve:
    series = [Series("learning rate", values(run, "lr", "train") or values(run, "lr", "val"), 2)]
    chart = line_chart(
        series, label="Learning rate by epoch", x_label="epoch", y_label="learning rate", marks=marks, y_text=_rate
    )
    return Curve("Learning rate", chart, ())


def _rate(value: float) -> str:
    return f"{value:.2g}".replace("-", numbers.MINUS)


def _best_of(run: Run) -> Mapping[str, object]:
    return (run.summary.get("train") or {}).get("best") or {}


def _best_mark(run: Run) -> list[Mark]:
    epoch = _best_of(run).get("epoch")
    return [Mark(float(epoch), "best")] if isinstance(epoch, (int, float)) else []


def _best(run: Run) -> str:
    """The epoch whose weights were kept as best, and what the validation said of it."""
    best = _best_of(run)
    epoch = best.get("epoch")
    if epoch is None:
        return ""
    reached: list[tuple[str, str]] = []
    for column in figure_columns(run):
        task, figure = column.split("/", 1)
        value = dict(values(run, column, "val")).get(float(str(epoch)), math.nan)
        if not math.isnan(value) and task not in [name for name, _ in reached]:  # the first of a task is its main one
            style = _style(run, task, figure)
            reached.append((task, f"{numbers.full(value, style)} {style.title} on {task}"))
    chosen = str(best.get("figure") or "main")
    by = "the mean of the tasks' main figures" if chosen == "main" else chosen
    told = f" with {numbers.listed([text for _, text in reached])} in validation" if reached else ""
    return f"The best epoch is {epoch}{told}; it was chosen by {by}."
