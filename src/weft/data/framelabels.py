"""Labels of single frames: a table with a row for each frame, or for each stretch of time, or a list."""

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
from weft.data.timeline import TOLERANCE, Timeline
from weft.errors import DataFault
from weft.modalities.base import BadCell

#: Tables that are kept in memory.
_TABLES = 256


def labels_of(source: Path | Sequence[Any] | np.ndarray, frames: Timeline) -> list[Any]:
    """The label of each frame that is taken; None where it has none.

    Args:
        source: a table (CSV or another that weft reads) with the columns `frame`, a number, and `label`; or `start`,
            `stop`, in seconds, and `label`, which holds from start until before stop; or the labels of the frames
            0, 1, 2, … one after another, with None where there is none.
        frames: that are taken.

    Raises:
        BadCell: the table cannot be read, has other columns, gives a frame two labels, or tells times where the clip
            knows none.
    """
    if not isinstance(source, Path):
        return [source[number] if 0 <= number < len(source) else None for number in frames.numbers.tolist()]
    first_bytes(source)  # says what is wrong with one that is missing or empty
    status = source.stat()
    by_number, spans = _table(source, status.st_mtime_ns, status.st_size)
    if not spans:
        return [by_number.get(number) for number in frames.numbers.tolist()]
    if not frames.in_seconds:
        raise BadCell(
            "no-rate",
            f"{source} tells times in seconds, and nothing says how many frames a second the clip holds; say it with "
            "the option `rate` of its modality, or label frames by number",
        )
    found = []
    for moment in (frames.times + TOLERANCE).tolist():
        inside = {label for start, stop, label in spans if start <= moment < stop}
        if len(inside) > 1:
            names = ", ".join(sorted(map(str, inside)))
            raise BadCell("several-labels", f"{source} gives the moment {moment:.3f} s several labels: {names}")
        found.append(next(iter(inside), None))
    return found


@lru_cache(maxsize=_TABLES)
def _table(path: Path, date: int, num_bytes: int) -> tuple[Mapping[int, Any], Sequence[tuple[float, float, Any]]]:
    """({frame: label}, [(start, stop, label)]) of a table as it was at a date; one of the two is empty."""
    try:
        table = read_table(path)
        if {"frame", "label"} <= set(table.column_names):
            numbers = pc.cast(table.column("frame"), pa.int64()).to_pylist()
            return _by_number(path, numbers, table.column("label").to_pylist()), ()
        if {"start", "stop", "label"} <= set(table.column_names):
            start, stop = (pc.cast(table.column(name), pa.float64()).to_pylist() for name in ("start", "stop"))
            labels = table.column("label").to_pylist()
            return {}, [row for row in zip(start, stop, labels, strict=True) if row[2] is not None]
    except (DataFault, pa.ArrowInvalid) as error:
        raise BadCell("bad-table", f"{path} cannot be read as a table of frames: {error}") from error
    raise BadCell(
        "bad-table",
        f"{path} has the columns {', '.join(table.column_names)}; labels of frames are in `frame` and `label`, or in "
        "`start`, `stop` (seconds) and `label`",
    )


def _by_number(path: Path, numbers: Sequence[int], labels: Sequence[Any]) -> dict[int, Any]:
    known: dict[int, Any] = {}
    for number, label in zip(numbers, labels, strict=True):
        if known.setdefault(number, label) != label:
            raise BadCell(
                "several-labels", f"{path} gives the frame {number} the labels {known[number]} and {label}; keep one"
            )
    return {number: label for number, label in known.items() if label is not None}
