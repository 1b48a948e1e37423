"""What the fusion and the decision rule gave to each modality, which modalities are right alone, and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from weft.report import numbers
from weft.report.findings import Agreement, Bin, Likeness, PartShares, Share
from weft.report.marks import Bar, bar
from weft.report.numbers import Style
from weft.report.run import Evaluation, TaskResult
from weft.report.steps import StepCharts, step_charts
from weft.report.svg import Series, line_chart

SHARE = Style("%", True, "share")
WEIGHT = Style("", True, "weight")
CALIBRATION = (330, 300)
#: Mean probability and the share that came true are level within this.
LEVEL = 0.005


@dataclass(frozen=True)
class ShareCell:
    """What one modality got: texts, the number to sort by, and its bar."""

    value: str
    span: str
    sort: float
    bar: Bar | None


@dataclass(frozen=True)
class ShareRow:
    """A level, a task or a part of the samples, with a cell per modality or view that has one."""

    name: str
    note: str
    cells: Mapping[str, ShareCell]


@dataclass(frozen=True)
class ShareTable:
    """Rows over the same columns.

    Attributes:
        columns: modalities or views.
        style: of the numbers.
    """

    columns: tuple[str, ...]
    style: Style
    rows: tuple[ShareRow, ...]


@dataclass(frozen=True)
class Decided:
    """What got how much: by the fusion overall and by task, and by the decision rule; None where there is nothing.

    Attributes:
        fusion: by level.
        parts: by task and answer.
        decision: by task.
        looked: what each part of the fusion looked at.
        likeness: how alike the modalities' features are, stage by stage.
        steps: where in time each part of the fusion looked.
    """

    fusion: ShareTable | None
    parts: Mapping[str, ShareTable]
    decision: ShareTable | None
    looked: ShareTable | None = None
    likeness: LikenessTable | None = None
    steps: StepCharts | None = None


@dataclass(frozen=True)
class LikenessTable:
    """Linear CKA of every two modalities' features: rows of (names, samples, a number per stage)."""

    stages: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


def decided(evaluation: Evaluation) -> Decided:
    """The tables of an evaluation."""
    fusion = evaluation.fusion
    style = SHARE if fusion is None or fusion.sums_to_one else WEIGHT
    largest = 1.0
    if fusion is not None and not fusion.sums_to_one:
        largest = max((one.mean for level in fusion.levels.values() for one in level.values()), default=1.0)
    rules = {name: task.decision for name, task in evaluation.tasks.items() if task.decision}
    return Decided(
        fusion=None
        if fusion is None
        else ShareTable(
            evaluation.modalities,
            style,
            tuple(_level_row(level, shares, style, largest) for level, shares in fusion.levels.items()),
        ),
        parts={
            name: ShareTable(
                evaluation.modalities, style, tuple(_part_row(part, style, largest) for part in task.shares)
            )
            for name, task in evaluation.tasks.items()
            if task.shares
        },
        decision=_decision_table(rules) if rules else None,
        looked=None
        if fusion is None or not fusion.parts
        else ShareTable(
            evaluation.modalities,
            SHARE,
            tuple(_level_row(part.replace("_", " "), shares, SHARE, 1.0) for part, shares in fusion.parts.items()),
        ),
        likeness=None if fusion is None or not fusion.likeness else _likeness_table(fusion.likeness),
        steps=step_charts(evaluation.over_time, "Mean over the samples"),
    )


def _likeness_table(likeness: tuple[Likeness, ...]) -> LikenessTable:
    stages = tuple(dict.fromkeys(one.stage for one in likeness))
    pairs = {(one.one, one.other): one.count for one in likeness}
    by_place = {(one.one, one.other, one.stage): one.cka for one in likeness}
    return LikenessTable(
        stages,
        tuple(
            (
                f"{one} and {other}",
                _samples(count),
                tuple(f"{by_place[one, other, stage]:.3f}" for stage in stages),
            )
            for (one, other), count in pairs.items()
        ),
    )


def _level_row(level: str, shares: Mapping[str, Share], style: Style, largest: float) -> ShareRow:
    count = max((one.count for one in shares.values()), default=0)
    cells = {
        modality: ShareCell(
            numbers.amount(one.mean, style),
            f"{numbers.amount(one.low, style)} to {numbers.amount(one.high, style)}",
            one.mean,
            bar(one.mean, largest),
        )
        for modality, one in shares.items()
    }
    name = "attention over all tokens" if level == "share" else level
    return ShareRow(name, _samples(count), cells)


def _part_row(part: PartShares, style: Style, largest: float) -> ShareRow:
    names = {"right": "right answers", "wrong": "wrong answers", "better half": "better half of the answers"}
    names["worse half"] = "worse half of the answers"
    name = names.get(part.name, part.name) if part.kind == "answers" else part.name
    return ShareRow(name, _samples(part.count), _cells(part.modalities, style, largest))


def _samples(count: int) -> str:
    return f"{numbers.count(count)} sample{'' if count == 1 else 's'}"


def _decision_table(rules: Mapping[str, Mapping[str, float]]) -> ShareTable:
    views = tuple(dict.fromkeys(view for shares in rules.values() for view in shares))
    return ShareTable(
        views, SHARE, tuple(ShareRow(task, "", _cells(shares, SHARE, 1.0)) for task, shares in rules.items())
    )


def _cells(shares: Mapping[str, float], style: Style, largest: float) -> dict[str, ShareCell]:
    return {
        name: ShareCell(numbers.amount(share, style), "", share, bar(share, largest)) for name, share in shares.items()
    }


@dataclass(frozen=True)
class AgreementLine:
    """One kind of samples: counts as texts, numbers to sort by, and bars of right and wrong together."""

    name: str
    total: int
    right: int
    wrong: int
    right_bar: Bar | None
    wrong_bar: Bar | None


@dataclass(frozen=True)
class AgreementTable:
    """Which modalities are right alone, for one task, and what that means in a sentence."""

    task: str
    sentence: str
    lines: tuple[AgreementLine, ...]


def agreement_table(task: TaskResult) -> AgreementTable | None:
    """None where answers are not simply right or wrong, or only one modality is there."""
    found = task.agreement
    if found is None:
        return None
    largest = max(max(row.right, row.wrong) for row in found.rows)
    lines = tuple(
        AgreementLine(
            _alone(row.which, row.modality),
            row.right + row.wrong,
            row.right,
            row.wrong,
            bar(row.right, largest),
            bar(row.wrong, largest),
        )
        for row in found.rows
    )
    return AgreementTable(task.name, _sentence(found), lines)


def _alone(which: str, modality: str) -> str:
    return {"only": f"only {modality}", "several": "several, not all", "all": "each of them"}.get(which, "none")


def _sentence(found: Agreement) -> str:
    """`Of 450 samples 323 (71.8 %) are answered rightly together, and 371 (82.4 %) by at least one …`."""

    def counted(number: int) -> str:
        return f"{numbers.count(number)} ({100 * number / found.count:.1f}{numbers.SPACE}%)"

    lost = sum(row.wrong for row in found.rows if row.which != "none")
    won = next(row.right for row in found.rows if row.which == "none")
    return (
        f"Of {numbers.count(found.count)} samples {counted(found.together)} are right from all modalities together, "
        f"and {counted(found.any_alone)} from at least one modality alone. Together, {numbers.count(won)} are won that "
        f"none gets right alone, and {numbers.count(lost)} are lost that some modality would have got right."
    )


@dataclass(frozen=True)
class Calibration:
    """The reliability curve of a task, what it says, and the bins as (count, said %, true %)."""

    chart: Markup
    sentence: str
    bins: tuple[tuple[str, str, str], ...]


def calibration(task: TaskResult) -> Calibration | None:
    """None where the task gives no probabilities."""
    bins = task.reliability
    if not bins:
        return None
    chart = line_chart(
        [
            Series("perfect", [(0, 0), (100, 100)], 6, dashed=True),
            Series(task.name, [(100 * one.confidence, 100 * one.true) for one in bins], 1),
        ],
        label=f"Reliability of {task.name}: share that came true against the probability it was given with",
        x_label="said, %",
        y_label="came true, %",
        y_range=(0, 100),
        size=CALIBRATION,
    )
    rows = tuple((numbers.count(one.count), f"{100 * one.confidence:.1f}", f"{100 * one.true:.1f}") for one in bins)
    return Calibration(chart, _surety(bins), rows)


def _surety(bins: tuple[Bin, ...]) -> str:
    total = sum(one.count for one in bins)
    said = sum(one.count * one.confidence for one in bins) / total
    true = sum(one.count * one.true for one in bins) / total
    error = sum(one.count * abs(one.confidence - one.true) for one in bins) / total
    trend = ": too sure" if said - true > LEVEL else ": not sure enough" if true - said > LEVEL else ""
    percent = numbers.SPACE + "%"
    return (
        f"Answers are given with {100 * said:.1f}{percent} probability on average, and {100 * true:.1f}{percent} come "
        f"true{trend}. The expected calibration error is {100 * error:.1f} points."
    )
