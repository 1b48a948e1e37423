"""Lines of a task beside its figures, such as precision against recall, as charts with their numbers below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from weft.metrics.curves import Curves, value_at
from weft.report.numbers import listed, plain
from weft.report.run import TaskResult
from weft.report.svg import NUM_COLOURS, Band, Series, Spot, line_chart

#: Both axes of shares reach from 0 to 100 %, so that charts can be compared.
WHOLE = (0, 100)
#: Columns of the table below a chart, where the lines do not have the same few places.
_COLUMNS = 11
#: Colour of places that are on no line.
_INK = NUM_COLOURS - 2
#: Bands of more lines than these would hide each other: then the table alone has the intervals.
_BANDS = 4


@dataclass(frozen=True)
class DrawnCurves:
    """A chart with its numbers.

    Attributes:
        title: of the chart.
        legend: (name, colour, dashed) of its lines.
        note: what is marked, and what is left out.
        heads: the places along x of the table, as texts.
        rows: (line, y at each of them); of a place that the line does not reach –.
        spans: {line: the interval of each of them}, empty where there is none.
        x_label, y_label: of the table as well.
    """

    title: str
    chart: Markup
    legend: tuple[tuple[str, int, bool], ...]
    note: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    spans: dict[str, tuple[str, ...]]
    x_label: str
    y_label: str


def drawn_curves(task: TaskResult) -> tuple[DrawnCurves, ...]:
    """A chart for each of a task's curves that has a line."""
    return tuple(_drawn(task.name, one) for one in task.curves if any(one.lines.values()))


def _drawn(task: str, curves: Curves) -> DrawnCurves:
    lines = {name: points for name, points in curves.lines.items() if points}
    shown = _telling(lines)
    chart = line_chart(
        [Series(name, lines[name], colour) for colour, name in enumerate(shown)],
        label=f"{task}: {curves.name}",
        x_label=curves.x_label,
        y_label=curves.y_label,
        spots=_spots(curves, shown),
        bands=_bands(curves, shown),
        x_range=WHOLE if curves.x_label.endswith("%") else (),
        y_range=WHOLE if curves.y_label.endswith("%") else (),
    )
    places = _places(lines, WHOLE if curves.x_label.endswith("%") else ())
    return DrawnCurves(
        title=curves.name[:1].upper() + curves.name[1:],
        chart=chart,
        legend=tuple((name, colour, False) for colour, name in enumerate(shown)),
        note=_note(curves, lines, shown),
        heads=tuple(f"{place:g}" for place in places),
        rows=tuple((name, tuple(plain(value_at(points, place)) for place in places)) for name, points in lines.items()),
        spans={name: tuple(_span(curves.bands.get(name, ()), place) for place in places) for name in lines},
        x_label=curves.x_label,
        y_label=curves.y_label,
    )


def _telling(lines: dict[str, list[tuple[float, float]]]) -> list[str]:
    """As many lines as there are colours: all, or the highest and the lowest on average."""
    if len(lines) <= NUM_COLOURS:
        return list(lines)
    ranked = sorted(lines, key=lambda name: -sum(y for _, y in lines[name]) / len(lines[name]))
    chosen = {*ranked[: NUM_COLOURS // 2], *ranked[-NUM_COLOURS // 2 :]}
    return [name for name in lines if name in chosen]


def _bands(curves: Curves, shown: Sequence[str]) -> list[Band]:
    if len(shown) > _BANDS:
        return []
    return [Band(curves.bands[name], colour) for colour, name in enumerate(shown) if name in curves.bands]


def _span(band: Sequence[tuple[float, float, float]], place: float) -> str:
    """The interval at a place, where there is one."""
    ends = next(((low, high) for x, low, high in band if abs(x - place) < 1e-6), None)
    return "" if ends is None else f"{plain(ends[0])} to {plain(ends[1])}"


def _spots(curves: Curves, shown: Sequence[str]) -> list[Spot]:
    colours = {name: colour for colour, name in enumerate(shown)}
    return [
        Spot(name, x, y, colours.get(name, _INK), "" if name in colours else name)
        for name, (x, y) in curves.points.items()
        if name in colours or name not in curves.lines
    ]


def _note(curves: Curves, lines: dict[str, list[tuple[float, float]]], shown: Sequence[str]) -> str:
    alone = [name for name in curves.points if name not in lines]
    marked = alone or any(name in curves.points for name in shown)
    said = [f"Circles: {curves.about}."] if curves.about and marked else []
    said += [f"{listed([_at(curves, name) for name in alone])}."] if alone else []
    if any(curves.bands.values()):
        where = "Bands and the small numbers" if len(shown) <= _BANDS else "The small numbers"
        said.append(f"{where} of the table are 95 % intervals, of each place by itself.")
    if len(shown) < len(lines):
        said.append(f"Drawn are the highest and the lowest of {len(lines)} lines; the table has all.")
    return " ".join(said)


def _at(curves: Curves, name: str) -> str:
    x, y = curves.points[name]
    return f"{name} has {curves.x_label.split(',')[0]} {plain(x)} and {curves.y_label.split(',')[0]} {plain(y)}"


def _places(lines: dict[str, list[tuple[float, float]]], reach: Sequence[float]) -> list[float]:
    """Where lines are read off: evenly over what the axis must reach; else at their own places, where these are few
    and the same.
    """
    own = {tuple(x for x, _ in points) for points in lines.values()}
    if not reach and len(own) == 1 and len(first := next(iter(own))) <= _COLUMNS:
        return list(first)
    ends = [*reach, *(x for places in own for x in places)]
    low, high = min(ends), max(ends)
    return [low + (high - low) * place / (_COLUMNS - 1) for place in range(_COLUMNS)]
