"""Lines beside figures, as an evaluation keeps them for the report, with the bootstrap's bands around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from weft.metrics.bootstrap import LEVEL, draws, percentiles, resampled
from weft.types import Records

Points = Sequence[tuple[float, float]]

#: Places along an axis of percentages at which a band is known, from 0 to 100.
_NUM_PLACES = 21


@dataclass(frozen=True)
class Curves:
    """Lines over the same axes.

    Attributes:
        name: what they show.
        x_label, y_label: of the axes, with units.
        lines: {what a line is of: its points (x, y)}, x never falling.
        points: {name: (x, y)} places to be marked; one with the name of a line is a place on that line.
        about: what those on lines are.
        bands: {name of a line: (x, low, high)}: the 95 % interval of y at places along x, each by itself.
    """

    name: str
    x_label: str
    y_label: str
    lines: dict[str, list[tuple[float, float]]]
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    about: str = ""
    bands: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)


def value_at(points: Points, place: float) -> float:
    """The value where a line first reaches a place; NaN where it does not.

    Example:
        >>> value_at([(0.0, 50.0), (10.0, 100.0), (10.0, 60.0)], 4.0)
        100.0
    """
    return next((y for x, y in points if x >= place - 1e-9), math.nan)


def with_bands(
    curves_of: Callable[[Records], tuple[Curves, ...]],
    records: Records,
    *,
    additive: bool = False,
    groups: Mapping[str, str] | None = None,
    number: int = 200,
    seed: int = 0,
) -> tuple[Curves, ...]:
    """The curves of records, with bands from resampled samples, or groups of them, as the intervals of figures are.

    A resample in which a line does not reach a place says nothing of it; a place that fewer than half of the resamples
    reach has no interval.

    Args:
        curves_of: the curves of records, told apart by their names.
        records: the samples.
        additive, groups, seed: as of `intervals`.
        number: of resamples.
    """
    curves = curves_of(records)
    if not curves:
        return ()
    places = {(one.name, line): _places(one, points) for one in curves for line, points in one.lines.items()}
    drawn = {key: np.full((number, len(where)), math.nan) for key, where in places.items()}
    labels = [(groups or {}).get(sample, "") for sample in records.ids]
    for row, part in enumerate(resampled(records, draws(labels, number, seed=seed), additive=additive)):
        for one in curves_of(part):
            for line, points in one.lines.items():
                if (one.name, line) in places:
                    drawn[one.name, line][row] = _read_off(points, places[one.name, line])
    return tuple(
        replace(one, bands={line: _band(places[one.name, line], drawn[one.name, line]) for line in one.lines})
        for one in curves
    )


def _places(curves: Curves, points: Points) -> np.ndarray:
    """Where a line's band is known: over percentages evenly, up to where the line ends; else at its own places."""
    if curves.x_label.endswith("%"):
        places = np.linspace(0, 100, _NUM_PLACES)
        return places[places <= max((x for x, _ in points), default=-math.inf)]
    return np.array([x for x, _ in points])


def _read_off(points: Points, places: np.ndarray) -> np.ndarray:
    """(n,) `value_at` of every place."""
    x, y = np.array([*points, (math.inf, math.nan)]).T
    return y[np.searchsorted(x, places - 1e-9)]


def _band(places: np.ndarray, drawn: np.ndarray) -> list[tuple[float, float, float]]:
    """(x, low, high) of the places that have an interval, of values (resamples, n) there."""
    ends = zip(places.tolist(), *percentiles(drawn, LEVEL), strict=True)
    return [(x, low, high) for x, low, high in ends if not math.isnan(low)]
