"""From a column to what reads it: one field, or one for each of several data sets; and what is wrong with a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from weft.data.clipfile import part_of_clip
from weft.data.geometry import Size
from weft.data.joining import readings
from weft.data.manifest import Manifest
from weft.data.timeline import Timeline
from weft.errors import ConfigError
from weft.experiment import ModalityConfig, TaskConfig
from weft.modalities.base import BadCell, Field
from weft.registry import Part


@dataclass(frozen=True)
class Dropped:
    """A sample that cannot be used, and why.

    Attributes:
        id, split: which.
        column: the column at fault; "" where it is the whole row.
        code: a stable short name of the fault.
        reason: the same in words, with the file and the fix.
    """

    id: str
    split: str
    column: str
    code: str
    reason: str


@dataclass(frozen=True)
class Source:
    """A field and where its cells are.

    Attributes:
        column: in the manifest.
        field: reads them.
        key: what, besides the cell, decides what reading it gives: options and facts.
        dropout: probability of hiding it in training.
        sets: how each of several data sets is read, in the order of `Manifest.sets`; empty where there is one.
    """

    column: str
    field: Field
    key: str = ""
    dropout: float = 0.0
    sets: tuple[Source, ...] = ()

    def of(self, place: int) -> Source:
        """How the samples of one data set are read; what comes of it is alike in all."""
        return self.sets[place] if self.sets else self


def source_of(
    manifest: Manifest,
    form: Part,
    name: str,
    given: ModalityConfig | TaskConfig,
    field: Field,
    *,
    options: Mapping[str, Any],
) -> Source:
    """What reads a modality or a target.

    Args:
        manifest: that its column is in.
        form: the format of the data.
        name: of the modality or task.
        given: it, as configured.
        field: fitted.
        options: that the field was made with.

    Raises:
        ConfigError: the options do not fit one of several data sets.
    """
    column = given.source(name) if isinstance(given, ModalityConfig) else given.target
    dropout = given.dropout if isinstance(given, ModalityConfig) else 0.0
    try:
        own = readings(manifest, column, field, options)
    except ValueError as error:
        raise ConfigError([f"{name}: {error}"]) from error
    sets = tuple(
        Source(column, one, _key(member.format, given, one)) for member, one in zip(manifest.sets, own, strict=True)
    )
    return Source(column, field, _key(form, given, field), dropout, sets)


def _key(form: Part, given: ModalityConfig | TaskConfig, field: Field) -> str:
    """What, besides its cell, decides what reading a cell gives."""
    words = [form.type, dict(form.options), given.type, dict(given.options), dict(field.reading)]
    return json.dumps(words, sort_keys=True, default=str)


class BadColumn(BadCell):
    """A bad cell and its column.

    Attributes:
        column: in the manifest.
    """

    def __init__(self, column: str, code: str, message: str) -> None:
        super().__init__(code, message)
        self.column = column


def row_timeline(
    sources: Mapping[str, Source], content: Mapping[str, Any], manifest: Manifest, place: int
) -> tuple[str, Timeline] | None:
    """(column, frames) of the cell of a row that says which frames the sample has: that of the column `Manifest.clip`,
    or else the first that has frames; None where none has any.

    Args:
        sources: of inputs, then of targets.
        content: of the row.
        manifest: that it is of.
        place: of its data set.

    Raises:
        BadColumn: that cell cannot be used.
    """
    known = manifest.data_set(place)
    fields = [(source.column, source.of(place).field) for source in sources.values()]
    fields = [(column, field) for column, field in fields if field.geometry.has_frames]
    if not fields:
        return None
    resolve, leader = manifest.resolver(place), known.clip
    column = leader or ""
    try:
        if leader is not None and content.get(leader) is not None and leader not in dict(fields):
            rate = known.columns[leader].facts.get("rate") if leader in known.columns else None
            return leader, part_of_clip(content[leader], resolve, rate=rate)[1]
        for column, field in sorted(fields, key=lambda pair: pair[0] != leader):
            cell = content.get(column)
            timeline = None if cell is None else field.timeline(cell, resolve)
            if timeline is not None:
                return column, timeline
    except BadCell as error:
        raise BadColumn(column, error.code, str(error)) from error
    return None


def extent(source: Source, value: np.ndarray) -> tuple[int, ...]:
    """(H, W) of a value that has pixels; of others the first two axes."""
    geometry = source.field.geometry
    return geometry.size_of(value) if geometry.has_pixels else value.shape[:2]


def common_size(fields: list[tuple[Source, str, tuple[int, ...]]], names: Mapping[str, str]) -> Size | None:
    """(H, W) of everything image-like in a sample that moves together; None where there is nothing.

    Args:
        fields: of the sample, each with its column's name in `names` and the `extent` of its value.
        names: what a person calls each.
    """
    first: tuple[str, Size] | None = None
    for source, name, shape in fields:
        if not source.field.geometry.has_pixels or not source.field.geometry.aligned:
            continue
        size = (shape[0], shape[1])
        if first is None:
            first = (names[name], size)
        elif size != first[1]:
            hint = ""
            if size == first[1][::-1]:
                hint = " (one of them may have been rotated by its EXIF entry and the other not)"
            raise BadColumn(
                source.column,
                "size-mismatch",
                f"{first[0]} is {first[1][1]}x{first[1][0]} pixels and {names[name]} is {size[1]}x{size[0]}{hint}; "
                "they must show the same scene at the same size: bring one to the size of the other, or, if an image "
                "shows another scene, say `aligned: false` of it",
            )
    return None if first is None else first[1]
