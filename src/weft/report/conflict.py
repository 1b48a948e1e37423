"""What training noted of its tasks: how far their gradients point apart, and the weights of the balancing rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from weft.report import numbers
from weft.report.marks import Bar, bar
from weft.report.overview import part_words
from weft.report.run import Run
from weft.report.svg import SMALL, Guide, Series, line_chart
from weft.report.training import Curve, values

#: So many charts of pairs stand open; those of further pairs are folded below.
MAX_PAIRS = 6
_INK = 6


@dataclass(frozen=True)
class Pair:
    """Two tasks.

    Attributes:
        name: of both.
        chart: the mean cosine of their gradients by epoch.
        cosine, first, last: its mean over all steps that were looked at, and of the first and the last such epoch.
        conflict: the share of these steps in which it was below 0, as a text.
        bar: the drawing of that share.
        looks: how many steps were looked at, as a text.
    """

    name: str
    chart: Markup
    cosine: str
    first: str
    last: str
    conflict: str
    bar: Bar | None
    looks: str


@dataclass(frozen=True)
class WeightRow:
    """The weight of a task: what the configuration says, and the means over steps, as texts."""

    task: str
    configured: str
    first: str
    last: str
    least: str
    most: str


@dataclass(frozen=True)
class Struggle:
    """The tasks against each other.

    Attributes:
        rule: the balancing rule.
        pairs: of tasks, those that conflict most first.
        sentence: which these are; or why nothing is known.
        weights: of every task.
        weights_chart: their lines, none where they stayed as they were.
    """

    rule: str
    pairs: tuple[Pair, ...]
    sentence: str
    weights: tuple[WeightRow, ...]
    weights_chart: Curve | None

    @property
    def open_pairs(self) -> tuple[Pair, ...]:
        """Those whose charts stand open."""
        return self.pairs[:MAX_PAIRS]

    @property
    def folded_pairs(self) -> tuple[Pair, ...]:
        """The others."""
        return self.pairs[MAX_PAIRS:]


@dataclass(frozen=True)
class _Seen:
    """A pair as metrics.csv has it: by epoch the mean cosine and the number of looks; of all looks their conflicts."""

    name: str
    cosines: Sequence[tuple[float, float]]
    looks: Mapping[float, float]
    conflicts: float

    @property
    def num_looks(self) -> float:
        return sum(self.looks.values())

    @property
    def cosine(self) -> float:
        """Over all looks; over epochs where a run did not say how many there were."""
        weights = [self.looks.get(epoch, 0.0) if self.looks else 1.0 for epoch, _ in self.cosines]
        return sum(w * value for w, (_, value) in zip(weights, self.cosines, strict=True)) / sum(weights)

    @property
    def share(self) -> float:
        return self.conflicts / self.num_looks if self.looks else math.nan


def struggle(run: Run) -> Struggle:
    """From metrics.csv."""
    seen = sorted(_pairs(run), key=lambda pair: pair.cosine)
    reach = max((abs(value) for pair in seen for _, value in pair.cosines), default=1.0)
    weights = {task: points for task in run.tasks if (points := values(run, f"weight/{task}", "train"))}
    return Struggle(
        rule=part_words(run.experiment.get("balancing") or "fixed"),
        pairs=tuple(_drawn(pair, reach) for pair in seen),
        sentence=_sentence(seen),
        weights=tuple(_weight_row(run, task, points) for task, points in weights.items()),
        weights_chart=_weights_chart(weights),
    )


def _pairs(run: Run) -> list[_Seen]:
    found = []
    for column in run.metrics[0] if run.metrics else ():
        points = values(run, column, "train") if column.startswith("cosine/") else []
        cosines = [(epoch, value) for epoch, value in points if math.isfinite(value)]  # a cell may be cut by a kill
        if cosines:
            pair = column.removeprefix("cosine/")
            looks = dict(values(run, f"looks/{pair}", "train"))
            shares = values(run, f"conflict/{pair}", "train")
            conflicts = sum(share * looks.get(epoch, 0.0) for epoch, share in shares)
            found.append(_Seen(numbers.listed(pair.split("/")), cosines, looks, conflicts))
    return found


def _drawn(pair: _Seen, reach: float) -> Pair:
    chart = line_chart(
        [Series(pair.name, pair.cosines, 1)],
        guides=[Guide("at right angles", 0.0, _INK)],
        label=f"Cosine between the gradients of {pair.name} by epoch",
        x_label="epoch",
        y_label="cosine",
        y_text=_cosine,
        y_range=(-reach, reach),
        size=SMALL,
    )
    return Pair(
        name=pair.name,
        chart=chart,
        cosine=_cosine(pair.cosine),
        first=_cosine(pair.cosines[0][1]),
        last=_cosine(pair.cosines[-1][1]),
        conflict=_percent(pair.share),
        bar=bar(pair.share, 1.0),
        looks=numbers.count(pair.num_looks) if pair.looks else "–",
    )


def _sentence(seen: Sequence[_Seen]) -> str:
    if not seen:
        return (
            "No step was looked at for how far the tasks' gradients point apart; "
            "train.conflict_every says how often to look."
        )
    worst = seen[0]
    if worst.cosine >= 0:
        text = "On average over training, the gradients of no two tasks point against each other."
        often = max(seen, key=lambda pair: pair.conflicts)
        if not often.conflicts:
            return text
        steps = f"{_percent(often.share)} of the steps that were looked at"
        return f"{text} Most often {often.name} are in conflict: in {steps}."
    share = f", in conflict in {_percent(worst.share)} of the steps that were looked at" if worst.looks else ""
    return f"Most at odds are {worst.name}: mean cosine {_cosine(worst.cosine)}{share}."


def _weight_row(run: Run, task: str, points: Sequence[tuple[float, float]]) -> WeightRow:
    heights = [value for _, value in points]
    configured = ((run.experiment.get("tasks") or {}).get(task) or {}).get("weight", 1.0)
    shown = (float(configured), heights[0], heights[-1], min(heights), max(heights))
    return WeightRow(task, *(numbers.plain(value) for value in shown))


def _weights_chart(weights: Mapping[str, Sequence[tuple[float, float]]]) -> Curve | None:
    """The weights in one chart, where they are not constant."""
    if all(len({value for _, value in points}) <= 1 for points in weights.values()):
        return None
    series = [Series(task, points, index) for index, (task, points) in enumerate(weights.items())]
    chart = line_chart(
        series, label="Weights of the tasks by epoch", x_label="epoch", y_label="weight", logarithmic=True
    )
    return Curve("Task weights", chart, tuple((line.name, line.colour, line.dashed) for line in series))


def _cosine(value: float) -> str:
    return f"{value:+.2f}".replace("-", numbers.MINUS)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f}{numbers.SPACE}%"
