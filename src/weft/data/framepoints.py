"""Points or boxes of single frames: a table with a row for each of a frame, or a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.rasterfile import first_bytes
from weft.data.tablefile import read_table
from weft.data.timeline import Timeline
from weft.errors import DataFault
from weft.modalities.base import BadCell

#: Tables that are kept in memory.
_TABLES = 256

#: Of a point or box in a frame: the name of the column, and whether it can be seen.
_VISIBLE = "visible"


def points_of(
    source: Path | Sequence[Any] | np.ndarray, frames: Timeline, *, named_by: str, numbers: Sequence[str]
) -> list[Any]:
    """What is in each frame that is taken, as a cell of `location` says it: {name: numbers and visible}, or whatever
    stands in the list; None of a frame of which nothing is known.

    Args:
        source: a table (CSV or another that weft reads) with the columns `frame`, a number, `named_by` and `numbers`,
            and `visible`, 1 or 0, where not all can be seen; or what is in the frames 0, 1, 2, … one after another,
            with None where nobody looked.
        frames: that are taken.
        named_by: column of the names: point or box.
        numbers: columns of the numbers of one, such as x and y.

    Raises:
        BadCell: the table cannot be read, has other columns, or has a name twice in a frame.
    """
    if not isinstance(source, Path):
        return [source[number] if 0 <= number < len(source) else None for number in frames.numbers.tolist()]
    first_bytes(source)  # says what is wrong with one that is missing or empty
    status = source.stat()
    by_frame = _table(source, named_by, tuple(numbers), status.st_mtime_ns, status.st_size)
    return [by_frame.get(number) for number in frames.numbers.tolist()]


@lru_cache(maxsize=_TABLES)
def _table(
    path: Path, named_by: str, numbers: tuple[str, ...], date: int, num_bytes: int
) -> Mapping[int, Mapping[str, Sequence[float] | None]]:
    """{frame: {name: its numbers and visible, None where it cannot be seen}} of a table as it was at a date."""
    wanted = ("frame", named_by, *numbers)
    try:
        table = read_table(path)
        if not set(wanted) <= set(table.column_names):
            raise BadCell(
                "bad-table",
                f"{path} has the columns {', '.join(table.column_names)}; what is where in a frame is in "
                f"{', '.join(wanted)} and, where not all can be seen, {_VISIBLE}",
            )
        places = pc.cast(table.column("frame"), pa.int64()).to_pylist()
        names = pc.cast(table.column(named_by), pa.string()).to_pylist()
        columns = [pc.cast(table.column(name), pa.float64()).to_pylist() for name in numbers]
        seen = [1.0] * len(places)
        if _VISIBLE in table.column_names:
            seen = pc.cast(table.column(_VISIBLE), pa.float64()).fill_null(1.0).to_pylist()
    except (DataFault, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadCell("bad-table", f"{path} cannot be read as a table of frames: {error}") from error
    found: dict[int, dict[str, Sequence[float] | None]] = {}
    for number, name, visible, *entry in zip(places, names, seen, *columns, strict=True):
        if name in found.setdefault(number, {}):
            raise BadCell("several-points", f"{path} has {name!r} twice in the frame {number}; keep one")
        if visible and any(value is None for value in entry):
            raise BadCell(
                "no-place",
                f"{path} does not say where {name!r} is in the frame {number}; fill in "
                f"{' and '.join(numbers)}, or say 0 in {_VISIBLE}",
            )
        found[number][name] = [*entry, visible] if visible else None
    return found
