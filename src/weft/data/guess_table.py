"""For `weft init`: a table of samples, which names files, has files called after its rows, or stands alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from weft.data.guess_column import ColumnGuess, of_cells
from weft.data.guess_paths import guess_paths
from weft.data.guess_row import with_row
from weft.data.manifest import SPLITS, usual_split
from weft.data.tablefile import read_table
from weft.errors import DataFault

#: Endings of tables that are looked at.
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

#: Columns whose equal values usually belong together.
_GROUPS = ("patient", "patient_id", "subject", "subject_id", "scene", "group", "site", "drive", "sequence")


@dataclass
class Layout:
    """How the data is laid out.

    Attributes:
        format: the data format with its options.
        columns: {column: what it seems to be}.
        reasons: for the whole, a line each.
        group: column whose equal values belong together.
        below: where the data lies below the folder that was given.
    """

    format: dict[str, Any]
    columns: dict[str, ColumnGuess]
    reasons: list[str] = field(default_factory=list)
    group: str | None = None
    below: str = "."


def table_of_files(root: Path) -> Layout | None:
    """The table with the most columns that are paths of files, or texts."""
    return _best_table(root, lambda column: int(column.is_input and column.kind != "table"))


def table_of_rows(root: Path) -> Layout | None:
    """The table with the most columns of numbers and categories, where no file belongs to any."""
    return _best_table(root, lambda column: len(column.options["columns"]) if column.kind == "table" else 0)


def _best_table(root: Path, weigh: Callable[[ColumnGuess], int]) -> Layout | None:
    """The table whose columns weigh most together; None where nothing weighs anything."""
    best: Layout | None = None
    most = 0
    for path in sorted(entry for entry in root.iterdir() if entry.suffix.lower() in _TABLES):
        try:
            layout = _of_table(root, path)
        except DataFault as error:
            raise DataFault(f"{path.name} looks like the table of samples, but: {error}", code=error.code) from error
        weight = sum(map(weigh, layout.columns.values()))
        if weight > most:
            best, most = layout, weight
    return best


def _of_table(root: Path, path: Path) -> Layout:
    delimiter = _delimiter(path)
    table = read_table(path, delimiter=delimiter)
    layout = Layout({"format": "table", "file": path.name}, {}, [f"{path.name}: a table of {table.num_rows} rows"])
    if delimiter is not None:
        layout.format["delimiter"] = delimiter
    names = list(table.column_names)
    for option, found in (("id", _id_column(table)), ("split", _split_column(table))):
        if found is not None:
            names.remove(found)
            layout.reasons.append(f"{found}: taken as the column of the {option}s")
            if found != option:
                layout.format[option] = found
    for name in names:
        if name.lower() in _GROUPS and layout.group is None:
            layout.group = name
            layout.reasons.append(f"{name}: rows with the same one are taken to belong together (data.group)")
            continue
        layout.columns[name] = of_cells(table.column(name), root)
    if not any(column.is_input for column in layout.columns.values()):
        _look_for_files(root, table, layout)
    layout.columns, why = with_row(layout.columns, table)
    layout.reasons += why
    declared = {name: column.declared for name, column in layout.columns.items() if column.declared}
    if declared:
        layout.format["columns"] = declared
    return layout


def _look_for_files(root: Path, table: pa.Table, layout: Layout) -> None:
    """Add columns of files whose names follow from one of the table's."""
    found = guess_paths(root, table)
    if found is None:
        return
    layout.format["paths"] = found.patterns
    if found.optional:
        layout.format["optional"] = found.optional
    layout.reasons.append(f"{found.key}: files are called after it, so it is taken for the name of the row")
    layout.columns.pop(found.key, None)
    if _id_column(table) is None:
        layout.format["id"] = found.key
    layout.columns = {**found.columns, **layout.columns}


def _delimiter(path: Path) -> str | None:
    """The delimiter of a CSV file where it is not the usual one: the most frequent in its first line."""
    if path.suffix.lower() != ".csv":
        return None
    with path.open("rb") as file:
        line = file.readline(65536)
    counts = {mark: line.count(mark.encode()) for mark in (",", ";", "\t", "|")}
    most = max(counts, key=lambda mark: counts[mark])
    return most if most != "," and counts[most] else None


def _id_column(table: pa.Table) -> str | None:
    for name in table.column_names:
        if name.lower() in ("id", "name", "sample", "sample_id", "uid", "key"):
            cells = table.column(name)
            if cells.null_count == 0 and len(cells.unique()) == len(cells):
                return str(name)
    return None


def _split_column(table: pa.Table) -> str | None:
    """A column all of whose values are names of splits."""
    for name in table.column_names:
        cells = table.column(name)
        if cells.null_count or not pa.types.is_string(cells.type):
            continue
        found = cells.unique().to_pylist() if len(cells.slice(0, 1000).unique()) <= 6 else []
        if found and all(usual_split(value) in SPLITS for value in found) and name.lower() != "id":
            return str(name)
    return None
