"""What a user declares about columns, and the tables of classes that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weft.data.manifest import Column
from weft.errors import DataFault
from weft.registry import Range

Kind = Literal[
    "image", "depth", "audio", "video", "flow", "label", "masks", "instances", "class", "labels", "frame_labels",
    "frame_points", "points", "boxes", "number", "text",
]  # fmt: skip

#: Between the names in a cell that holds several.
SEPARATOR = "|"


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What is known about one column.

    Args:
        kind: image, depth, audio, video (a file or a folder of frames), flow (a folder of optical flow), label (a map
            of classes), masks (a folder of them, for the frames of a clip), instances (a map of objects), class (one
            name), labels (several names), frame_labels (a table of the classes of a clip's frames), frame_points (a
            table of what is where in them), points, boxes, number or text.
        classes: names of the classes in the order of their numbers, or {value: name} where values have gaps, start at 1
            or are other words. By default, for class and labels: what the training split holds, sorted.
        ignore: value of a label map where there is no label.
        colours: colour of each class of a label map that stores colours, such as {"road": "#804080"}.
        metres_per_unit: of a depth file: metres of one stored unit.
        rate: frames a second of folders of frames; files know their own.
        rest: the class that says that none of the others is there, such as background. Among several data sets it is
            not known in one that did not annotate every class.
    """

    kind: Kind
    classes: list[str] | dict[str, str] | None = None
    ignore: int | None = None
    colours: dict[str, str] | None = None
    metres_per_unit: Annotated[float, Range(0, open_low=True)] | None = None
    rate: Annotated[float, Range(0, open_low=True)] | None = None
    rest: str | None = None

    @classmethod
    def of(cls, value: Self | Mapping[str, Any]) -> Self:
        """What a configuration says, which comes as a plain mapping."""
        return cls(**value) if isinstance(value, Mapping) else value

    def facts(self) -> dict[str, Any]:
        """What a `Field` is told of it, apart from classes that only the data can tell."""
        facts: dict[str, Any] = {}
        if self.classes is not None:
            facts["classes"] = list(dict.fromkeys(self.names))
        if self.kind in ("label", "masks") and isinstance(self.classes, Mapping):
            facts["remap"] = {value: facts["classes"].index(name) for value, name in self.classes.items()}
        if self.kind == "instances":
            facts["instances"] = True
        if self.rest is not None and self.rest not in facts.get("classes", ()):
            raise DataFault(
                f"`rest` is {self.rest!r}, which is not among the classes ({', '.join(facts.get('classes', ()))}); "
                "name one of them in `rest`",
                code="class-unknown",
            )
        given = ("ignore", "colours", "metres_per_unit", "rate", "rest")
        options = {name: getattr(self, name) for name in given}
        return facts | {name: value for name, value in options.items() if value is not None}

    @property
    def names(self) -> list[str]:
        """The class names as given."""
        if isinstance(self.classes, Mapping):
            return [str(name) for name in self.classes.values()]
        return [str(name) for name in self.classes or ()]


def describe(table: pa.Table, declared: Mapping[str, Declared], *, source: str) -> tuple[pa.Table, dict[str, Column]]:
    """The table with its class cells as names of the class table, and what is known about the declared columns.

    Raises:
        DataFault: a declared column is not there, or a column of class names has none in the training split.
    """
    columns = {}
    for name, column in declared.items():
        if name not in table.column_names:
            raise DataFault(
                f"`columns` declares {name!r}, which {source} does not have; it has {', '.join(table.column_names)}",
                code="no-column",
            )
        facts = column.facts()
        if column.kind in ("class", "labels"):
            table = _renamed(table, name, column)
            if "classes" not in facts:
                facts["classes"] = _found(table, name, several=column.kind == "labels")
        if column.kind == "number":
            table = _numbers(table, name)
        columns[name] = Column(column.kind, facts)
    return table, columns


def _renamed(table: pa.Table, name: str, column: Declared) -> pa.Table:
    """Cells of one class as text: values by {value: name}; the rest stays, so that reading it names the wrong ones."""
    if column.kind == "labels":
        return table
    cells = _text(table.column(name))
    if isinstance(column.classes, Mapping):
        values = pa.array([str(value) for value in column.classes], pa.string())
        cells = pc.coalesce(pa.array(column.names, pa.string()).take(pc.index_in(cells, values)), cells)
    return table.set_column(table.schema.get_field_index(name), name, cells)


def _numbers(table: pa.Table, name: str) -> pa.Table:
    """A column as float64, where NaN is absent."""
    cells = table.column(name)
    try:
        cells = pc.cast(cells, pa.float64())
    except pa.ArrowInvalid as error:
        raise DataFault(f"the column {name!r} is declared as number: {error}", code="not-a-number") from error
    cells = pc.if_else(pc.is_nan(cells), None, cells)
    return table.set_column(table.schema.get_field_index(name), name, cells)


def _found(table: pa.Table, name: str, *, several: bool) -> list[str]:
    """The classes of the training split, sorted: as numbers where all of them are."""
    cells = table.column(name).filter(pc.equal(table.column("split"), "train")).drop_null()
    if several:
        cells = pc.list_flatten(cells if _is_list(cells.type) else pc.split_pattern(_text(cells), SEPARATOR))
    found = [value.strip() for value in pc.unique(_text(cells)).to_pylist() if value.strip()]
    if not found:
        raise DataFault(
            f"the column {name!r} has no value in the training split, so its classes are not known; name them in "
            f"`columns.{name}.classes`",
            code="no-classes",
        )
    return sorted(set(found), key=int) if all(_is_whole(value) for value in found) else sorted(set(found))


def _text(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells as text; 3.0 is "3"."""
    if pa.types.is_floating(cells.type):
        values = cells.drop_null().to_numpy()
        if np.array_equal(values, np.round(values)):
            cells = pc.cast(cells, pa.int64())
    return pc.cast(cells, pa.string())


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_whole(value: str) -> bool:
    return value.isascii() and value.removeprefix("-").isdigit()
