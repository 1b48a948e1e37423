"""Columns of a table that belong to a sample: numbers, categories and dates, any of them missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import pi
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.text.picture import page
from weft.errors import ConfigError, DataFault, did_you_mean
from weft.modalities.base import BadCell, CellKind, Facts, Geometry, Lines, Modality, Preprocessor, Resolve
from weft.modalities.columns import (
    Column,
    Kind,
    Layout,
    Scaling,
    columns_of,
    fit_column,
    guess_kind,
    is_missing,
    readings_of,
)
from weft.registry import Range, register
from weft.types import InputSpec

#: What the kinds that a data format declares are here; other kinds are guessed as if nothing were declared.
_DECLARED: Mapping[str, Kind] = {"number": "number", "class": "category"}

#: So many values of a category are named in a note.
_NAMED = 5


@register("modality", "table")
class TableModality(Modality):
    """A row of several columns, named in `columns`: numbers, categories and dates; any of them may be missing.

    What a column is, is said here, or by the data format, or else follows from its training cells: what more than half
    of them are. What the others are is refused when it is read. Every column is logged with what it was taken for. One
    that says the same of all training samples is left out, and so is one that is empty. Where a column lacks no cell
    in training, a missing one counts later as the mean, or as an unknown category.

    Args:
        numbers: columns of numbers.
        categories: columns whose values stand for themselves, such as zip codes, though they may be numbers.
        dates: columns of dates or times, as ISO 8601 writes them; the network gets when it was, and where in the year,
            in the week and, where there are times, in the day.
        scaling: of numbers. standard: their mean becomes 0 and their deviation 1. quantile: a number becomes the normal
            score of its rank in training, which brings in heavy tails.
        min_count: categories that occur less often in training are unknown, all alike.
    """

    kind: ClassVar[str] = "table"
    cell: ClassVar[CellKind] = "row"

    def __init__(
        self,
        facts: Facts,
        *,
        numbers: tuple[str, ...] = (),
        categories: tuple[str, ...] = (),
        dates: tuple[str, ...] = (),
        scaling: Scaling = "standard",
        min_count: Annotated[int, Range(1)] = 2,
    ) -> None:
        self.facts = facts
        self.geometry = Geometry("none")
        self.scaling: Scaling = scaling
        self.min_count = min_count
        self._kinds: dict[str, Kind] = {}
        lists: tuple[tuple[Kind, tuple[str, ...]], ...] = (
            ("number", numbers),
            ("category", categories),
            ("date", dates),
        )
        for kind, names in lists:
            for name in names:
                if name in self._kinds:
                    raise ValueError(f"the column {name!r} is named as {self._kinds[name]} and as {kind}; choose one")
                self._kinds[name] = kind

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Those that the network gets, in order; none until fitted."""
        return columns_of(self.facts)

    @property
    def num_channels(self) -> int:
        """Numbers of a row after `preprocessor`."""
        return Layout(self.columns).width

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(F,) float32, one for each column: the number, the code of the category, days since 2000; NaN is missing.

        Until fitted, the row itself.

        Args:
            cell: {column: value}; columns that are not in it are missing.
            resolve: of no matter here.

        Raises:
            BadCell: no row, an unknown column, nothing in it, or a value that its column cannot have.
        """
        if not isinstance(cell, Mapping):
            raise BadCell(
                "not-a-row",
                f"{str(cell)[:60]!r} was given where a row {{column: value}} is read; name the columns in `columns`",
            )
        row = np.empty((), object)
        row[()] = dict(cell)
        if self.wants_fit:
            return row
        known = [column.name for column in self.columns]
        for name in cell:
            if name not in known and name not in self.facts.get("left_out", {}):
                hint = did_you_mean(str(name), known)
                raise BadCell("no-column", f"there is no column {name!r}; there are {', '.join(known)}{hint}")
        if all(is_missing(value) for value in cell.values()):
            raise BadCell("empty-row", f"the row has no value; give one at least of {', '.join(known)}")
        return np.array([column.read(cell.get(column.name)) for column in self.columns], np.float32)

    @property
    def wants_fit(self) -> bool:
        """Until the columns are known."""
        return "columns" not in self.facts

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """The columns, with means, deviations and categories; those that are left out, and why.

        Args:
            values: rows as `read` gives them until fitted.

        Raises:
            ConfigError: an option names a column that is not among them.
            DataFault: none of them says anything.
        """
        rows = [value.item() for value in values]
        names = list(dict.fromkeys(name for row in rows for name in row))
        unknown = [name for name in self._kinds if names and name not in names]
        if unknown:
            kind = self._kinds[unknown[0]]
            raise ConfigError([f"{unknown[0]!r} is said to be a {kind}, and `columns` has only {', '.join(names)}"])
        columns: list[Column] = []
        left_out: dict[str, str] = {}
        notes = []
        for name in names:
            cells = [row.get(name) for row in rows]
            column = fit_column(name, cells, self._kind_of(name, cells), scaling=self.scaling, min_count=self.min_count)
            readings = readings_of(column, cells)
            reason = _says_nothing(column, readings)
            if reason:
                left_out[name] = reason
                notes.append(f"{name} is left out: {reason}")
            else:
                columns.append(column)
                notes.append(f"{name}: {_summary(column, cells, readings)}")
        if not columns:
            raise DataFault(f"no column says anything of the training samples. {'; '.join(notes)}", code="no-columns")
        return {"columns": [column.facts for column in columns], "left_out": left_out, "notes": notes}

    def _kind_of(self, name: str, cells: Sequence[Any]) -> Kind:
        declared = self.facts.get("kinds", {}).get(name, "")
        return self._kinds.get(name) or _DECLARED.get(declared) or guess_kind(cells)

    def means_as(self, other: Modality) -> bool:
        """See `Modality.means_as`: with the same columns, fitted alike."""
        return self.facts.get("columns") == other.facts.get("columns")

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(F,) float32."""
        return torch.from_numpy(value)

    def words(self, value: np.ndarray) -> list[str]:
        """The names of the columns: each has a token where an encoder gives any."""
        return [column.name for column in self.columns]

    def describe(self, value: np.ndarray) -> Lines:
        """Each column, and what it says."""
        pairs = zip(self.columns, value.tolist(), strict=True)
        return tuple((column.name, column.say(number)) for column, number in pairs)

    def draw(self, value: np.ndarray) -> Image.Image:
        """The same as print."""
        return page([f"{name}: {said}" for name, said in self.describe(value)])

    def preprocessor(self, input_spec: InputSpec) -> Preprocessor:
        """Scales numbers and takes dates apart."""
        return TablePreprocessor(self.columns)


class TablePreprocessor(Preprocessor):
    """Rows (P, F) as read to rows (P, W) of finite numbers, laid out as `Layout` says.

    Args:
        columns: of the table.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        measured = [column for column in columns if column.kind != "category"]
        coded = [column for column in columns if column.kind == "category"]
        waves = [(place, period) for place, column in enumerate(measured) for period in column.periods]
        most = max((len(column.knots) for column in measured), default=0)
        self._keep("measured", [columns.index(column) for column in measured])
        self._keep("coded", [columns.index(column) for column in coded])
        self._keep("mean", [column.mean for column in measured], float)
        self._keep("std", [column.std for column in measured], float)
        self._keep("wave_of", [place for place, _ in waves])
        self._keep("period", [period for _, period in waves], float)
        self._keep("flagged", [place for place, column in enumerate(measured) if column.missing])
        self._keep("code_of_missing", [column.code_of_missing for column in coded], float)
        # the last knot is repeated where others have more: a step of no height
        for name in ("knots", "scores"):
            rows = [getattr(column, name) or (0.0,) for column in measured]
            self._keep(name, [[*row, *row[-1:] * (most - len(row))] for row in rows], float)
        self._keep("ranked", [bool(column.knots) for column in measured], bool)
        self.scores_ranks = bool(most)

    def _keep(self, name: str, numbers: Sequence[Any], kind: type = int) -> None:
        kinds = {int: torch.int64, float: torch.float32, bool: torch.bool}
        self.register_buffer(name, torch.tensor(numbers, dtype=kinds[kind]), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, F) float32, NaN where missing, to (P, W) float32 without any."""
        inputs = inputs.float()
        values = inputs[:, self.get_buffer("measured")]
        missing = values.isnan()
        # before any arithmetic, so that no NaN is ever multiplied
        values = torch.where(missing, self.get_buffer("mean"), values)
        scaled = (values - self.get_buffer("mean")) / self.get_buffer("std")
        if self.scores_ranks:
            scaled = torch.where(self.get_buffer("ranked"), self._scored(values), scaled)
        wave_of = self.get_buffer("wave_of")
        turn = 2 * pi * (values[:, wave_of] / self.get_buffer("period")).frac()
        waves = torch.stack([turn.sin(), turn.cos()], dim=-1)
        waves = torch.where(missing[:, wave_of, None], 0, waves).flatten(1)
        codes = inputs[:, self.get_buffer("coded")]
        codes = torch.where(codes.isnan(), self.get_buffer("code_of_missing"), codes)
        flags = missing[:, self.get_buffer("flagged")].float()
        return torch.cat([torch.where(missing, 0, scaled), waves, flags, codes], dim=1)

    def _scored(self, values: Tensor) -> Tensor:
        """(P, n) normal scores, straight from knot to knot and level beyond the outermost: s₀ + Σ (sᵢ₊₁ − sᵢ) · the
        share of the way from knot i to the next that lies behind.
        """
        knots, scores = self.get_buffer("knots"), self.get_buffer("scores")
        steps = knots[:, 1:] - knots[:, :-1]
        share = (values[..., None] - knots[:, :-1]) / torch.where(steps > 0, steps, 1)
        return scores[:, 0] + (share.clamp(0, 1) * (scores[:, 1:] - scores[:, :-1])).sum(-1)


def _says_nothing(column: Column, readings: Sequence[float | BadCell]) -> str:
    """Why a column cannot tell one sample from another; empty where it can."""
    values = {column.say(reading) for reading in readings if isinstance(reading, float)}
    if len(values) > 1:
        return ""
    if values == {"missing"} or not values:
        return "it is empty in all training samples"
    if values == {"unknown"}:
        return "each of its values occurs too rarely in training (min_count)"
    return f"it is {values.pop()} in all training samples"


def _summary(column: Column, cells: Sequence[Any], readings: Sequence[float | BadCell]) -> str:
    """A column in words, for the log: what it was taken for above all."""
    if column.kind == "category":
        named = ", ".join(column.values[:_NAMED]) + (", …" if len(column.values) > _NAMED else "")
        said = f"category of {len(column.values)} values ({named})"
        rare = sum(reading == 0 for reading in readings)
        said += f", in {rare} rows a rarer one, which is unknown" if rare else ""
    else:
        known = [reading for reading in readings if isinstance(reading, float) and not np.isnan(reading)]
        said = f"{column.kind} from {column.say(min(known))} to {column.say(max(known))}"
    said += f", missing in {column.missing} of {len(cells)} rows" if column.missing else ""
    bad = [str(reading) for reading in readings if isinstance(reading, BadCell)]
    return f"{said}; {len(bad)} rows cannot be used: {bad[0]}" if bad else said
