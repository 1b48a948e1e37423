"""The target of location: named points or boxes, each with a flag for whether it can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.modalities.base import BadCell, Facts, Field, Geometry, Resolve
from weft.tasks.cells import from_json
from weft.tasks.class_label import written

#: A box travels through the geometry as its four corners and its centre, so that any turn leaves a box around them.
_PLACES_OF_BOX = 5


class Points(Field):
    """Points (x, y) or boxes in pixels of the sample's image, from its top left corner.

    A cell is a list in the order of the names, or {name: entry}, as JSON where it is text. An entry of a point is
    `[x, y]` or `[x, y, visible]`, of a box four numbers or those and visible; null, or a name that is not there: not
    visible. An empty cell is another thing: nobody looked.

    Args:
        points: the names; by default those the data format declares, else those found in the training split.
        kind: points, or boxes.
        box: what the four numbers of a box are: two corners, or a corner, width and height.

    Attributes:
        names: of the points or boxes; empty until they are known.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        points: list[str] | None = None,
        kind: Literal["points", "boxes"] = "points",
        box: Literal["xyxy", "xywh"] = "xyxy",
    ) -> None:
        self.geometry = Geometry("points")
        self.names = tuple(str(name) for name in (facts.get("points", ()) if points is None else points))
        self.facts = {**facts, "points": list(self.names)} if self.names else dict(facts)
        self.boxes = kind == "boxes"
        self._corner_and_size = box == "xywh"

    @property
    def num_points(self) -> int:
        """Points per sample in tensors: two per box."""
        return len(self.names) * (2 if self.boxes else 1)

    @property
    def num_rows(self) -> int:
        """Rows of what `read` gives: five per box."""
        return len(self.names) * (_PLACES_OF_BOX if self.boxes else 1)

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(n, 3) x, y, visible: a row per point, five per box (corners and centre); the names while they are unknown.

        Raises:
            BadCell: not a list or mapping of entries, a name that is not known, or a box that is none.
        """
        entries = self._entries(cell)
        if not self.names:
            return np.array(list(entries), np.str_)
        unknown = [name for name in entries if name not in self.names]
        if unknown:
            raise BadCell("point-unknown", f"{unknown[0]!r} is not among the names ({', '.join(self.names)})")
        places = _PLACES_OF_BOX if self.boxes else 1
        rows = np.zeros((self.num_rows, 3), np.float32)
        for number, name in enumerate(self.names):
            entry = entries.get(name)
            if entry is not None:
                read = self._box(name, entry) if self.boxes else _point(name, entry)
                rows[number * places : (number + 1) * places] = read
        return rows

    @property
    def wants_fit(self) -> bool:
        """Whether the names are still to be found."""
        return not self.names

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """The names that occur, in order of appearance."""
        found: dict[str, None] = {}
        for names in values:
            found.update(dict.fromkeys(str(name) for name in names))
        return {"points": list(found)}

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(..., n, 3) float32 x, y, visible; of a box its smallest corner and its largest, whatever turned it.

        Args:
            value: (..., n, 3) as `read` gives it, with five rows to a box.
        """
        value = value.astype(np.float32)
        if self.boxes:
            boxes = value.reshape(*value.shape[:-2], len(self.names), _PLACES_OF_BOX, 3)
            visible = boxes[..., 2:].max(-2)
            corners = [np.concatenate([end, visible], -1) for end in (boxes[..., :2].min(-2), boxes[..., :2].max(-2))]
            value = np.stack(corners, -2).reshape(*value.shape[:-2], self.num_points, 3)
        return torch.from_numpy(np.where(value[..., 2:] > 0, value, 0))

    def draw(self, value: np.ndarray) -> Image.Image:
        """The coordinates, written."""
        rows = self.to_tensor(value).numpy()
        seen = [f"({x:.0f}, {y:.0f})" for x, y, visible in rows if visible]
        return written(" ".join(seen) or "none")

    def _entries(self, cell: Any) -> dict[str, Any]:
        cell = from_json(cell, "points-format", wanted="[[x, y], …]")
        if isinstance(cell, Mapping):
            return {str(name): entry for name, entry in cell.items()}
        if not isinstance(cell, Sequence | np.ndarray):
            raise BadCell("points-format", f"{cell!r} is neither a list of entries nor a mapping of names to entries")
        entries = list(cell)
        if entries and not any(entry is None or isinstance(entry, Sequence | np.ndarray) for entry in entries):
            entries = [entries]  # a single entry, not in a list of its own
        names = self.names or tuple(str(number) for number in range(len(entries)))
        if len(entries) != len(names):
            raise BadCell(
                "points-format", f"{len(entries)} entries and {len(names)} names; give null for what is not seen"
            )
        return dict(zip(names, entries, strict=True))

    def _box(self, name: str, entry: Any) -> np.ndarray:
        """(5, 3) of the numbers of one box."""
        left, top, right, bottom, visible = _numbers(name, entry, 4)
        if not visible:
            return np.zeros((_PLACES_OF_BOX, 3), np.float32)
        if self._corner_and_size:
            right, bottom = left + right, top + bottom
        form = "xywh" if self._corner_and_size else "xyxy"
        if right <= left or bottom <= top:
            raise BadCell(
                "box-reversed", f"box {name!r} {list(entry)} has no area as {form}; say `box` or mend the cell"
            )
        if max(right, bottom) <= 1:
            raise BadCell("box-format", f"box {name!r} {list(entry)} seems to be in fractions; boxes are in pixels")
        if right <= 0 or bottom <= 0:
            raise BadCell("box-outside", f"box {name!r} {list(entry)} lies outside the image")
        middle = ((left + right) / 2, (top + bottom) / 2)
        places = [(left, top), (right, top), (right, bottom), (left, bottom), middle]
        return np.array([(x, y, visible) for x, y in places], np.float32)


def _point(name: str, entry: Any) -> np.ndarray:
    """(3,) x, y, visible."""
    return np.array(_numbers(name, entry, 2), np.float32)


def _numbers(name: str, entry: Any, num_coordinates: int) -> list[float]:
    """The coordinates of an entry, then 1 or 0 for visible."""
    try:
        numbers = [float(number) for number in entry]
    except (TypeError, ValueError) as error:
        raise BadCell("points-format", f"{name!r} is {entry!r}, which is not a list of numbers") from error
    if len(numbers) == num_coordinates:
        numbers.append(1.0)
    if len(numbers) != num_coordinates + 1:
        raise BadCell("points-format", f"{name!r} has {len(numbers)} numbers; {num_coordinates} are read, and visible")
    if numbers[-1] not in (0.0, 1.0):
        raise BadCell("points-format", f"{name!r} has {numbers[-1]} for visible; 0 and 1 are allowed")
    if numbers[-1] and not np.isfinite(numbers).all():
        raise BadCell("points-format", f"{name!r} has coordinates that are not finite: {numbers[:-1]}")
    return numbers if numbers[-1] else [0.0] * (num_coordinates + 1)
