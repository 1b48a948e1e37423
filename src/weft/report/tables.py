"""Tables outside the page: CSV that a spreadsheet can open without harm, and plain text for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from weft.report.render import write_whole
from weft.spreadsheet import Cell, quoted

__all__ = ["Cell", "text_table", "write_csv"]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Path:
    """Write a table; texts that begin like a formula are quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([quoted(cell) for cell in header])
    writer.writerows([[quoted(cell) for cell in row] for row in rows])
    return write_whole(path, text.getvalue())


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_left: int) -> str:
    """Columns in line: the first `num_left` to the left, the others to the right."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column < num_left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(table[0]), "  ".join("─" * width for width in widths), *(line(row) for row in table[1:])])
