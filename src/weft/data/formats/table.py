"""A table of one's own: one row a sample, columns for inputs and targets, in CSV, JSON lines, Parquet or Arrow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.declared import Declared, describe
from weft.data.listing import folder
from weft.data.manifest import IDS_CHECKED, Column, Manifest, usual_split
from weft.data.pathcolumns import made_paths, without_missing
from weft.data.tablefile import keep, read_table
from weft.errors import DataFault
from weft.registry import register

_COLUMNS = b"weft.columns"
_NOTES = b"weft.notes"


@register("format", "table")
class Table:
    """One row a sample. A cell is a path (below `root`), a class, several of them (`a|b`, or a list), points, a number.

    An empty cell is an absent input or a missing label. In CSV every cell is text until its column is declared.

    A clip is a video file or a folder of frames, or a part of one: `a.mp4#t=2,5` is the seconds from 2 until before 5,
    `frames/a#frames=0:16:2` every second frame of those numbered from 0 until before 16. In Parquet and JSON lines it
    may be a list of the files of its frames.

    Files whose names follow from other columns need no column of their own: `paths` makes one, with each `{column}`
    replaced by what the row has there.

    Example:
        data:
          {format: table, root: my_data, file: samples.csv, columns: {depth: {kind: depth, metres_per_unit: 0.001}}}
        data:
          {format: table, root: houses, file: houses.csv, id: house, paths: {kitchen: "images/{house}_kitchen.jpg"}}

    Args:
        root: folder that the paths in the cells start from.
        file: the table, from `root` on, or one for each split: {train: a.csv, test: b.csv}.
        id: column with the samples' names; where it is missing, rows are numbered.
        split: column with train, val or test; where it is missing, every row is train.
        delimiter: between the cells of CSV; by default a comma, in .tsv a tab.
        encoding: of CSV files, such as utf-8 or gb18030.
        null_values: texts that stand for an empty cell.
        columns: what is known about columns whose cells do not tell it themselves.
        paths: further columns, of files, by a pattern with the names of others in it; where a row lacks one of those,
            the cell is empty.
        optional: columns of files that need not be there, below `root`: the cell is then empty. In other columns a
            file that is not there is a fault.
    """

    def __init__(
        self,
        *,
        root: str,
        file: str | dict[str, str],
        id: str = "id",
        split: str = "split",
        delimiter: str | None = None,
        encoding: str = "utf-8",
        null_values: tuple[str, ...] = ("",),
        columns: dict[str, Declared] | None = None,
        paths: dict[str, str] | None = None,
        optional: tuple[str, ...] = (),
    ) -> None:
        self.root = root
        self.files = dict(file) if isinstance(file, Mapping) else {"": file}
        self.id = id
        self.split = split
        self.delimiter = delimiter
        self.encoding = encoding
        self.null_values = tuple(null_values)
        self.columns = {name: Declared.of(column) for name, column in (columns or {}).items()}
        self.paths = dict(paths or {})
        self.optional = tuple(optional)

    def manifest(self) -> Manifest:
        """All rows of all files.

        Raises:
            DataFault: a table is missing or damaged, a named column is not there, or an id is there twice.
        """
        root = folder(self.root)
        key = [self.id, self.split, self.delimiter, self.encoding, self.null_values, list(self.files), self.paths]
        declared = {name: asdict(column) for name, column in self.columns.items()}
        sources = [root / file for file in self.files.values()]
        table, notes = keep([*key, declared], sources, lambda: self._table(root))
        metadata = table.schema.metadata or {}
        columns = {name: Column(**known) for name, known in json.loads(metadata[_COLUMNS]).items()}
        clip = next((name for name, column in columns.items() if column.kind == "video"), None)
        manifest = Manifest(table, root, columns, notes=(*json.loads(metadata[_NOTES]), *notes), clip=clip)
        for column in self.optional:  # looked for each time: a table that is kept would not know of new files
            manifest = without_missing(manifest, column)
        return manifest

    def _table(self, root: Path) -> pa.Table:
        """The whole as a manifest's table; what else is known of it stands in its metadata, to be kept with it."""
        notes: list[str] = []
        parts = [self._part(root / file, split, notes) for split, file in self.files.items()]
        table = pa.concat_tables(parts, promote_options="permissive") if len(parts) > 1 else parts[0]
        table, columns = describe(table, self.columns, source=", ".join(self.files.values()))
        known = {name: {"kind": column.kind, "facts": dict(column.facts)} for name, column in columns.items()}
        plain = table.replace_schema_metadata({_COLUMNS: json.dumps(known), _NOTES: json.dumps(notes)})
        checked = Manifest(plain, root).table  # refused here, so that no table with a fault is kept
        return checked.replace_schema_metadata({**checked.schema.metadata, IDS_CHECKED: b"1"})

    def _part(self, path: Path, split: str, notes: list[str]) -> pa.Table:
        """One file's rows with the columns `id` and `split`."""
        table = read_table(path, delimiter=self.delimiter, encoding=self.encoding, null_values=self.null_values)
        if len(table.column_names) == 1 and self.delimiter is None and ";" in table.column_names[0]:
            raise DataFault(
                f"{path} has one column, {table.column_names[0]!r}; is its delimiter ';'? Say `delimiter: \";\"`",
                code="no-column",
            )
        ids = self._ids(table, path, f"{split}-" if split else "", notes)
        splits = self._splits(table, path, split, notes)
        rest = table.select([name for name in table.column_names if name not in ("id", "split")])
        made = {name: made_paths(table, pattern, path.name) for name, pattern in self.paths.items()}
        for name in made:
            if name in ("id", "split", *rest.column_names):
                raise DataFault(f"`paths` makes {name!r}, which {path.name} has; choose another name", code="no-column")
        return pa.table([ids, splits, *rest.columns, *made.values()], names=["id", "split", *rest.column_names, *made])

    def _ids(self, table: pa.Table, path: Path, prefix: str, notes: list[str]) -> pa.ChunkedArray | pa.Array:
        if self.id in table.column_names:
            ids = pc.cast(table.column(self.id), pa.string())
            if ids.null_count:
                raise DataFault(f"{path}: {_rows(ids.is_null())} has no {self.id!r}; fill it in", code="no-id")
            return ids
        if self.id != "id":
            raise DataFault(
                f"{path} has no column {self.id!r} for the ids; it has {', '.join(table.column_names)}",
                code="no-column",
            )
        notes.append(f"{path.name} has no column 'id': its rows are numbered from 1")
        numbers = pc.cast(pa.array(np.arange(1, table.num_rows + 1)), pa.string())
        width = len(str(table.num_rows))
        return pc.binary_join_element_wise(prefix, pc.utf8_lpad(numbers, width, "0"), "")

    def _splits(self, table: pa.Table, path: Path, split: str, notes: list[str]) -> pa.ChunkedArray | pa.Array:
        if split:
            return pa.repeat(pa.scalar(split), table.num_rows)
        if self.split not in table.column_names:
            if self.split != "split":
                raise DataFault(
                    f"{path} has no column {self.split!r} for the splits; it has {', '.join(table.column_names)}",
                    code="no-column",
                )
            notes.append(f"{path.name} has no column 'split': every row is train")
            return pa.repeat(pa.scalar("train"), table.num_rows)
        given = pc.cast(table.column(self.split), pa.string())
        if given.null_count:
            raise DataFault(f"{path}: {_rows(given.is_null())} has no {self.split!r}; fill it in", code="no-split")
        encoded = pc.dictionary_encode(
            pa.concat_arrays(given.chunks) if given.num_chunks else pa.array([], pa.string())
        )
        names = encoded.dictionary.to_pylist()
        meant = [usual_split(name) for name in names]
        notes += [
            f"the split {name!r} is taken as {new}" for name, new in zip(names, meant, strict=True) if name != new
        ]
        return pa.array(meant, pa.string()).take(encoded.indices)


def _rows(where: pa.ChunkedArray) -> str:
    """The first of some rows, and how many there are."""
    places = np.flatnonzero(np.asarray(where))
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return f"row {places[0] + 1}{more}"
