"""Cells of built-in data sets: tables of them, and the names by which what is rendered is asked for."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

import pyarrow as pa


def table_of(
    row: Callable[[str, int], Mapping[str, Any]],
    num_samples: Mapping[str, int],
    columns: Iterable[str],
    types: Mapping[str, pa.DataType],
) -> pa.Table:
    """All samples of all splits.

    Args:
        row: {column: cell} of a split's sample by its number, with `id` and `split`.
        num_samples: of each split.
        columns: besides these two.
        types: of the columns that are not text.
    """
    cells: dict[str, list[Any]] = {name: [] for name in ("id", "split", *columns)}
    for split, number in num_samples.items():
        for index in range(number):
            for name, cell in row(split, index).items():
                cells[name].append(cell)
    return pa.table({name: pa.array(column, types.get(name, pa.string())) for name, column in cells.items()})


def place_of(cell: str, start: str, columns: Container[str]) -> tuple[str, int, str] | None:
    """(split, number, column) of a cell such as "scenes:train/17/image"; None where it is none.

    Args:
        cell: in the manifest.
        start: what it begins with, such as "scenes:".
        columns: that are rendered.
    """
    split, index, name = [*cell.removeprefix(start).split("/"), "", ""][:3]
    if not cell.startswith(start) or name not in columns or not index.isdigit():
        return None
    return split, int(index), name
