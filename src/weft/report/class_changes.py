"""What joining the tasks did to each class: the joint network less the task alone, on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft.report.bootstrap import Drawn, difference
from weft.report.numbers import MINUS, Style
from weft.report.pairs import RAREST, Change, Row, with_bars
from weft.report.rare import RareClasses
from weft.report.run import TaskResult
from weft.report.worth import class_base

#: So many classes are named on each side; the whole table is folded below.
NUM_NAMED_CLASSES = 6
ALONE, JOINED = "alone", "joined"
_ALL = "all it has"


@dataclass(frozen=True)
class ClassChanges:
    """The classes of one task. Every row has the values `alone` and `joined`, and the change of `joined`.

    Attributes:
        style: of the figure per class.
        rows: the classes in their own order.
        gaining, losing: those that change most, the largest change first.
        rare: the mean over the rare classes, then each, the rarest first; empty where nothing is known of how frequent
            classes are.
        basis: what they are the rarest of, for a person.
    """

    style: Style
    rows: tuple[Row, ...]
    gaining: tuple[Row, ...]
    losing: tuple[Row, ...]
    rare: tuple[Row, ...]
    basis: str


def class_changes(task: TaskResult, alone: Drawn, joined: Drawn, rare: RareClasses) -> ClassChanges | None:
    """Of one task; None where it has no figure per class.

    Args:
        task: of the joint network.
        alone: the figures of the task alone, or the mean of several such networks.
        joined: those of the joint network, drawn from the same samples.
        rare: its rare classes.
    """
    base = class_base(task)
    if not base:
        return None
    mean, parts = f"{base}/{RAREST}", [f"{base}/{name}" for name in rare.names]
    if parts:
        alone, joined = alone.with_mean(mean, parts), joined.with_mean(mean, parts)
    found = {
        name: Row(
            task.name,
            _ALL,
            name,
            task.style(name),
            {ALONE: alone.interval(name), JOINED: joined.interval(name)},
            {JOINED: Change(change, task.style(name))},
        )
        for name, change in difference(alone, joined).items()
        if name.startswith(f"{base}/")
    }
    drawn = dict(zip(found, with_bars(list(found.values())), strict=True))
    rows = tuple(row for name, row in drawn.items() if name != mean)
    ranked = sorted((row for row in rows if _tells(row.changes[JOINED])), key=lambda row: row.changes[JOINED].gain)
    return ClassChanges(
        style=task.style(base),
        rows=rows,
        gaining=_named([row for row in reversed(ranked) if row.changes[JOINED].gain > 0]),
        losing=_named([row for row in ranked if row.changes[JOINED].gain < 0]),
        rare=tuple(drawn[name] for name in (mean, *parts) if name in drawn),
        basis=rare.basis,
    )


def _tells(change: Change) -> bool:
    """Whether something changed that can be read."""
    return change.known and change.text.startswith(("+", MINUS))


def _named(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(rows[:NUM_NAMED_CLASSES])
