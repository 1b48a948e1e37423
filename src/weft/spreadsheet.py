"""Cells of tables that people open in a spreadsheet."""

from __future__ import annotations

import math

#: A spreadsheet takes a text that begins so for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

Cell = str | float | int | bool


def quoted(cell: Cell) -> str:
    """A cell as text: a number in full, NaN as nothing, and a text that would be a formula behind an apostrophe.

    A text that is a number, such as `-1.50`, stays as it is.

    Example:
        >>> quoted("=HYPERLINK(1)"), quoted("-1.50"), quoted(-0.5)
        ("'=HYPERLINK(1)", '-1.50', '-0.5')
    """
    if isinstance(cell, str):
        return "'" + cell if cell.startswith(FORMULA_STARTS) and not _is_number(cell) else cell
    if isinstance(cell, float) and math.isnan(cell):
        return ""
    return str(cell)


def _is_number(text: str) -> bool:
    """Whether a text is a finite number and nothing else: no space or tab around it."""
    try:
        return text == text.strip() and math.isfinite(float(text))
    except ValueError:
        return False
