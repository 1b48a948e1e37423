"""Line charts as inline SVG: axes with units, a title on every point, colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from weft.report.numbers import MINUS, plain

LARGE, SMALL = (440, 250), (300, 220)
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 16, 40
#: The style sheet has this many colours for series; further series start over.
NUM_COLOURS = 8
#: Data over more than this ratio are drawn on a logarithmic axis.
LOG_RATIO = 40
#: With more points than this, only the line is drawn; every point keeps its title.
MAX_DOTS = 40


#: Where the names of marked places stand in turn, so that those of places near each other can be read: on which side,
#: and how far to the right and down.
_SIDES = (("start", 7, -6), ("end", -8, 16), ("start", 9, 8))


@dataclass(frozen=True)
class Series:
    """One line. `points` are (x, y), NaN breaks the line; `colour` is an index into the page's colours."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    dashed: bool = False


@dataclass(frozen=True)
class Guide:
    """A horizontal line for reference."""

    name: str
    y: float
    colour: int


@dataclass(frozen=True)
class Mark:
    """A vertical line with a word at its head."""

    x: float
    label: str


@dataclass(frozen=True)
class Spot:
    """A place to be looked at, with its name written beside it where `label` is not empty."""

    name: str
    x: float
    y: float
    colour: int
    label: str = ""


@dataclass(frozen=True)
class Band:
    """An area between two lines: `points` are (x, low, high)."""

    points: Sequence[tuple[float, float, float]]
    colour: int


def line_chart(
    series: Sequence[Series],
    *,
    label: str,
    x_label: str,
    y_label: str,
    guides: Sequence[Guide] = (),
    marks: Sequence[Mark] = (),
    spots: Sequence[Spot] = (),
    bands: Sequence[Band] = (),
    y_text: Callable[[float], str] = plain,
    x_range: Sequence[float] = (),
    y_range: Sequence[float] = (),
    logarithmic: bool = False,
    size: tuple[int, int] = LARGE,
) -> Markup:
    """The chart; its legend is the page's affair.

    Args:
        series: the lines.
        label: what a screen reader says of the chart.
        x_label, y_label: what is on the axes, with units.
        guides: horizontal lines.
        marks: vertical lines.
        spots: places on the chart.
        bands: areas below the lines.
        y_text: a value as it is written in the titles.
        x_range, y_range: values that the axes must reach, so that charts side by side share theirs.
        logarithmic: draw y on a logarithmic axis where all of it is positive and it spans a large ratio.
        size: width and height of the drawing; it is scaled to its place, and letters with it.
    """
    points = [(x, y) for line in series for x, y in line.points if math.isfinite(y)]
    if not points:
        return Markup("")
    heights = [y for _, y in points] + list(y_range) + [guide.y for guide in guides if math.isfinite(guide.y)]
    heights += [y for band in bands for _, low, high in band.points for y in (low, high)]
    use_log = logarithmic and min(heights) > 0 and max(heights) / min(heights) > LOG_RATIO
    frame = _Frame(*size)
    y_axis = _Axis.over(heights, start=frame.bottom, end=TOP, logarithmic=use_log)
    x_axis = _Axis.exactly([*(x for x, _ in points), *x_range], start=LEFT, end=frame.right)
    parts = [
        f'<svg class="chart" viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{escape(label)}">',
        *_grid(x_axis, y_axis, frame),
        f'<text class="axis" x="{(LEFT + frame.right) / 2:.0f}" y="{frame.height - 5}" text-anchor="middle">'
        f"{escape(x_label)}</text>",
        f'<text class="axis" transform="translate(11 {(TOP + frame.bottom) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>',
    ]
    for mark in marks:
        parts += _mark(mark, x_axis, frame)
    for guide in guides:
        if math.isfinite(guide.y):
            y = y_axis.place(guide.y)
            parts.append(
                f'<line class="guide c{guide.colour % NUM_COLOURS}" x1="{LEFT}" x2="{frame.right}" y1="{y:.1f}" '
                f'y2="{y:.1f}"><title>{escape(guide.name)}: {escape(y_text(guide.y))}</title></line>'
            )
    parts += [_band(band, x_axis, y_axis) for band in bands if len(band.points) > 1]
    for line in series:
        parts += _line(line, x_axis, y_axis, x_label, y_text)
    for number, spot in enumerate(spots):
        text = f"{spot.name}: {x_label} {plain(spot.x)}, {y_label} {y_text(spot.y)}"
        parts += _spot(spot, x_axis.place(spot.x), y_axis.place(spot.y), text, side=_SIDES[number % len(_SIDES)])
    return Markup("".join([*parts, "</svg>"]))


@dataclass(frozen=True)
class _Frame:
    """The drawing's size, and where its axes lie."""

    width: int
    height: int

    @property
    def right(self) -> int:
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM


@dataclass(frozen=True)
class _Axis:
    """Values to pixels, with round ticks; `step` is 0 where they are not evenly apart."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    step: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float], *, start: float, end: float, logarithmic: bool) -> _Axis:
        """From a tick at or below the values to one at or above."""
        low, high = min(values), max(values)
        if logarithmic:
            decades = [m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5)]
            first = max(i for i, tick in enumerate(decades) if tick <= max(low, decades[0]))
            last = min(i for i, tick in enumerate(decades) if tick >= min(high, decades[-1]))
            chosen = decades[first : last + 1]
            shown = chosen if len(chosen) <= 7 else [t for t in chosen if f"{t:e}".startswith("1.0")]
            return cls(chosen[0], chosen[-1], start, end, tuple(shown), 0, True)
        if high - low < 1e-12 * max(1.0, abs(high)):
            room = abs(high) / 10 or 0.1  # a constant gets an axis around it
            low, high = low - room, high + room
        step = nice_step((high - low) / 4)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = tuple(step * i for i in range(first, last + 1))
        return cls(ticks[0], ticks[-1], start, end, ticks, step, False)

    @classmethod
    def exactly(cls, values: Sequence[float], *, start: float, end: float) -> _Axis:
        """From the least value to the largest, with ticks inside; whole ones where all values are whole."""
        low, high = min(values), max(values)
        if high == low:
            return cls(low - 1, high + 1, start, end, (low,), 1, False)
        step = nice_step((high - low) / 6)
        if all(float(value).is_integer() for value in values):
            step = max(1.0, step)
        ticks = tuple(step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1))
        return cls(low, high, start, end, ticks, step, False)

    def place(self, value: float) -> float:
        """The pixel of a value."""
        low, high = (math.log(self.low), math.log(self.high)) if self.logarithmic else (self.low, self.high)
        share = ((math.log(value) if self.logarithmic else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)


def nice_step(rough: float) -> float:
    """The step of 1, 2 or 5 times a power of ten that is next above a rough one."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def tick_text(value: float, step: float) -> str:
    """A tick with no more digits than its axis needs; `step` 0 is a logarithmic axis, whose ticks stand alone."""
    if abs(value) < 1e-9 * step:
        return "0"
    if max(abs(value), step) < 1e-3:
        text = f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    elif step == 0 or abs(value) >= 1e5:
        text = f"{value:g}"
    else:
        text = f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    return text.replace("-", MINUS)


def _grid(x_axis: _Axis, y_axis: _Axis, frame: _Frame) -> list[str]:
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = escape(tick_text(tick, y_axis.step))
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    for tick in x_axis.ticks:
        text = escape(tick_text(tick, x_axis.step))
        x, y = x_axis.place(tick), frame.bottom + 16
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{text}</text>')
    return parts


def _mark(mark: Mark, x_axis: _Axis, frame: _Frame) -> list[str]:
    x = x_axis.place(mark.x)
    anchor, shift = ("end", -5) if x > (LEFT + frame.right) / 2 else ("start", 5)
    return [
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10}" y2="{frame.bottom}"/>',
        f'<text class="tick" x="{x + shift:.1f}" y="{TOP - 5}" text-anchor="{anchor}">{escape(mark.label)}</text>',
    ]


def _band(band: Band, x_axis: _Axis, y_axis: _Axis) -> str:
    there = [(x, high) for x, _, high in band.points]
    back = [(x, low) for x, low, _ in reversed(band.points)]
    corners = " ".join(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in (*there, *back))
    return f'<polygon class="band c{band.colour % NUM_COLOURS}" points="{corners}"/>'


def _spot(spot: Spot, x: float, y: float, text: str, *, side: tuple[str, int, int]) -> list[str]:
    anchor, right, down = side
    label = (
        f'<text class="tick" x="{x + right:.1f}" y="{y + down:.1f}" text-anchor="{anchor}">{escape(spot.label)}</text>'
    )
    return [
        f'<g class="spot c{spot.colour % NUM_COLOURS}"><title>{escape(text)}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>{label if spot.label else ""}</g>'
    ]


def _line(
    line: Series,
    x_axis: _Axis,
    y_axis: _Axis,
    x_label: str,
    y_text: Callable[[float], str],
) -> list[str]:
    style = f"c{line.colour % NUM_COLOURS}" + (" dashed" if line.dashed else "")
    path, pen_down = [], False
    known = []
    for x, y in line.points:
        if not math.isfinite(y) or (y_axis.logarithmic and y <= 0):
            pen_down = False
            continue
        px, py = x_axis.place(x), y_axis.place(y)
        path.append(f"{'L' if pen_down else 'M'}{px:.1f} {py:.1f}")
        known.append((px, py, f"{line.name}, {x_label} {x:g}: {y_text(y)}"))
        pen_down = True
    radius = 2.4 if len(known) <= MAX_DOTS else 0
    dots = [
        f'<g><title>{escape(text)}</title><circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="7"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/></g>'
        for x, y, text in known
    ]
    return [f'<g class="line {style}"><path d="{" ".join(path)}"/>', *dots, "</g>"]
