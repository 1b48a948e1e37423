"""The manifest: one row a sample, cells that may be empty, kept as an Arrow table that stays on disk where it can."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.clipcell import split_cell
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.registry import Part

#: Names of the splits that weft itself uses; a manifest may have others besides.
SPLITS = ("train", "val", "test")

#: What others call them.
_ALIASES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}

#: Column that names the data set of a sample where there are several.
SET = "set"

#: Set in the metadata of an Arrow schema whose ids are known to be unique, so that opening it again costs nothing.
IDS_CHECKED = b"weft.ids-unique"


@dataclass(frozen=True)
class Column:
    """What a data format knows about a column.

    Attributes:
        kind: its natural kind: image, depth, label (a map), class, labels (several), points, number, text, … ;
            "path" where a file is meant and nothing more is known, "" where nothing is.
        facts: JSON-able facts for the column's `Field`: classes, ignore, remap, metres_per_unit, …
    """

    kind: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSet:
    """One of several data sets whose samples stand in one manifest: how its cells are to be read.

    Attributes:
        name: as in the column `set`.
        format: the format that it comes from, with its options.
        root, roots, arrays, made: what its path cells stand for, as in `Manifest`.
        columns: {column: what is known about it in this set}.
        clip: as in `Manifest`.
        share: its share of the training samples of an epoch, of the sum of all shares; None: as many as it has.
    """

    name: str
    format: Part
    root: Path
    roots: tuple[Path, ...] = ()
    arrays: Callable[[str], np.ndarray] | None = None
    made: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict)
    clip: str | None = None
    share: float | None = None


@dataclass(frozen=True)
class Manifest:
    """Samples as rows of a table, or a view of some of its rows.

    Attributes:
        table: has the string columns `id` and `split`; the others are cells, and null is absent.
        root: folder that path cells are relative to.
        columns: {column: what is known about it}; a column that is missing here is known by name only.
        roots: further folders that path cells may point into.
        notes: what is worth logging about how the table came to be ("3 rows had …").
        arrays: where cells are not files: what a cell's array is. It is called in worker processes, so it must be
            picklable (a method of a small object that opens its file when first asked).
        made: how the cells begin that `arrays` makes; the others are files. Empty: it makes all.
        rows: (n,) int64, which rows of the table this view shows, in order; None: all.
        group: column whose equal values belong together where the format knows one (scene, drive, patient).
        clip: column of the clips whose frames are those of a sample, also where it is no input, where the format knows
            one.
        sets: the data sets that the samples come from, where there are several: the column `set` names each sample's.

    Raises:
        DataFault: `id` or `split` is lacking, empty somewhere, or an id is there twice.
    """

    table: pa.Table
    root: Path
    columns: Mapping[str, Column] = field(default_factory=dict)
    roots: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    arrays: Callable[[str], np.ndarray] | None = None
    rows: np.ndarray | None = None
    group: str | None = None
    clip: str | None = None
    made: str = ""
    sets: tuple[DataSet, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(os.path.realpath(self.root)))
        object.__setattr__(self, "roots", tuple(Path(os.path.realpath(root)) for root in self.roots))
        if self.rows is None and (self.table.schema.metadata or {}).get(IDS_CHECKED) != b"1":
            _check(self.table)
            metadata = {**(self.table.schema.metadata or {}), IDS_CHECKED: b"1"}
            object.__setattr__(self, "table", self.table.replace_schema_metadata(metadata))

    def __len__(self) -> int:
        return self.table.num_rows if self.rows is None else len(self.rows)

    def row(self, index: int) -> dict[str, Any]:
        """{column: cell} of one sample of this view; None is absent."""
        place = self._place(index)
        return {name: column[place].as_py() for name, column in zip(self.names, self.table.columns, strict=True)}

    def cell(self, index: int, name: str) -> Any:
        """One cell of one sample of this view; None is absent."""
        return self.table.column(name)[self._place(index)].as_py()

    def id(self, index: int) -> str:
        """The id of one sample of this view."""
        return str(self.cell(index, "id"))

    def set_of(self, index: int) -> int:
        """Place in `sets` of the data set that one sample of this view comes from; 0 where there is one only."""
        if not self.sets:
            return 0
        name = self.cell(index, SET)
        return next(place for place, one in enumerate(self.sets) if one.name == name)

    def set_places(self) -> np.ndarray:
        """(n,) the same of every sample of this view."""
        if not self.sets:
            return np.zeros(len(self), np.int64)
        return np.asarray(pc.index_in(self.values(SET), pa.array([one.name for one in self.sets])), np.int64)

    @property
    def names(self) -> list[str]:
        """The columns, `id` and `split` among them."""
        return list(self.table.column_names)

    @property
    def splits(self) -> list[str]:
        """The splits of this view: train, val and test first, then others by name."""
        found = set(pc.unique(self.values("split")).to_pylist())
        return [name for name in SPLITS if name in found] + sorted(found - set(SPLITS))

    def values(self, name: str) -> pa.ChunkedArray:
        """A whole column of this view.

        Raises:
            DataFault: there is no such column.
        """
        if name not in self.table.column_names:
            known = ", ".join(self.names)
            raise DataFault(f"the data has no column {name!r}; it has {known}", code="no-column")
        column = self.table.column(name)
        return column if self.rows is None else column.take(pa.array(self.rows))

    def present(self, name: str) -> np.ndarray:
        """(n,) bool: where this view has a value in a column; all False for a column that is not there."""
        if name not in self.table.column_names:
            return np.zeros(len(self), bool)
        return np.asarray(pc.is_valid(self.values(name)))

    def split(self, name: str) -> Manifest:
        """The samples of one split, in order; empty where there are none. Rows are not copied."""
        return self.take(np.flatnonzero(np.asarray(pc.equal(self.values("split"), name))))

    def take(self, index: np.ndarray | Sequence[int]) -> Manifest:
        """A view of the samples at `index` (of this view). Rows are not copied."""
        index = np.asarray(index, np.int64)
        return replace(self, rows=index if self.rows is None else self.rows[index])

    def with_split(self, splits: pa.Array | Sequence[str]) -> Manifest:
        """The samples of this view with other splits, one for each."""
        table = self.table if self.rows is None else self.table.take(pa.array(self.rows))
        column = pa.array(splits, pa.string()) if not isinstance(splits, pa.Array) else splits
        table = table.set_column(table.schema.get_field_index("split"), pa.field("split", column.type), column)
        return replace(self, table=table, rows=None)

    def with_joined(self, name: str, columns: Sequence[str]) -> Manifest:
        """The same, with a column `name` whose cells are {column: value} of some others; absent where all of them are.

        Columns that are not there are left out of it. What is known of their kinds is known of it: its fact `kinds`.
        """
        there = [column for column in columns if column in self.table.column_names]
        if not there:
            return self
        parts = self.table.select(there).combine_chunks()
        arrays = [
            column.combine_chunks() if column.num_chunks else pa.array([], column.type) for column in parts.columns
        ]
        absent = np.logical_and.reduce([np.asarray(pc.is_null(column)) for column in arrays])
        joined = pa.StructArray.from_arrays(arrays, names=there, mask=pa.array(absent))
        table = self.table.drop_columns([name]) if name in self.table.column_names else self.table
        kinds = {column: self.columns[column].kind for column in there if column in self.columns}
        known = {**self.columns, name: Column("row", {"kinds": kinds})}
        return replace(self, table=table.append_column(name, joined), columns=known)

    def with_roots(self, roots: Sequence[str | Path]) -> Manifest:
        """The same, with path cells also allowed into `roots`."""
        return replace(self, roots=(*self.roots, *(Path(root) for root in roots)))

    def with_notes(self, *notes: str) -> Manifest:
        """The same, with more said about it."""
        return replace(self, notes=(*self.notes, *notes))

    def resolve(self, cell: str, place: int | None = None) -> Path | np.ndarray:
        """What a cell stands for: a file below `root` or `roots`, or the array of a format that holds arrays.

        Args:
            cell: of one sample. Of one that names a part of a clip (`a.mp4#t=2,5`), the whole is meant.
            place: of the sample's data set in `sets`, where there are several.

        Raises:
            BadCell: the path leaves the declared folders. Whether the file exists is not looked at.
        """
        cell = split_cell(cell)[0]
        where: Manifest | DataSet = self
        if self.sets:
            assert place is not None, "cells of several data sets are read by `resolver(place)`"
            where = self.sets[place]
        if where.arrays is not None and cell.startswith(where.made):
            return where.arrays(cell)
        return safe_path(cell, (where.root, *where.roots, *(self.roots if self.sets else ())))

    def data_set(self, place: int) -> Manifest | DataSet:
        """The data set with a place in `sets`; where there is one only, the manifest itself."""
        return self.sets[place] if self.sets else self

    def resolver(self, place: int) -> Callable[[str], Path | np.ndarray]:
        """`resolve` for the samples of one data set."""
        return partial(self.resolve, place=place)

    def _place(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index if self.rows is None else int(self.rows[index])


def usual_split(name: str) -> str:
    """Another writing of train, val or test as that ("Validation" is val); other names as they are."""
    lower = name.strip().lower()
    return lower if lower in SPLITS else _ALIASES.get(lower, name)


def safe_path(cell: str, roots: Sequence[Path]) -> Path:
    """The file that a path cell names, below one of `roots`, which are real paths.

    A relative cell is looked for below each root in turn. Links are followed before the place is judged.

    Raises:
        BadCell: it has `..` or a zero byte in it, or leads outside every root.
    """
    if not isinstance(cell, str):
        raise BadCell("not-a-path", f"{cell!r} is no path; give the name of a file below {roots[0]}")
    if "\0" in cell or ".." in PurePath(cell).parts:
        raise BadCell("path-outside", f"the path {cell!r} has '..' or a zero byte in it; give it from {roots[0]} on")
    candidates = [os.path.join(root, cell) for root in roots]  # an absolute cell stays as it is
    path = next((candidate for candidate in candidates if os.path.lexists(candidate)), candidates[0])
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(root) for root in roots):
        allowed = ", ".join(str(root) for root in roots)
        raise BadCell(
            "path-outside",
            f"the path {cell!r} leads to {real}, outside {allowed}; move the file or add its folder to data.roots",
        )
    return real


def _check(table: pa.Table) -> None:
    """Refuse a table without `id` and `split`, with empty ones, or with an id twice."""
    for name in ("id", "split"):
        if name not in table.column_names:
            raise DataFault(f"the manifest has no column {name!r}; it has {table.column_names}", code="no-column")
        empty = table.column(name).null_count
        if empty:
            where = np.flatnonzero(np.asarray(pc.is_null(table.column(name))))[0]
            raise DataFault(f"{empty} rows have no {name}, the first is row {where + 1}; fill it in", code=f"no-{name}")
    ids = table.column("id")
    if len(ids) < 2 or pc.all(pc.greater(ids.slice(1), ids.slice(0, len(ids) - 1))).as_py():
        return  # in rising order: no id can be there twice, found without a hash of each
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids.combine_chunks())
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    names = ", ".join(f"{name} ({count} times)" for name, count in _pairs(twice.slice(0, 5)))
    more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
    raise DataFault(f"ids must be unique; there are twice or more: {names}{more}", code="duplicate-id")


def _pairs(counts: pa.StructArray) -> list[tuple[str, int]]:
    return list(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
