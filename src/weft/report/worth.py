"""What each modality is worth: every subset, drop-one differences, the classes that lose most, and corruption."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from weft.report import numbers
from weft.report.bootstrap import Difference, Scored, paired_differences
from weft.report.marks import Bar, Scale, Whisker, bar, diverging_bar
from weft.report.numbers import Interval
from weft.report.run import Evaluation, Subset, TaskResult
from weft.report.svg import SMALL, Guide, Series, line_chart

#: So many classes are named beside each modality; the whole table is folded below.
NUM_NAMED_CLASSES = 6
#: With more subsets than this, only the telling ones stand open.
MAX_SUBSETS = 10


@dataclass(frozen=True)
class SubsetCell:
    """One task's main figure with one subset: texts, the number to sort by, and the drawing."""

    value: str
    span: str
    sort: float
    whisker: Whisker | None
    note: str


@dataclass(frozen=True)
class SubsetRow:
    """One subset: which modalities are given, and a cell per task; telling: all, all but one, or one alone."""

    key: str
    given: Mapping[str, bool]
    is_full: bool
    is_telling: bool
    cells: Mapping[str, SubsetCell]


@dataclass(frozen=True)
class Worth:
    """One modality for one task. `gain` is in the figure's unit and positive where the modality helps."""

    modality: str
    alone: Interval
    without: Interval
    gain: Interval

    @property
    def conclusion(self) -> str:
        """What the interval of the gain says, "" where there is none."""
        if not self.gain.has_range:
            return ""
        if self.gain.low > 0:
            return "helps"
        return "hurts" if self.gain.high < 0 else "within noise"


@dataclass(frozen=True)
class ClassGain:
    """One class: per modality, what is lost without it and the bar of that."""

    name: str
    gains: Mapping[str, float]
    bars: Mapping[str, Bar | None]


@dataclass(frozen=True)
class TaskWorth:
    """What the modalities are worth to one task.

    Attributes:
        by_class: the classes in their own order.
        class_figure: the figure of `by_class`, such as IoU; "" where the task has no classes.
        top: per modality, (class, what it loses without it, bar) of the classes that lose most.
    """

    task: TaskResult
    full: Interval
    modalities: tuple[Worth, ...]
    whiskers: Mapping[str, Whisker | None]
    zero: float
    class_figure: str
    by_class: tuple[ClassGain, ...]
    top: Mapping[str, tuple[tuple[str, float, Bar | None], ...]]


def subset_rows(evaluation: Evaluation) -> list[SubsetRow]:
    """The table of every subset, from all modalities to each alone."""
    keys = {key: subset for task in evaluation.tasks.values() for key, subset in task.subsets.items()}
    order = sorted(keys, key=lambda key: -len(keys[key].modalities))
    scales = {name: Scale.over(task.main(key) for key in task.subsets) for name, task in evaluation.tasks.items()}
    return [
        SubsetRow(
            key=key,
            given={modality: modality in keys[key].modalities for modality in evaluation.modalities},
            is_full=key == evaluation.full,
            is_telling=len(keys[key].modalities) in {1, len(evaluation.modalities) - 1, len(evaluation.modalities)},
            cells={name: _cell(task, key, scales[name]) for name, task in evaluation.tasks.items()},
        )
        for key in order
    ]


def _cell(task: TaskResult, key: str, scale: Scale) -> SubsetCell:
    subset = task.subsets.get(key)
    main = task.main(key)
    style = task.main_style
    if subset is None:
        scored = len(task.subsets) > 1 or not task.subsets
        return SubsetCell("no answer" if scored else "not scored", "", -math.inf, None, "")
    if not subset.count:
        return SubsetCell("no answer", "", -math.inf, None, "the task reads nothing that is given")
    note = f"no answer for {numbers.count(subset.no_answer)} samples" if subset.no_answer else ""
    if not main.known:
        return SubsetCell(numbers.ABSENT, "", -math.inf, None, note)
    return SubsetCell(
        numbers.amount(main.value, style), numbers.span(main, style), main.value, scale.whisker(main), note
    )


def task_worth(evaluation: Evaluation, task: TaskResult, scored: Mapping[str, Scored]) -> TaskWorth:
    """What each modality is worth to a task.

    Args:
        evaluation: it belongs to.
        task: its figures.
        scored: tasks by name; where this one is among them, and its records were kept, gains get paired intervals.
    """
    main_gains: list[Worth] = []
    class_gains: dict[str, dict[str, float]] = {}
    base = class_base(task)
    complete = task.subsets.get(evaluation.full)
    for modality in evaluation.modalities:
        key = evaluation.all_but(modality)
        dropped = task.subsets.get(key)
        if complete is None or dropped is None or not dropped.count:
            continue
        paired = _paired(evaluation, task, key, scored)
        gain = _gain(task, complete, dropped, task.main_figure, paired)
        main_gains.append(Worth(modality, task.main(modality), task.main(key), gain))
        for figure in complete.figures:
            if base and figure.startswith(base + "/"):
                value = _gain(task, complete, dropped, figure, paired).value
                class_gains.setdefault(figure.split("/", 1)[1], {})[modality] = value
    scale = Scale.over([worth.gain for worth in main_gains], zero=True)
    by_class = _class_rows(class_gains)
    return TaskWorth(
        task=task,
        full=task.main(evaluation.full),
        modalities=tuple(main_gains),
        whiskers={worth.modality: scale.whisker(worth.gain) for worth in main_gains},
        zero=scale.place(0),
        class_figure=base,
        by_class=by_class,
        top={worth.modality: _top(by_class, worth.modality, _largest(class_gains)) for worth in main_gains},
    )


def class_base(task: TaskResult) -> str:
    """The figure per class that belongs to the main figure (IoU to mIoU, F1 to F1_macro); "" where there is none."""
    bases = [numbers.base_of(name) for subset in task.subsets.values() for name in subset.figures if "/" in name]
    wanted = numbers.per_class_of(task.main_figure)
    return wanted if wanted in bases else next(iter(bases), "")


def _paired(
    evaluation: Evaluation, task: TaskResult, key: str, scored: Mapping[str, Scored]
) -> Mapping[str, Difference]:
    if task.name not in scored:
        return {}
    return paired_differences(
        scored[task.name],
        evaluation.records(task.name, key),
        evaluation.records(task.name, evaluation.full),
        groups=evaluation.groups,
    )


def _gain(
    task: TaskResult, complete: Subset, dropped: Subset, figure: str, paired: Mapping[str, Difference]
) -> Interval:
    """With − without, turned so that positive is better; paired: on the samples that both could answer."""
    if figure in paired:
        interval = paired[figure].interval
    else:
        unknown = Interval(math.nan)
        interval = Interval(complete.figures.get(figure, unknown).value - dropped.figures.get(figure, unknown).value)
    if task.style(figure).higher_is_better:
        return interval
    return Interval(-interval.value, -interval.high, -interval.low)


def _class_rows(gains: Mapping[str, Mapping[str, float]]) -> tuple[ClassGain, ...]:
    largest = _largest(gains)
    return tuple(
        ClassGain(name, row, {modality: diverging_bar(value, largest) for modality, value in row.items()})
        for name, row in gains.items()
    )


def _largest(gains: Mapping[str, Mapping[str, float]]) -> float:
    return max((abs(value) for row in gains.values() for value in row.values() if math.isfinite(value)), default=0.0)


def _top(rows: Iterable[ClassGain], modality: str, largest: float) -> tuple[tuple[str, float, Bar | None], ...]:
    """(class, loss without the modality, bar) of those that lose most."""
    losing = [row for row in rows if row.gains.get(modality, math.nan) > 0]
    chosen = sorted(losing, key=lambda row: -row.gains[modality])[:NUM_NAMED_CLASSES]
    return tuple((row.name, row.gains[modality], bar(row.gains[modality], largest)) for row in chosen)


@dataclass(frozen=True)
class CorruptionChart:
    """How one task falls as each modality suffers one kind of corruption."""

    kind: str
    chart: Markup


@dataclass(frozen=True)
class CorruptionTable:
    """The same as numbers: a row per modality and kind, a column per severity, last what is left without it."""

    severities: tuple[float, ...]
    rows: tuple[tuple[str, str, tuple[str, ...], str], ...]


@dataclass(frozen=True)
class Corruption:
    """How one task falls as its modalities are corrupted."""

    task: TaskResult
    charts: tuple[CorruptionChart, ...]
    table: CorruptionTable
    legend: tuple[tuple[str, int, bool], ...]


def corruption(evaluation: Evaluation, task: TaskResult) -> Corruption:
    """Charts per kind of corruption with a line per modality; dashed: that modality absent."""
    style = task.main_style
    colours = {modality: index for index, modality in enumerate(evaluation.modalities)}
    clean = task.main(evaluation.full).value
    absent = {m: task.absent.get(m, task.main(evaluation.all_but(m)).value) for m in task.corruptions}
    kinds = list(dict.fromkeys(kind for kinds in task.corruptions.values() for kind in kinds))
    factor = 100 if style.unit == "%" else 1
    values = [v for kinds_ in task.corruptions.values() for points in kinds_.values() for v in points.values()]
    shared_range = [factor * value for value in [clean, *absent.values(), *values] if math.isfinite(value)]
    charts = []
    for kind in kinds:
        suffering = [modality for modality in task.corruptions if kind in task.corruptions[modality]]
        charts.append(
            CorruptionChart(
                kind.replace("_", " "),
                line_chart(
                    [
                        Series(
                            modality,
                            [
                                (severity, factor * value)
                                for severity, value in sorted({0.0: clean, **task.corruptions[modality][kind]}.items())
                            ],
                            colours.get(modality, 0),
                        )
                        for modality in suffering
                    ],
                    guides=[
                        Guide(f"without {modality}", factor * absent[modality], colours.get(modality, 0))
                        for modality in suffering
                    ],
                    label=f"{style.title} of {task.name} against the severity of {kind}",
                    x_label="severity",
                    y_label=style.heading,
                    y_range=shared_range,
                    size=SMALL,
                ),
            )
        )
    legend = tuple((modality, colours.get(modality, 0), False) for modality in task.corruptions)
    return Corruption(task, tuple(charts), _corruption_table(task, absent), legend)


def _corruption_table(task: TaskResult, absent: Mapping[str, float]) -> CorruptionTable:
    severities = sorted({s for kinds in task.corruptions.values() for points in kinds.values() for s in points})
    rows = tuple(
        (
            modality,
            kind.replace("_", " "),
            tuple(numbers.amount(points.get(severity, math.nan), task.main_style) for severity in severities),
            numbers.amount(absent[modality], task.main_style),
        )
        for modality, kinds in task.corruptions.items()
        for kind, points in kinds.items()
    )
    return CorruptionTable(tuple(severities), rows)
