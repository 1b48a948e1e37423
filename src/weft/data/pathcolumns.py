"""Columns of files that a table does not have itself, made by a pattern from others; and files that may be missing."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.manifest import Manifest
from weft.errors import DataFault, did_you_mean
from weft.modalities.base import BadCell

#: A column's name in a pattern.
_PLACE = re.compile(r"\{([^{}]*)\}")


def made_paths(table: pa.Table, pattern: str, source: str) -> pa.ChunkedArray | pa.Array:
    """A path for each row: the pattern with every `{column}` replaced; null where one of the columns is.

    Args:
        table: has the columns.
        pattern: such as "images/{house}_kitchen.jpg".
        source: name of the table, for messages.

    Raises:
        DataFault: no column is in the pattern, or one that the table does not have.
    """
    words = _PLACE.split(pattern)  # text, column, text, column, …, text
    names = words[1::2]
    if not names or any(mark in word for word in words[::2] for mark in "{}"):
        raise DataFault(
            f"the pattern {pattern!r} in `paths` has no column in it, or a brace too many; write images/{{column}}.jpg",
            code="bad-pattern",
        )
    for name in names:
        if name not in table.column_names:
            hint = did_you_mean(name, table.column_names)
            raise DataFault(
                f"the pattern {pattern!r} in `paths` names the column {name!r}, which {source} does not have; it has "
                f"{', '.join(table.column_names)}{hint}",
                code="no-column",
            )
    cells = [pc.cast(table.column(name), pa.string()) for name in names]
    parts = [word for pair in zip(words[::2], [*cells, None], strict=True) for word in pair][:-1]
    return pc.binary_join_element_wise(*parts, "")


def without_missing(manifest: Manifest, column: str) -> Manifest:
    """The same, with an empty cell wherever a column names a file that is not there.

    Raises:
        DataFault: there is no such column.
    """
    cells = manifest.values(column).to_pylist()
    there = np.array([cell is None or _exists(manifest, cell) for cell in cells], bool)
    kept = pc.if_else(pa.array(there), manifest.values(column), None)
    gone = int((~there).sum())
    note = [f"column {column!r}: {gone} of {len(cells)} samples have no file"] if gone else []
    place = manifest.table.schema.get_field_index(column)
    return replace(manifest, table=manifest.table.set_column(place, column, kept)).with_notes(*note)


def _exists(manifest: Manifest, cell: str) -> bool:
    try:
        path = manifest.resolve(cell)
    except BadCell:  # a path that leads elsewhere is a fault, not a file that is not there
        return True
    return isinstance(path, np.ndarray) or path.exists()
