"""The target of detection: any number of boxes, each with a class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.boxes import AREA, CLASS, COUNTED, CROWD, IGNORED, NUM_COLUMNS, NUM_CORNERS, PADDING
from weft.data.decode import read_label
from weft.data.listing import RASTERS
from weft.errors import DataFault
from weft.modalities.base import BadCell, Facts, Field, Geometry, Resolve
from weft.registry import Range
from weft.tasks.box_cells import BoxForm, Entry, entries_of
from weft.tasks.class_label import unknown_class, written

#: Share of a box that must lie in its image: of less, its numbers are of another form or another image.
_INSIDE = 0.5
#: Fractions may leave [0, 1] by this much: they were rounded.
_ROUNDING = 0.01


class Boxes(Field):
    """Boxes of objects, any number of them, with their classes. An empty list says that nothing is there; an empty cell
    that nobody looked.

    A cell is a list of entries, or JSON of one: `[x1, y1, x2, y2, class]`, or {box: four numbers, class: name}; or a
    mapping of lists, {boxes: [[…], …], classes: [name, …]}, with `difficult` or `crowd` (true and false) and `area` (in
    pixels) where they are known. The class is a name, or its place in the table; it may be left out where there is one
    only. What is difficult or a crowd counts neither for nor against. A cell may also be a file: a map of instances,
    where 0 is nothing and every other value is an object; then there is one class.

    Where a sample is cropped or turned, a box becomes the box around its corners and is cut off at the border. What is
    left of a box that then shows less than `visible` of itself is ignored, and one of which nothing is left is dropped.

    Among several data sets, a class that a sample's set did not annotate is a crowd over the whole of its image: what
    is found there is neither right nor wrong.

    Args:
        classes: names of the classes, in the order of their numbers; by default those that the data format declares,
            else those found in the training split, sorted.
        boxes: what the four numbers are: two corners, a corner with width and height, or the centre with them; by
            default what the data format declares, else xyxy.
        units: pixels of the sample's own image, or fractions of its width and height; by default what the data format
            declares, else pixels.
        visible: share of a box that must be left in the picture for it to count.

    Attributes:
        classes: the table; empty until it is known.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        classes: list[str] | None = None,
        boxes: BoxForm | None = None,
        units: Literal["pixels", "fractions"] | None = None,
        visible: Annotated[float, Range(0, 1)] = 0.25,
    ) -> None:
        self.geometry = Geometry("boxes", fill=PADDING, visible=visible)
        self._masks = bool(facts.get("instances", False))
        table = facts.get("classes", ["object"] if self._masks else ()) if classes is None else classes
        self.classes = tuple(str(name) for name in table)
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"class {twice!r} is named twice; every class needs its own name")
        if self._masks and len(self.classes) > 1:
            raise ValueError(
                f"a map of instances does not say which of the classes {', '.join(self.classes)} they are; name one in "
                "`classes`, or give boxes with their classes"
            )
        self.facts = {**facts, "classes": list(self.classes)} if self.classes else dict(facts)
        self._form: BoxForm = facts.get("boxes", "xyxy") if boxes is None else boxes
        self._fractions = (facts.get("units", "pixels") if units is None else units) == "fractions"
        self._border = facts.get("ignore", 0)
        self._join = facts.get("join")
        if self._join is not None and len(self._join) != len(self.classes):
            raise ValueError(f"there are {len(self.classes)} classes, and the set has {len(self._join)}")
        annotated = facts.get("annotated", ())
        self._unknown = [number for number, name in enumerate(facts.get("joined", ())) if name not in annotated]
        self._numbers = {name: number for number, name in enumerate(self.classes)}
        # names that are numbers are looked up as they are; only words can be meant by their place
        self._by_place = not any(name.isdecimal() for name in self.classes)

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(n, 7) float32 corners x1, y1, x2, y2 as they are given, class number, ignored and area; area is -1 where it
        is that of the box. While the classes are not known: their names.

        Raises:
            BadCell: no list of boxes, a class that is not in the table, or a box that is none.
        """
        found: Any = cell
        if isinstance(cell, str) and not cell.lstrip().startswith(("[", "{")):
            found = resolve(cell)
            if isinstance(found, Path) and found.suffix.lower() not in RASTERS:
                raise BadCell(
                    "box-format",
                    f"{cell[:60]!r} is neither a list of boxes, [[x1, y1, x2, y2, class], …], nor the file of a map of "
                    f"instances ({', '.join(RASTERS)})",
                )
        if isinstance(found, Path) or (isinstance(found, np.ndarray) and found.dtype.kind in "ui"):
            return self._of_all_sets(self._of_instances(read_label(found)))
        entries = entries_of(found, self._form)
        if not self.classes:
            return np.array([self._named(entry) for entry in entries], np.str_)
        if not self._fractions and _seem_fractions(entries):
            raise BadCell(
                "box-units", f"the boxes, such as {entries[0].given}, seem to be fractions: say `units: fractions`"
            )
        rows = [(*entry.corners, self._number(entry), entry.ignored, entry.area) for entry in entries]
        return self._of_all_sets(np.array(rows, np.float32).reshape(-1, NUM_COLUMNS))

    def placed(self, value: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """(n, 7) in pixels with every area known, of boxes beside images of `size` (H, W).

        Raises:
            BadCell: a box that lies outside its image by half or more.
        """
        if value.dtype.kind == "U":
            return value
        whole = (0, 0, size[1], size[0])
        rows = [(*whole, number, CROWD, size[0] * size[1]) for number in self._unknown]
        unknown = np.array(rows, np.float32).reshape(-1, NUM_COLUMNS)
        return np.concatenate([self._in_pixels(value, size), unknown]) if len(value) else unknown

    def _in_pixels(self, value: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """(n, 7) of at least one box, in pixels and with its area."""
        extent = np.array([size[1], size[0]] * 2, np.float32)
        corners = value[:, :NUM_CORNERS]
        if self._fractions:
            if corners.max() > 1 + _ROUNDING or corners.min() < -_ROUNDING:
                worst = value[int(np.abs(corners - 0.5).max(1).argmax()), :NUM_CORNERS]
                raise BadCell(
                    "box-units", f"box {_shown(worst)} is not in fractions from 0 to 1: say `units: pixels` or mend it"
                )
            corners = corners * extent
        whole = _areas(corners)
        inside = _areas(corners.clip(0, extent))
        far = inside < _INSIDE * whole
        if far.any():
            raise BadCell(
                "box-outside",
                f"{int(far.sum())} of {len(value)} boxes lie outside their image of {size[1]}x{size[0]} by half or "
                f"more, the first {_shown(corners[far][0])} as xyxy in pixels; say how they are written with "
                f"`boxes` (now {self._form}) and `units`, or mend the cell",
            )
        area = np.where(value[:, AREA] < 0, whole, value[:, AREA])
        return np.column_stack([corners, value[:, CLASS:AREA], area]).astype(np.float32)

    @property
    def decodes(self) -> bool:
        """Where the cells are files with instances."""
        return self._masks

    def remarks(self, cell: Any, resolve: Resolve) -> list[str]:
        """Whether nothing is there, and what is ignored."""
        rows = self.read(cell, resolve)
        if not len(rows):
            return ["no object in it"]
        ignored = rows.dtype.kind == "f" and bool((rows[:, IGNORED] > 0).any())
        return ["with boxes that are ignored"] if ignored else []

    @property
    def wants_fit(self) -> bool:
        """Whether the classes are still to be found."""
        return not self.classes

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """The classes that occur, sorted by number where all are numbers, else by name."""
        found = {str(name) for names in values for name in names}
        if not found:
            raise DataFault(
                "no training sample has a box, so the classes are not known; name them in `classes`", code="no-classes"
            )
        return {"classes": sorted(found, key=int) if all(map(str.isdecimal, found)) else sorted(found)}

    def class_counts(self, value: np.ndarray) -> np.ndarray:
        """(K,) boxes of each class."""
        return np.bincount(value[:, CLASS].astype(np.int64), minlength=len(self.classes))

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(n, 7) float32; a batch fills up with rows of -1 to the most that any of its samples has."""
        return torch.from_numpy(np.ascontiguousarray(value, np.float32))

    def draw(self, value: np.ndarray) -> Image.Image:
        """How many of each class, written."""
        counts = np.bincount(value[:, CLASS].astype(np.int64), minlength=len(self.classes))
        return written(", ".join(f"{n} {name}" for n, name in zip(counts, self.classes, strict=True) if n) or "none")

    def _named(self, entry: Entry) -> str:
        """The class of an entry while there is no table."""
        if entry.name is None:
            raise BadCell(
                "box-class", f"box {entry.given} has no class; write [x1, y1, x2, y2, class], or name one in `classes`"
            )
        return entry.name

    def _number(self, entry: Entry) -> int:
        if entry.name is None and len(self.classes) == 1:
            return 0
        name = self._named(entry)
        if name in self._numbers:
            return self._numbers[name]
        if self._by_place and name.isdecimal() and int(name) < len(self.classes):
            return int(name)
        raise unknown_class(name, self.classes)

    def _of_all_sets(self, rows: np.ndarray) -> np.ndarray:
        """(m, 7) with the class numbers of all data sets, without what has none, from (n, 7) with those of one set."""
        if self._join is None:
            return rows
        numbers = np.array(self._join, np.float32)[rows[:, CLASS].astype(np.int64)]
        rows = np.column_stack([rows[:, :CLASS], numbers, rows[:, CLASS + 1 :]])
        return rows[numbers >= 0]

    def _of_instances(self, instances: np.ndarray) -> np.ndarray:
        """(n, 7) the boxes around the pixels of every value but 0, in the order of the values."""
        if len(self.classes) != 1:
            raise BadCell(
                "box-class",
                "a file is read as a map of instances, 0 for nothing and a value for each object, which are all of one "
                "class: name it in `classes`; where boxes are meant, write [[x1, y1, x2, y2, class], …] in the cell",
            )
        rows = []
        for number in np.unique(instances):
            if number and number != self._border:
                pixels = instances == number
                columns, lines = np.flatnonzero(pixels.any(0)), np.flatnonzero(pixels.any(1))
                corners = (columns[0], lines[0], columns[-1] + 1, lines[-1] + 1)
                scale = (instances.shape[1], instances.shape[0]) * 2 if self._fractions else (1, 1) * 2
                place = [float(corner) / side for corner, side in zip(corners, scale, strict=True)]
                rows.append((*place, 0, COUNTED, int(pixels.sum())))
        return np.array(rows, np.float32).reshape(-1, NUM_COLUMNS)


def _seem_fractions(entries: Sequence[Entry]) -> bool:
    """Whether all numbers are at most 1, and some less than a pixel."""
    numbers = [number for entry in entries for number in entry.corners]
    return max(numbers, default=2) <= 1 and any(0 < number < 1 for number in numbers)


def _areas(corners: np.ndarray) -> np.ndarray:
    """(n,) of (n, 4)."""
    area: np.ndarray = (corners[:, 2:] - corners[:, :2]).clip(min=0).prod(1)
    return area


def _shown(corners: np.ndarray) -> str:
    return "[" + ", ".join(f"{number:g}" for number in corners) + "]"
