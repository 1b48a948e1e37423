"""Where in time each part of a fusion looked: a small chart a part, and its numbers below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from weft.report.svg import Series, line_chart

SIZE = (290, 170)


@dataclass(frozen=True)
class StepShares:
    """What came through each part of a fusion, by steps of time.

    Attributes:
        unit: what a step is, frame or step.
        numbers: of the steps.
        parts: {part: the share of each step, from 0 to 1}; of fewer steps than `numbers`, the first ones.
    """

    unit: str = "step"
    numbers: tuple[int, ...] = ()
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class StepCharts:
    """Charts with their numbers.

    Attributes:
        unit: what a step is.
        charts: {part: its chart}.
        heads: the numbers of the steps, as texts.
        rows: {part: the share of each step in percent, as texts}; – where there is none.
    """

    unit: str
    charts: Mapping[str, Markup]
    heads: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]


def of_split(data: Mapping[str, Mapping[str, Any]] | None) -> StepShares:
    """From evaluation.json, the mean over the samples; without parts where nothing came in steps."""
    parts = {str(name): tuple(float(share) for share in one["mean"]) for name, one in (data or {}).items()}
    most = max((len(shares) for shares in parts.values()), default=0)
    return StepShares("step", tuple(range(1, most + 1)), parts)


def of_sample(data: Mapping[str, Any] | None) -> StepShares:
    """From the film of a sample in evaluation.json; without parts where there is nothing to say."""
    if not data:
        return StepShares()
    parts = {str(name): tuple(float(share) for share in shares) for name, shares in data["shares"].items()}
    return StepShares(str(data["unit"]), tuple(int(number) for number in data["numbers"]), parts)


def step_charts(shown: StepShares, of: str) -> StepCharts | None:
    """Charts over one range of shares, so that parts can be compared; None where there are none.

    Args:
        shown: the shares.
        of: whose they are, for the text that stands for a chart.
    """
    parts = {name.replace("_", " "): shares for name, shares in shown.parts.items()}
    if len(shown.numbers) < 2 or not parts:
        return None
    most = 100 * max(max(shares) for shares in parts.values())
    charts = {
        name: line_chart(
            [Series(name, [(x, 100 * y) for x, y in zip(shown.numbers, shares, strict=False)], 0)],
            label=f"{of}, {name}: share of each {shown.unit} in what came through it. {_in_words(shown, shares)}",
            x_label=shown.unit,
            y_label="share, %",
            x_range=(shown.numbers[0], shown.numbers[-1]),
            y_range=(0, most),
            size=SIZE,
        )
        for name, shares in parts.items()
    }
    rows = {name: _texts(shares, len(shown.numbers)) for name, shares in parts.items()}
    return StepCharts(shown.unit, charts, tuple(map(str, shown.numbers)), rows)


def _in_words(shown: StepShares, shares: Sequence[float]) -> str:
    best = max(range(len(shares)), key=lambda place: shares[place])
    return f"Most, {100 * shares[best]:.0f} %, from {shown.unit} {shown.numbers[best]}"


def _texts(shares: Sequence[float], number: int) -> tuple[str, ...]:
    return tuple(f"{100 * share:.1f}" for share in shares) + ("–",) * (number - len(shares))
