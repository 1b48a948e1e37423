"""How compared runs stand to each other: in a table by task, and in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weft.report import numbers
from weft.report.marks import Scale, Whisker
from weft.report.numbers import Interval
from weft.report.pairs import Change, Row, TaskRows

#: Of so many runs or fewer each gets a sentence.
MAX_TOLD = 3


@dataclass(frozen=True)
class Standing:
    """One run's main figure of a task beside the others'."""

    letter: str
    value: Interval
    whisker: Whisker | None
    change: Change | None
    gain: Whisker | None


@dataclass(frozen=True)
class Standings:
    """The runs of a task, the best first; `zero` is where no difference lies, in percent of a cell."""

    rows: tuple[Standing, ...]
    zero: float


def standings_of(task: TaskRows) -> Standings:
    """The runs of a task in order, with drawings over one scale."""
    row = task.main_row
    order = sorted(row.values, key=lambda letter: row.rank(letter))
    scale = Scale.over(row.values.values())
    gains = {letter: change.gained for letter, change in row.changes.items() if change.known}
    gain_scale = Scale.over(gains.values(), zero=True)
    return Standings(
        tuple(
            Standing(
                letter,
                row.values[letter],
                scale.whisker(row.values[letter]),
                row.changes.get(letter),
                gain_scale.whisker(gains[letter]) if letter in gains else None,
            )
            for letter in order
        ),
        gain_scale.place(0),
    )


def sentences(tasks: Sequence[TaskRows], names: Mapping[str, str]) -> list[str]:
    """Of few runs how each stands to the first; of many which one leads, and who keeps up with it."""
    said: list[str] = []
    for task in tasks:
        if len(task.main_row.values) > MAX_TOLD:
            said.append(_leader(task, names))
        else:
            said += _against_first(task.main_row, names)
    return said


def _against_first(row: Row, names: Mapping[str, str]) -> Iterator[str]:
    for letter, change in row.changes.items():
        size = numbers.amount(abs(change.difference.value), row.style)
        unit = row.style.difference_unit
        size += numbers.SPACE + unit if unit else ""
        verdict = {
            "within noise": f"cannot be told from {names['A']} ({change.text}, {change.span})",
            "better": f"is better than {names['A']} by {size} ({change.span})",
            "worse": f"is worse than {names['A']} by {size} ({change.span})",
        }.get(change.conclusion, "cannot be compared")
        value, base = (numbers.full(row.values[x].value, row.style) for x in (letter, "A"))
        yield f"On {row.task}, {names[letter]} {verdict}: {row.style.title} {value} against {base}."


def _leader(task: TaskRows, names: Mapping[str, str]) -> str:
    row = task.main_row
    best, *others = sorted(row.values, key=lambda letter: row.rank(letter))
    beaten: list[str] = []
    level: list[str] = []
    for letter in others:
        change = task.against.get((best, letter))
        if change is not None and change.known:
            (beaten if change.conclusion == "better" else level).append(names[letter])
    text = (
        f"On {task.name}, {names[best]} leads with {numbers.full(row.values[best].value, row.style)} {row.style.title}"
    )
    if beaten:
        text += f", better than {numbers.listed(beaten)} beyond noise"
    return f"{text}; {numbers.listed(level)} cannot be told from it." if level else text + "."
