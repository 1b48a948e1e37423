"""One sample at a time: read, check, move by one geometry. Everything random is a function of (seed, epoch, sample)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weft.data import geometry
from weft.data.cache import Cache
from weft.data.collate import Sample
from weft.data.manifest import Manifest
from weft.experiment import Augment
from weft.modalities.base import BadCell, Field

_IMAGE_LIKE = ("image", "label")


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
    """

    column: str
    field: Field
    key: str = ""
    dropout: float = 0.0


@dataclass(frozen=True)
class Key:
    """Which sample, and how: `epoch` None is without anything random."""

    row: int
    epoch: int | None = None


@dataclass(frozen=True)
class SampleReader:
    """Samples of a manifest by `Key`.

    Attributes:
        manifest: all splits.
        inputs: {modality: Source}.
        targets: {task: Source}.
        size: (H, W) that samples are brought to; None: their own.
        augment: of training samples.
        seed: of everything random.
        cache: of decoded cells.
    """

    manifest: Manifest
    inputs: Mapping[str, Source]
    targets: Mapping[str, Source]
    size: tuple[int, int] | None
    augment: Augment
    seed: int
    cache: Cache

    def __getitem__(self, key: Key) -> Sample | Dropped:
        """The sample, or why there is none."""
        row = self.manifest.row(key.row)
        try:
            return self._sample(row, key.epoch)
        except BadColumn as error:
            return Dropped(str(row["id"]), str(row["split"]), error.column, error.code, str(error))

    def of_cells(self, sample: str, cells: Mapping[str, Any]) -> Sample:
        """A sample that is in no manifest, of {modality: file, array, text or row}.

        Raises:
            BadCell: a file or array cannot be used.
        """
        values = {name: self.inputs[name].field.read(cell, _as_given) for name, cell in cells.items()}
        names = {name: str(cell) if isinstance(cell, Path) else f"the array of {name}" for name, cell in cells.items()}
        return self._moved(sample, values, {}, names, None)

    def _sample(self, row: Mapping[str, Any], epoch: int | None) -> Sample:
        cells = {name: row.get(source.column) for name, source in self.inputs.items()}
        present = [name for name, cell in cells.items() if cell is not None]
        kept = present if epoch is None else self._undropped(str(row["id"]), epoch, present)
        inputs = {name: self._read(self.inputs[name], cells[name]) for name in kept}
        targets = {
            name: self._read(source, row[source.column])
            for name, source in self.targets.items()
            if row.get(source.column) is not None
        }
        names = {
            **{name: str(cells[name]) for name in inputs},
            **{name: str(row[self.targets[name].column]) for name in targets},
        }
        return self._moved(str(row["id"]), inputs, targets, names, epoch)

    def _undropped(self, sample: str, epoch: int, present: list[str]) -> list[str]:
        """The modalities that stay after modality dropout; at least one."""
        if not any(self.inputs[name].dropout for name in present):
            return present
        random = geometry.generator(self.seed, epoch, sample, "dropout")
        draws = {name: random.random() for name in self.inputs}
        spared = random.integers(len(present))
        kept = [name for name in present if draws[name] >= self.inputs[name].dropout]
        return kept or [present[spared]]

    def _read(self, source: Source, cell: Any) -> np.ndarray:
        try:
            if source.field.decodes and isinstance(cell, str):
                return self.cache.read(source.field, source.key, cell, self.manifest.resolve)
            return source.field.read(cell, self.manifest.resolve)
        except BadCell as error:
            raise BadColumn(source.column, error.code, str(error)) from error

    def _moved(
        self,
        sample: str,
        inputs: dict[str, np.ndarray],
        targets: dict[str, np.ndarray],
        names: Mapping[str, str],
        epoch: int | None,
    ) -> Sample:
        fields = [(self.inputs[name], name, value) for name, value in inputs.items()]
        fields += [(self.targets[name], name, value) for name, value in targets.items()]
        original = common_size(fields, names)
        if original is None:
            return Sample(sample, inputs, targets, (0, 0), (0, 0))
        if epoch is None:
            warp = geometry.resize(original, self.size)
        else:
            random = geometry.generator(self.seed, epoch, sample, "geometry")
            warp = geometry.draw(original, self.size, self.augment, random)
        return Sample(
            id=sample,
            inputs={
                name: geometry.apply(warp, value, self.inputs[name].field.geometry) for name, value in inputs.items()
            },
            targets={
                name: geometry.apply(warp, value, self.targets[name].field.geometry) for name, value in targets.items()
            },
            size=warp.size,
            original_size=original,
        )


class BadColumn(BadCell):
    """A bad cell and its column.

    Attributes:
        column: in the manifest.
    """

    def __init__(self, column: str, code: str, message: str) -> None:
        super().__init__(code, message)
        self.column = column


def common_size(fields: list[tuple[Source, str, np.ndarray]], names: Mapping[str, str]) -> tuple[int, int] | None:
    """(H, W) of everything image-like in a sample; None where there is nothing."""
    first: tuple[str, tuple[int, int]] | None = None
    for source, name, value in fields:
        if source.field.geometry.kind not in _IMAGE_LIKE:
            continue
        size = (value.shape[0], value.shape[1])
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
                "they must show the same scene at the same size: bring one to the size of the other",
            )
    return None if first is None else first[1]


def _as_given(cell: Any) -> Path | np.ndarray:
    source: Path | np.ndarray = cell
    return source
