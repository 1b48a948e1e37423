"""How boxes are written in a cell: lists of entries or mappings of lists, in three forms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from weft.boxes import COUNTED, CROWD, DIFFICULT
from weft.modalities.base import BadCell
from weft.tasks.cells import class_name, from_json

#: What the four numbers of a box are: two corners; a corner, width and height; the centre, width and height.
BoxForm = Literal["xyxy", "xywh", "cxcywh"]

_ENTRY = "[x1, y1, x2, y2, class]"
#: What may stand beside `boxes` and `classes` in a mapping of lists.
_BESIDE = ("difficult", "crowd", "area")


@dataclass(frozen=True)
class Entry:
    """One box of a cell.

    Attributes:
        corners: x1, y1, x2, y2 in the units of the cell.
        name: its class as it is given, None where it is left out.
        ignored: whether it counts, as `weft.boxes` has it.
        area: of the object in pixels; -1 where it is not given.
        given: as it stands in the cell, for messages.
    """

    corners: tuple[float, float, float, float]
    name: str | None
    ignored: int
    area: float
    given: str


def entries_of(cell: Any, form: BoxForm) -> list[Entry]:
    """The boxes of a cell.

    Args:
        cell: JSON, a list of entries, a mapping of lists, or an array (n, 5).
        form: what the four numbers are.

    Raises:
        BadCell: it is none of them, or holds a box without an area or with numbers that are none.
    """
    cell = from_json(cell, "box-format", wanted=f"[{_ENTRY}, …]")
    if isinstance(cell, Mapping):
        cell = _turned(cell)
    if not isinstance(cell, Sequence | np.ndarray):
        raise BadCell("box-format", f"{cell!r} is no list of boxes; write [{_ENTRY}, …], and [] where nothing is")
    return [_entry(one, form) for one in cell]


def _turned(lists: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A mapping of lists as a list of mappings."""
    if "boxes" not in lists or any(name not in ("boxes", "classes", *_BESIDE) for name in lists):
        raise BadCell(
            "box-format",
            f"a mapping of {', '.join(map(str, lists)) or 'nothing'} is no list of boxes; write {{boxes: [[…], …], "
            f"classes: [name, …]}}, and {', '.join(_BESIDE)} where they are known",
        )
    given = {name: list(values) for name, values in lists.items() if values is not None}
    boxes = given.pop("boxes")
    wrong = {name: len(values) for name, values in given.items() if len(values) != len(boxes)}
    if wrong:
        name, number = next(iter(wrong.items()))
        raise BadCell("box-format", f"{len(boxes)} boxes and {number} {name}; give one for each box")
    names = {"classes": "class"}
    return [
        {"box": box, **{names.get(name, name): values[place] for name, values in given.items()}}
        for place, box in enumerate(boxes)
    ]


def _entry(entry: Any, form: BoxForm) -> Entry:
    """One box, in whichever way it is written."""
    name, ignored, area = None, COUNTED, -1.0
    numbers = entry
    if isinstance(entry, Mapping):
        numbers, name = entry.get("box"), entry.get("class", entry.get("label"))
        ignored = CROWD if entry.get("crowd") else DIFFICULT if entry.get("difficult") else COUNTED
        area = _area(entry.get("area"), entry)
    elif isinstance(entry, Sequence | np.ndarray) and not isinstance(entry, str) and len(entry) == 5:
        numbers, name = entry[:4], entry[4]
    corners = _corners(numbers, form, str(entry if isinstance(entry, Mapping) else list(entry))[:80])
    return Entry(corners, None if name is None else class_name(name), ignored, area, str(list(numbers)))


def _corners(numbers: Any, form: BoxForm, shown: str) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of four numbers.

    Raises:
        BadCell: they are not four finite numbers, or such a box has no area.
    """
    try:
        first, second, third, fourth = (float(number) for number in numbers)
    except (TypeError, ValueError) as error:
        raise BadCell("box-format", f"{shown} is no box; write {_ENTRY} with four numbers") from error
    if not all(map(math.isfinite, (first, second, third, fourth))):
        raise BadCell("box-format", f"box {shown} has coordinates that are not finite; mend or leave it out")
    if form == "xyxy":
        left, top, right, bottom = first, second, third, fourth
    elif form == "xywh":
        left, top, right, bottom = first, second, first + third, second + fourth
    else:
        left, top, right, bottom = first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2
    if right <= left or bottom <= top:
        others = " or ".join(other for other in ("xyxy", "xywh", "cxcywh") if other != form)
        raise BadCell(
            "box-reversed",
            f"box {shown} has no area as {form}: x1 < x2 and y1 < y2 are wanted; say `boxes: {others}` if its numbers "
            "are those, else mend it or leave it out",
        )
    return left, top, right, bottom


def _area(area: Any, entry: Any) -> float:
    if area is None:
        return -1.0
    if isinstance(area, bool) or not isinstance(area, int | float) or not math.isfinite(area) or area < 0:
        raise BadCell("box-format", f"{entry} has the area {area!r}; it is a number of pixels")
    return float(area)
