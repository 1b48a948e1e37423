"""What joining the tasks gained or cost: joint networks against networks of single tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from types import MappingProxyType

import numpy as np

from weft.metrics.bootstrap import LEVEL, align, percentiles
from weft.report import numbers
from weft.report.bootstrap import Drawn, Scored
from weft.report.class_changes import ClassChanges, class_changes
from weft.report.marks import Scale, Whisker
from weft.report.numbers import Interval, Style
from weft.report.rare import RareClasses
from weft.report.run import Evaluation
from weft.report.tables import Cell, write_csv
from weft.types import Records

#: How relative gains are written.
GAIN = Style("%", True, "relative gain")
NO_RARE = RareClasses((), "")
NO_CLASSES: Mapping[str, RareClasses] = MappingProxyType({})


@dataclass(frozen=True)
class Gain:
    """One task in a joint network and alone.

    Attributes:
        style: how its main figure is written.
        alone: the figure of the single-task network, or the mean over several.
        joined: that of the joint one, on the samples that all of them have.
        relative: (joined - alone) / alone, turned so that plus is better.
        num_alone: networks of the task alone.
        classes: what became of each, None where the task has none.
        whisker: the drawing of `relative` beside the others of the table.
    """

    style: Style
    alone: float
    joined: float
    relative: Interval
    num_alone: int
    classes: ClassChanges | None
    whisker: Whisker | None = None

    @property
    def conclusion(self) -> str:
        """Better or worse where the interval excludes zero."""
        if not self.relative.has_range:
            return ""
        if self.relative.low <= 0 <= self.relative.high:
            return "within noise"
        return "better" if self.relative.value > 0 else "worse"


@dataclass(frozen=True)
class Together:
    """A joint network.

    Attributes:
        letter: of its run.
        gains: {task: Gain} of the tasks that have a single-task run.
        delta: Δm, the mean of the relative gains; unknown where some task has no single-task run.
        lacking: the tasks that have none.
        whisker: the drawing of `delta`.
        zero: where no gain lies, in percent of a cell.
    """

    letter: str
    gains: Mapping[str, Gain]
    delta: Interval
    lacking: tuple[str, ...]
    whisker: Whisker | None = None
    zero: float = 0.0


def together(
    evaluations: Mapping[str, Evaluation],
    scored: Mapping[str, Mapping[str, Scored]],
    *,
    rare: Mapping[str, RareClasses] = NO_CLASSES,
) -> tuple[Together, ...]:
    """Every run of several tasks of which two at least have also been trained alone; empty where there is none.

    Δm = 1/T Σ (-1)^l (M - B) / B over the T tasks, with M the main figure of the joint network, B that of the task
    alone and l = 1 where lower is better. Its interval resamples samples, the same for all networks of a task, and the
    same for all tasks where these have the same samples.

    Args:
        evaluations: of each run, by letter.
        scored: {letter: the run's tasks}.
        rare: {task: its rare classes}.

    Reference: Maninis et al., CVPR 2019, arXiv:1904.08918, eq. 4; Vandenhende et al., TPAMI 2021, arXiv:2004.13379.
    """
    alone = _single(evaluations)
    # two at least: one run of one task beside one of several is a comparison of something else
    joint = [letter for letter, one in evaluations.items() if sum(task in alone for task in one.tasks) > 1]
    found = [_against(letter, alone, evaluations, scored, rare) for letter in joint]
    return _drawn(found)


def one_together(
    letter: str,
    evaluations: Mapping[str, Evaluation],
    scored: Mapping[str, Mapping[str, Scored]],
    *,
    rare: Mapping[str, RareClasses] = NO_CLASSES,
) -> Together:
    """The same of one run of several tasks, by whichever of these are also there alone; see `together`."""
    (found,) = _drawn([_against(letter, _single(evaluations), evaluations, scored, rare)])
    return found


def sentences(joint: Sequence[Together], names: Mapping[str, str]) -> list[str]:
    """What joining gained or cost, a sentence for each joint network."""
    return [_sentence(one, names[one.letter]) for one in joint]


def write_table(page: Path, joint: Sequence[Together]) -> tuple[Path, ...]:
    """Write `…-together.csv` beside a page: a row for every task of a joint network, and one for its Δm.

    Nothing is written where there is no joint network.
    """
    rows: list[list[Cell]] = []
    for one in joint:
        for task, gain in one.gains.items():
            cells: list[Cell] = [gain.alone, gain.joined, gain.relative.value, gain.relative.low, gain.relative.high]
            rows.append([one.letter, task, gain.style.title, *cells])
        rows.append([one.letter, "Δm", "", "", "", one.delta.value, one.delta.low, one.delta.high])
    header = ["run", "task", "figure", "alone", "joined", "relative_gain", "low", "high"]
    return (write_csv(page.with_name(f"{page.stem}-together.csv"), header, rows),) if rows else ()


def amount(relative: Interval) -> str:
    """A relative gain with its sign, in percent."""
    return f"{numbers.signed(relative.value, GAIN)}{numbers.SPACE}%" if relative.known else "–"


def span(relative: Interval) -> str:
    """Its interval."""
    return numbers.signed_span(relative, GAIN)


def _single(evaluations: Mapping[str, Evaluation]) -> dict[str, list[str]]:
    """{task: letters of the runs of it alone}."""
    alone: dict[str, list[str]] = {}
    for letter, evaluation in evaluations.items():
        if len(evaluation.tasks) == 1:
            alone.setdefault(next(iter(evaluation.tasks)), []).append(letter)
    return alone


def _against(
    letter: str,
    alone: Mapping[str, Sequence[str]],
    evaluations: Mapping[str, Evaluation],
    scored: Mapping[str, Mapping[str, Scored]],
    rare: Mapping[str, RareClasses],
) -> Together:
    tasks = evaluations[letter].tasks
    gains: dict[str, Gain] = {}
    drawn: list[np.ndarray] = []
    for task in [task for task in tasks if task in alone]:
        gain, resamples = _gain(task, [letter, *alone[task]], evaluations, scored, rare.get(task, NO_RARE))
        gains[task] = gain
        drawn.append(resamples)
    lacking = tuple(task for task in tasks if task not in alone)
    delta = Interval(math.nan)
    if not lacking:
        value = float(np.mean([gain.relative.value for gain in gains.values()]))
        delta = _interval(value, np.mean(drawn, axis=0))
    return Together(letter, gains, delta, lacking)


def _gain(
    task: str,
    letters: Sequence[str],
    evaluations: Mapping[str, Evaluation],
    scored: Mapping[str, Mapping[str, Scored]],
    rare: RareClasses,
) -> tuple[Gain, np.ndarray]:
    """A task's gain, and its relative gain in every resample; of the joint run and those alone, by letter."""
    records = _common([evaluations[one].records(task, evaluations[one].full) for one in letters])
    result, groups = evaluations[letters[0]].tasks[task], evaluations[letters[0]].groups
    joined, *several = [
        Drawn.of(scored[one][task], kept, groups=groups) for one, kept in zip(letters, records, strict=True)
    ]
    alone = Drawn.mean_of(several)
    places = [drawn.figures.index(result.main_figure) for drawn in (joined, alone)]
    ours, base = (float(drawn.values[place]) for drawn, place in zip((joined, alone), places, strict=True))
    sign = 1 if result.main_style.higher_is_better else -1
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = sign * (joined.resamples[:, places[0]] / alone.resamples[:, places[1]] - 1)
    relative[~np.isfinite(relative)] = math.nan
    value = sign * (ours / base - 1) if base else math.nan
    changes = class_changes(result, alone, joined, rare)
    return Gain(result.main_style, base, ours, _interval(value, relative), len(several), changes), relative


def _common(records: Sequence[Records]) -> list[Records]:
    """All with the samples that all have, in the order of the first."""
    first = reduce(lambda kept, other: align(kept, other)[0], records[1:], records[0])
    return [first, *(align(first, other)[1] for other in records[1:])]


def _interval(value: float, resamples: np.ndarray) -> Interval:
    low, high = percentiles(resamples[:, None], LEVEL)
    return Interval(value, low[0], high[0])


def _drawn(found: Sequence[Together]) -> tuple[Together, ...]:
    """With the gains of all as positions over one scale."""
    everything = [gain.relative for one in found for gain in one.gains.values()] + [one.delta for one in found]
    scale = Scale.over(everything, zero=True)
    return tuple(
        replace(
            one,
            gains={task: replace(gain, whisker=scale.whisker(gain.relative)) for task, gain in one.gains.items()},
            whisker=scale.whisker(one.delta),
            zero=scale.place(0),
        )
        for one in found
    )


def _sentence(one: Together, name: str) -> str:
    if one.lacking:
        words = numbers.listed(list(one.lacking))
        return f"{name} has no run of {words} alone to be measured against, so its Δm is not known."
    helped = [task for task, gain in one.gains.items() if gain.conclusion == "better"]
    hurt = [task for task, gain in one.gains.items() if gain.conclusion == "worse"]
    verb = "gains" if one.delta.value >= 0 else "loses"
    text = f"Joining the tasks, {name} {verb} on average {amount(one.delta)} ({span(one.delta)}) against single tasks"
    parts = [f"{numbers.listed(tasks)} {what}" for tasks, what in ((helped, "better"), (hurt, "worse")) if tasks]
    return f"{text}: {' and '.join(parts)} beyond noise." if parts else f"{text}, no task beyond noise."
