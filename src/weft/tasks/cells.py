"""What stands in the cells of several kinds of targets: names of classes, and JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from weft.modalities.base import BadCell


def class_name(value: Any) -> str:
    """A class as text: 3, 3.0 and "3" are the same.

    Raises:
        BadCell: a number that is not whole.
    """
    if isinstance(value, float | np.floating):
        if not np.isfinite(value) or value != round(value):
            raise BadCell("class-unknown", f"{value} is no class; classes are names or whole numbers")
        return str(int(value))
    return str(value).strip()


def from_json(cell: Any, code: str, *, wanted: str) -> Any:
    """What a cell of text says as JSON; any other cell as it is.

    Args:
        cell: of a table.
        code: of the fault.
        wanted: how it could be written, for the message.

    Raises:
        BadCell: it is text, and not JSON.
    """
    if not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except json.JSONDecodeError as error:
        raise BadCell(code, f"{cell[:60]!r} is not JSON ({error.msg}); write {wanted}") from error
