"""Which features of a batch are kept: every cell is found again by everything that decides what its features are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weft.data.feature_store import Stored, read_entry
from weft.data.timeline import Timeline
from weft.modalities.base import Field, Resolve
from weft.types import Slot


@dataclass(frozen=True)
class Wanted:
    """A sample whose features are looked for.

    Attributes:
        id: of the sample.
        cells: {modality: cell} of the modalities that are given to the network.
        version: which of `copies` drawings of what is random in it; None without anything random.
        resolve: what its path cells stand for.
        keys: {modality: what besides the cell decides how it is read} where not all samples are read alike.
        frames: that are taken of its clips.
    """

    id: str
    cells: Mapping[str, Any]
    version: str | None
    resolve: Resolve
    keys: Mapping[str, str] = field(default_factory=dict)
    frames: Timeline | None = None


@dataclass(frozen=True)
class Given:
    """What is known of a sample's features before it is read.

    Attributes:
        stored: {modality: Stored} of those that need not be read.
        slots: {modality: Slot} of those that will be kept.
    """

    stored: dict[str, Stored] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)


class FeatureFolder:
    """The entries of one modality.

    Args:
        path: the folder of its recipe: all that decides its features besides the cell.
        field: reads the cells.
        changes: what decides the random changes of a training sample besides its id and the version; None: it is not
            changed at random.
        copies: so many versions of a changed sample are kept; 0: none.
    """

    def __init__(self, path: Path, field: Field, *, changes: str | None, copies: int) -> None:
        self.path = path
        self.field = field
        self.changes = changes
        self.copies = copies
        self._files: dict[Path, tuple[list[tuple[str, int, int]], str]] = {}
        self._arrays: dict[tuple[str, str], str] = {}

    def slot(self, wanted: Wanted, name: str) -> Slot | None:
        """Where the features of a sample's cell are kept; None: nowhere.

        Args:
            wanted: the sample.
            name: of this modality.
        """
        version: list[object] = []
        if self.changes is not None and wanted.version is not None:
            if not self.copies:
                return None
            version = [self.changes, wanted.id, wanted.version]
        key = wanted.keys.get(name, "")
        content = self._digest(wanted.cells[name], key, wanted.resolve)
        read_as: list[object] = [key] if key else []
        if self.field.geometry.has_frames and wanted.frames is not None:
            read_as += [wanted.frames.numbers.tolist(), wanted.frames.times.tolist()]
        return None if content is None else Slot(_hash(json.dumps([content, *read_as, *version]).encode()))

    def _digest(self, cell: Any, key: str, resolve: Resolve) -> str | None:
        """Of what a cell holds; None where it cannot be told, and reading it will say why."""
        if not (isinstance(cell, str) and self.field.names_file):
            return _hash(json.dumps(cell, sort_keys=True, default=str).encode())
        which = (key, cell)  # two data sets may have cells of one name
        if which in self._arrays:  # made by the format, not read: it stays as it is
            return self._arrays[which]
        source = resolve(cell)
        if isinstance(source, np.ndarray):
            kind = json.dumps([source.dtype.str, *source.shape])
            self._arrays[which] = _hash(kind.encode() + np.ascontiguousarray(source).tobytes())
            return self._arrays[which]
        try:
            files = sorted(filter(Path.is_file, source.iterdir())) if source.is_dir() else [source]
            dates = [(file.name, status.st_mtime_ns, status.st_size) for file in files if (status := file.stat())]
            if source not in self._files or self._files[source][0] != dates:
                self._files[source] = dates, _content(files)
        except OSError:
            return None
        return self._files[source][1]


@dataclass(frozen=True)
class FeatureReader:
    """Looks up what is kept of the samples of a batch.

    Attributes:
        folders: {modality: FeatureFolder} of those with a frozen encoder.
    """

    folders: Mapping[str, FeatureFolder] = field(default_factory=dict)

    def find(self, samples: Sequence[Wanted]) -> list[Given]:
        """What is known of each sample. Of a modality it is all or nothing: its encoder runs for a batch or does not.

        Args:
            samples: of a batch.
        """
        known = [Given() for _ in samples]
        for name, folder in self.folders.items():
            rows = [row for row, wanted in enumerate(samples) if name in wanted.cells]
            slots = {row: folder.slot(samples[row], name) for row in rows}
            found = {row: slot if slot is None else read_entry(folder.path, slot) for row, slot in slots.items()}
            stored = {row: one for row, one in found.items() if isinstance(one, Stored)}
            for row in rows:
                slot = found[row] if isinstance(found[row], Slot) else slots[row]
                if len(stored) == len(rows):
                    known[row].stored[name] = stored[row]
                elif isinstance(slot, Slot):
                    known[row].slots[name] = slot
        return known


def _content(files: Sequence[Path]) -> str:
    """A hash of a file, or of the names and contents of several, read in pieces: films are long."""
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, _new_hash).hexdigest())
    if len(files) == 1:
        return digests[0]
    return _hash(json.dumps([[file.name, digest] for file, digest in zip(files, digests, strict=True)]).encode())


def _new_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=20)


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=20).hexdigest()
