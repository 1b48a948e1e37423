"""The columns of a table: what their cells say, and what is known of each from the training split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from math import isfinite, isnan, nan
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from weft.modalities.base import BadCell

Kind = Literal["number", "category", "date"]
Scaling = Literal["standard", "quantile"]

#: Dates are counted in days from here on: near enough for float32 to tell minutes.
EPOCH = datetime(2000, 1, 1)

#: What dates repeat after, in days: a mean Gregorian year, a week, a day.
YEAR, WEEK, DAY = 365.2425, 7.0, 1.0

#: The code of a category that the training split does not have, or has too rarely; known ones follow from 1 on.
UNKNOWN = 0

#: What float32 can hold.
_LARGEST = float(np.finfo(np.float32).max)

#: Points that the normal scores of a column are remembered at, where it has more different numbers.
_KNOTS = 64

#: Written by a person, not a spelling that only Python reads (`1_000`, `infinity`).
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan", re.IGNORECASE)

#: A code, not a count: 00501.
_LEADING_ZERO = re.compile(r"0\d+")


@dataclass(frozen=True)
class Column:
    """One column of a table, as the training split has it.

    Attributes:
        name: in the manifest.
        kind: number, category or date.
        missing: training rows without it. Where there are none, nothing can be learned of its absence.
        mean, std: of numbers, and of dates in days since 2000.
        values: of categories, sorted; those that are not among them are unknown.
        times: dates come with a time of day.
        knots, scores: with quantile scaling, some of the numbers, rising, and the normal score of each one's rank.
    """

    name: str
    kind: Kind
    missing: int = 0
    mean: float = 0.0
    std: float = 1.0
    values: tuple[str, ...] = ()
    times: bool = False
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Column:
        """The column that `facts` was made from."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
        }
        return cls(**values)

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def periods(self) -> tuple[float, ...]:
        """What a date repeats after, in days."""
        if self.kind != "date":
            return ()
        return (YEAR, WEEK, DAY) if self.times else (YEAR, WEEK)

    @property
    def num_codes(self) -> int:
        """Codes of a category: unknown, the values, and missing, where that was seen."""
        return 1 + len(self.values) + bool(self.missing)

    @property
    def code_of_missing(self) -> int:
        """Of a category; unknown, where no training row lacks it."""
        return self.num_codes - 1 if self.missing else UNKNOWN

    def read(self, cell: Any) -> float:
        """A cell as a number, a code, or days since 2000; NaN where it is missing.

        Raises:
            BadCell: it is not of the column's kind.
        """
        if is_missing(cell):
            return nan
        if self.kind == "number":
            return number_of(cell, self.name)
        if self.kind == "date":
            return days_of(cell, self.name)
        return float(self._codes.get(category_of(cell), UNKNOWN))

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {value: code for code, value in enumerate(self.values, start=1)}

    def say(self, value: float) -> str:
        """What `read` gave, in words."""
        if isnan(value):
            return "missing"
        if self.kind == "number":
            return f"{value:.6g}"
        if self.kind == "category":
            return self.values[round(value) - 1] if value != UNKNOWN else "unknown"
        moment = EPOCH + timedelta(minutes=round(value * 24 * 60))
        return moment.isoformat(" ", "minutes") if self.times else moment.date().isoformat()


def columns_of(facts: Mapping[str, Any]) -> tuple[Column, ...]:
    """The columns of a table by the facts of its modality; none until it is fitted."""
    return tuple(Column.of_facts(column) for column in facts.get("columns", ()))


class Layout:
    """Where each column stands in a row (W,) that is ready for an encoder.

    First the scaled value of every number and date, then the sine and cosine of each period of the dates, then 1 or 0
    for each of these columns that lacks values in training, then the codes of the categories.

    Args:
        columns: of the table.

    Attributes:
        parts: {number or date: its places}.
        codes: {category: its place}.
        width: W.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        measured = [column for column in columns if column.kind != "category"]
        self.parts = {column.name: [place] for place, column in enumerate(measured)}
        place = len(measured)
        for column in measured:
            num_waves = 2 * len(column.periods)
            self.parts[column.name] += range(place, place + num_waves)
            place += num_waves
        for column in measured:
            if column.missing:
                self.parts[column.name].append(place)
                place += 1
        self.codes = {}
        for column in columns:
            if column.kind == "category":
                self.codes[column.name] = place
                place += 1
        self.width = place

    @property
    def num_parts(self) -> int:
        """Places that are no codes: they come first."""
        return self.width - len(self.codes)


def fit_column(name: str, cells: Sequence[Any], kind: Kind, *, scaling: Scaling, min_count: int) -> Column:
    """What a training split says of a column. Cells that are not of its kind say nothing.

    Args:
        name: of the column.
        cells: of the training rows.
        kind: of the column.
        scaling: of numbers.
        min_count: categories that occur less often are unknown.
    """
    bare = Column(name, kind)
    readings = readings_of(bare, cells)
    missing = sum(isinstance(reading, float) and isnan(reading) for reading in readings)
    if kind == "category":
        counts = Counter(category_of(cell) for cell in cells if not is_missing(cell))
        values = sorted(value for value, count in counts.items() if count >= min_count)
        return replace(bare, missing=missing, values=tuple(values))
    numbers = np.array([reading for reading in readings if isinstance(reading, float) and not isnan(reading)])
    if not numbers.size:
        return replace(bare, missing=missing)
    mean, std = float(numbers.mean()), float(numbers.std()) or 1.0  # or: a constant is 0 after scaling
    fitted = replace(bare, missing=missing, mean=mean, std=std)
    if kind == "date":
        return replace(fitted, times=bool((numbers % 1).any()))
    knots, scores = _normal_scores(numbers) if scaling == "quantile" else ((), ())
    return replace(fitted, knots=knots, scores=scores)


def readings_of(column: Column, cells: Iterable[Any]) -> list[float | BadCell]:
    """What a column reads in each cell, or why it cannot."""
    readings: list[float | BadCell] = []
    for cell in cells:
        try:
            readings.append(column.read(cell))
        except BadCell as error:
            readings.append(error)
    return readings


def guess_kind(cells: Iterable[Any]) -> Kind:
    """What a column is, by its cells: what more than half of them are.

    Numbers that are written with leading zeros are codes, and so are yes and no: categories.
    """
    given = [cell for cell in cells if not is_missing(cell)]
    if any(isinstance(cell, str) and _LEADING_ZERO.fullmatch(cell.strip()) for cell in given):
        return "category"
    if sum(is_number(cell) for cell in given) > len(given) / 2:
        return "number"
    return "date" if sum(is_date(cell) for cell in given) > len(given) / 2 else "category"


def is_missing(cell: Any) -> bool:
    """Whether a cell says nothing: it is empty, or not a number."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float | np.floating) and isnan(cell))


def is_number(cell: Any) -> bool:
    """Whether a cell would be read as a number by anyone: yes and no are none."""
    if isinstance(cell, str):
        return _NUMBER.fullmatch(cell.strip()) is not None
    return isinstance(cell, int | float | Decimal | np.number) and not isinstance(cell, bool)


def is_date(cell: Any) -> bool:
    """Whether a cell is a date, or a text that is one by ISO 8601."""
    if isinstance(cell, date):
        return True
    if not isinstance(cell, str):
        return False
    try:
        datetime.fromisoformat(cell.strip())
    except ValueError:
        return False
    return True


def number_of(cell: Any, column: str) -> float:
    """A cell as a number; NaN is missing.

    Raises:
        BadCell: it is none, or too large to compute with.
    """
    if not is_number(cell) and not isinstance(cell, bool | np.bool_):
        raise BadCell(
            "not-a-number",
            f"the column {column!r} holds numbers, and here {str(cell)[:60]!r}; mend the cell, leave it empty, or name "
            "the column in `categories`",
        )
    value = float(cell)
    if abs(value) > _LARGEST:
        raise BadCell("not-a-number", f"the column {column!r} holds {cell} here, and {_LARGEST:.2g} at most is read")
    return value


def days_of(cell: Any, column: str) -> float:
    """A date or a time as days since 2000, as its clock shows it, whatever the time zone.

    Raises:
        BadCell: it is none.
    """
    if not is_date(cell):
        raise BadCell(
            "not-a-date",
            f"the column {column!r} holds dates, and here {str(cell)[:60]!r}; write 2024-03-31 or 2024-03-31 18:30, "
            "leave the cell empty, or name the column in `categories`",
        )
    moment = datetime.fromisoformat(cell.strip()) if isinstance(cell, str) else cell
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return (moment.replace(tzinfo=None) - EPOCH) / timedelta(days=1)


def category_of(cell: Any) -> str:
    """A category's name: 3, 3.0 and "3" are the same."""
    if isinstance(cell, float | np.floating) and isfinite(cell) and cell == round(cell):
        cell = int(cell)
    return str(cell).strip()


def _normal_scores(numbers: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(some of the numbers, rising; the normal score of each one's rank): ties have the mean of their ranks."""
    values, counts = np.unique(numbers, return_counts=True)
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(rank) for rank in (np.cumsum(counts) - counts / 2) / len(numbers)])
    if len(values) > _KNOTS:  # evenly by score, so that the tails, where few numbers lie, are as near as the middle
        some = np.unique(np.searchsorted(scores, np.linspace(scores[0], scores[-1], _KNOTS)))
        values, scores = values[some], scores[some]
    return tuple(values.tolist()), tuple(scores.tolist())
